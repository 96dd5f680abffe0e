#include "worker/dialer.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace dongle {

CloseReason connect_failure(int sys) {
  switch (sys) {
    case ECONNREFUSED:
    case ECONNRESET: return CloseReason::connect_refused;
    case ETIMEDOUT: return CloseReason::connect_timeout;
    case EHOSTUNREACH:
    case EHOSTDOWN: return CloseReason::unreachable_host;
    case ENODEV: return CloseReason::no_device;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EADDRNOTAVAIL:
    case EAGAIN: return CloseReason::no_resources;
    // ENETUNREACH, ENETDOWN; EACCES and EPERM are how a prohibit rule and the packet filter say it.
    default: return CloseReason::unreachable_network;
  }
}

void Dial::start(std::vector<Endpoint> targets, Millis timeout, Done done) {
  CHECK(!targets.empty());
  targets_ = std::move(targets);
  targets_.resize(std::min(targets_.size(), kMaxAddresses));
  done_ = std::move(done);
  deadline_ = UvLoop::now() + timeout;
  try_next();
}

void Dial::try_next() {
  auto left = std::chrono::duration_cast<Millis>(deadline_ - UvLoop::now());
  while (left > Millis{0} && next_ < targets_.size()) {
    // Each address gets its share of what time is left.
    auto share = left / static_cast<int>(targets_.size() - next_);
    if (!try_one(targets_[next_++])) continue;
    timer_.start(share, [this] {
      failure_ = CloseReason::connect_timeout;
      socket_.reset();
      try_next();
    });
    return;
  }
  timer_.start(Millis{0}, [this] { finish(0); });
}

bool Dial::try_one(const Endpoint& target) {
  auto opened = open_egress_socket(egress_, target.address.family(), SOCK_STREAM);
  if (!opened) {
    failure_ = opened.error().code == Errc::Full ? CloseReason::no_resources : CloseReason::no_device;
    return false;
  }
  tune_tcp(opened->get());
  sockaddr_storage address{};
  socklen_t size = target.to_sockaddr(address);
  if (connect(opened->get(), reinterpret_cast<sockaddr*>(&address), size) != 0 && errno != EINPROGRESS) {
    failure_ = connect_failure(errno);
    return false;
  }
  auto added = poller_.add(std::move(*opened), *this);
  if (!added) {
    failure_ = CloseReason::no_resources;
    return false;
  }
  socket_ = std::move(*added);
  return true;
}

void Dial::on_ready(PolledSocket& socket, std::uint32_t events) {
  if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) return;
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  if (error == 0) return finish(events);
  failure_ = connect_failure(error);
  socket_.reset();
  try_next();
}

void Dial::finish(std::uint32_t events) {
  timer_.stop();
  auto done = std::move(done_);
  done({std::move(socket_), failure_, events});
}

}  // namespace dongle
