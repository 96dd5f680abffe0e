#include "tools/ctl/client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tools/ctl/format.h"

namespace dongle::ctl {
namespace {

constexpr std::size_t kMaxLine = 8 * 1024 * 1024;

std::unexpected<Failure> failed(ExitCode exit, std::string message) {
  return std::unexpected(Failure{exit, std::move(message)});
}
std::unexpected<Failure> hung_up() {
  return failed(ExitCode::NotRunning, "the daemon closed the connection before it answered; its log says why");
}
std::unexpected<Failure> timed_out() {
  return failed(ExitCode::TimedOut, "no answer from the daemon in time; see its log, or wait longer with --timeout");
}

std::unexpected<Failure> cannot_connect(const std::string& path, int error) {
  std::string reason = fmt::format("{}: {}", path, std::strerror(error));
  switch (error) {
    case ENOENT:
    case ECONNREFUSED:
      return failed(ExitCode::NotRunning, reason + "; is the daemon running? start it with: dongle-supervisor");
    case EACCES:
    case EPERM:
      return failed(ExitCode::NoPermission, reason + "; run donglectl as root or as a member of the socket's group");
    case EAGAIN: return timed_out();  // its queue of connections stayed full
    default: return failed(ExitCode::Failed, reason);
  }
}

}  // namespace

Outcome<Client> Client::connect(const std::string& path, Millis timeout) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return failed(ExitCode::Failed,
                  fmt::format("{}: a socket's path has at most {} characters", path, sizeof address.sun_path - 1));
  path.copy(address.sun_path, path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return failed(ExitCode::Failed, fmt::format("socket: {}", std::strerror(errno)));
  // Bounds connect(), which waits while the daemon accepts nobody. 0 would mean for ever.
  auto micros = std::max<std::int64_t>(std::chrono::duration_cast<std::chrono::microseconds>(timeout).count(), 1000);
  timeval limit{static_cast<time_t>(micros / 1'000'000), static_cast<suseconds_t>(micros % 1'000'000)};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return cannot_connect(path, errno);
  return Client(std::move(fd));
}

Outcome<void> Client::wait(short events, TimePoint deadline) {
  for (;;) {
    auto left = std::chrono::ceil<Millis>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return timed_out();
    pollfd ready{fd_.get(), events, 0};
    int count = ::poll(&ready, 1, static_cast<int>(std::min<std::int64_t>(left, 60'000)));
    if (count > 0) return {};
    if (count < 0 && errno != EINTR) return failed(ExitCode::Failed, fmt::format("poll: {}", std::strerror(errno)));
  }
}

Outcome<void> Client::send(const Json& request, TimePoint deadline) {
  std::string line = dump_json(request) + "\n";
  for (std::string_view rest = line; !rest.empty();) {
    if (auto ready = wait(POLLOUT, deadline); !ready) return ready;
    ssize_t sent = ::send(fd_.get(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0)
      rest.remove_prefix(static_cast<std::size_t>(sent));
    else if (errno == EPIPE || errno == ECONNRESET)
      return hung_up();
    else if (errno != EAGAIN && errno != EINTR)
      return failed(ExitCode::Failed, fmt::format("send: {}", std::strerror(errno)));
  }
  return {};
}

Outcome<Json> Client::receive(TimePoint deadline) {
  for (;;) {
    if (auto end = buffer_.find('\n', searched_); end != std::string::npos) {
      auto parsed = parse_json(std::string_view(buffer_).substr(0, end));
      buffer_.erase(0, end + 1);
      searched_ = 0;
      if (!parsed || !parsed->is_object())
        return failed(ExitCode::Failed, "the daemon answers what is no reply; is this its control socket?");
      return std::move(*parsed);
    }
    searched_ = buffer_.size();
    if (buffer_.size() > kMaxLine)
      return failed(ExitCode::Failed, fmt::format("the daemon's answer is longer than {}", format_bytes(kMaxLine)));
    if (auto ready = wait(POLLIN, deadline); !ready) return std::unexpected(ready.error());
    std::array<char, 65536> chunk;
    ssize_t got = ::recv(fd_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (got > 0)
      buffer_.append(chunk.data(), static_cast<std::size_t>(got));
    else if (got == 0 || errno == ECONNRESET)
      return hung_up();
    else if (errno != EAGAIN && errno != EINTR)
      return failed(ExitCode::Failed, fmt::format("recv: {}", std::strerror(errno)));
  }
}

Outcome<Json> Client::request(const Json& request, Millis timeout,
                              const std::function<void(const std::string&)>& progress) {
  TimePoint deadline = std::chrono::steady_clock::now() + timeout;
  if (auto sent = send(request, deadline); !sent) return std::unexpected(sent.error());
  for (;;) {
    auto reply = receive(deadline);
    if (!reply) return reply;
    if (auto text = reply->find("progress"); text != reply->end() && text->is_string()) {
      progress(printable(text->get<std::string>()));
    } else if (auto result = reply->value("result", Json::object()); json_bool(*reply, "ok") && result.is_object()) {
      return result;
    } else if (auto error = reply->find("error"); error != reply->end()) {
      return std::unexpected(failure_from_reply(*error));
    } else {
      return failed(ExitCode::Failed, "the daemon answers what is no reply; is this its control socket?");
    }
  }
}

Failure failure_from_reply(const Json& error) {
  std::string code = json_string(error, "code", "failed");
  std::string message = json_string(error, "message", code);
  if (auto seconds = json_int(error, "retry_after_s"); seconds > 0)
    message += fmt::format("; try again in {}s", seconds);
  if (code == "not_found") message += "; `donglectl status` lists the dongles";
  return {exit_code_for(code), std::move(message)};
}

}  // namespace dongle::ctl
