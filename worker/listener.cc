#include "worker/listener.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

namespace dongle {

Listener::Listener(UvLoop& loop, UniqueFd fd, Handlers handlers)
    : fd_(std::move(fd)),
      handlers_(std::move(handlers)),
      retry_(loop),
      poll_(loop, fd_.get(), UV_READABLE, [this](int, int) { accept_batch(); }) {}

void Listener::accept_batch() {
  for (int i = 0; i < kBatch; ++i) {
    if (!handlers_.has_room()) return pause();
    sockaddr_storage peer{};
    socklen_t length = sizeof peer;
    UniqueFd fd(accept4(fd_.get(), reinterpret_cast<sockaddr*>(&peer), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      handlers_.accept(std::move(fd), Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&peer)));
      continue;
    }
    if (errno == EAGAIN) return;
    // A client that gave up meanwhile, or was kept out by the packet filter: the next one isn't concerned.
    if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO || errno == EPERM) continue;
    return pause();
  }
}

void Listener::pause() {
  paused_ = true;
  poll_.set_events(0);
  handlers_.limited();
  retry_.start(kRetry, [this] { resume(); });
}

void Listener::resume() {
  if (!paused_) return;
  paused_ = false;
  retry_.stop();
  poll_.set_events(UV_READABLE);
}

}  // namespace dongle
