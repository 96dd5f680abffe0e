#include "common/acceptor.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

namespace dongle {
namespace {

// One turn's share, so that a flood of connections doesn't keep the loop to itself.
constexpr int kMaxPerTurn = 64;
constexpr Millis kPause{500};

}  // namespace

Result<UniqueFd> listen_unix(const std::string& path, int type, mode_t mode, gid_t group, int backlog) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fail(Errc::InvalidArgument, "{}: longer than the {} bytes of a socket's path; choose a shorter runtime_dir",
                path, sizeof address.sun_path - 1);
  path.copy(address.sun_path, path.size());
  UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno(errno, "{}", path);
  unlink(path.c_str());
  mode_t old = umask(0177);
  int bound = bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  int sys = errno;
  umask(old);
  if (bound != 0) return fail_errno(sys, "{}", path);
  if (group != static_cast<gid_t>(-1)) (void)!chown(path.c_str(), static_cast<uid_t>(-1), group);
  if (chmod(path.c_str(), mode) != 0 || ::listen(fd.get(), backlog) != 0) return fail_errno(errno, "{}", path);
  return fd;
}

Acceptor::Acceptor(UvLoop& loop, UniqueFd listener, OnClient on_client)
    : listener_(std::move(listener)),
      on_client_(std::move(on_client)),
      pause_(loop),
      poll_(loop, listener_.get(), UV_READABLE, [this](int, int) { accept_some(); }) {}

void Acceptor::accept_some() {
  for (int i = 0; i < kMaxPerTurn; ++i) {
    UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (client) {
      on_client_(std::move(client));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      poll_.set_events(0);
      pause_.start(kPause, [this] { poll_.set_events(UV_READABLE); });
      return;
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return;
    }
  }
}

}  // namespace dongle
