#include "supervisor/socks_connect.h"

#include <sys/socket.h>

#include <cerrno>

namespace dongle {

SocksConnect::SocksConnect(UvLoop& loop, UniqueFd stream, const HostPort& target, Millis timeout,
                           std::function<void(Result<void>)> done)
    : stream_(std::move(stream)),
      done_(std::move(done)),
      deadline_(loop),
      poll_(loop, stream_.get(), UV_READABLE, [this](int, int) { on_readable(); }) {
  // Greeting and request go out together; a fresh stream's buffer takes these few bytes whole.
  std::string request = {5, 1, 0, 5, 1, 0, 3};
  request += static_cast<char>(target.host.size());
  request += target.host;
  request += static_cast<char>(target.port >> 8);
  request += static_cast<char>(target.port & 0xff);
  bool sent = target.host.size() < 256 &&
              send(stream_.get(), request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size());
  deadline_.start(sent ? timeout : Millis{0}, [this, sent] {
    finish(sent ? Result<void>(fail(Errc::Timeout, "no connection in time"))
                : fail(Errc::Io, "the worker takes no request"));
  });
}

void SocksConnect::on_readable() {
  char buffer[512];
  ssize_t n = recv(stream_.get(), buffer, sizeof buffer, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) return finish(fail(Errc::Refused, "the worker closed the connection"));
  received_.append(buffer, static_cast<std::size_t>(n));
  // Two bytes choose the method, the reply's second byte tells how it went.
  if (received_.size() < 4) return;
  if (received_[1] != 0) return finish(fail(Errc::Refused, "the worker refuses the probe"));
  switch (received_[3]) {
    case 0: return finish({});
    case 3: return finish(fail(Errc::Unreachable, "network unreachable"));
    case 4: return finish(fail(Errc::Unreachable, "host unreachable"));
    case 5: return finish(fail(Errc::Refused, "connection refused"));
    default: return finish(fail(Errc::Io, "SOCKS reply {}", static_cast<int>(received_[3])));
  }
}

void SocksConnect::finish(Result<void> outcome) {
  poll_.set_events(0);
  deadline_.stop();
  if (auto done = std::exchange(done_, nullptr)) done(std::move(outcome));
}

}  // namespace dongle
