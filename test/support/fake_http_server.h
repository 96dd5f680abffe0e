#pragma once
#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/net_address.h"
#include "common/unique_fd.h"
#include "common/uv_handle.h"
#include "test/support/run_until.h"

namespace dongle {

struct HttpRequest {
  std::string method, path, body;
  std::map<std::string, std::string> headers;  ///< lower-case names
};

/// The whole request once it is there: nullopt while some of it is still to come.
inline std::optional<HttpRequest> parse_http_request(const std::string& bytes) {
  const auto end = bytes.find("\r\n\r\n");
  if (end == std::string::npos) return std::nullopt;
  HttpRequest request;
  std::size_t at = bytes.find(' ');
  request.method = bytes.substr(0, at);
  request.path = bytes.substr(at + 1, bytes.find(' ', at + 1) - at - 1);
  std::size_t line = bytes.find("\r\n") + 2;
  while (line < end + 2) {
    const auto next = bytes.find("\r\n", line);
    const auto colon = bytes.find(": ", line);
    std::string name = bytes.substr(line, colon - line);
    for (char& c : name) c = static_cast<char>(std::tolower(c));
    request.headers[name] = bytes.substr(colon + 2, next - colon - 2);
    line = next + 2;
  }
  const std::size_t length =
      request.headers.contains("content-length") ? std::stoul(request.headers["content-length"]) : 0;
  if (bytes.size() < end + 4 + length) return std::nullopt;
  request.body = bytes.substr(end + 4, length);
  return request;
}

inline std::string http_reply(const std::string& body, const std::string& headers = "",
                              const std::string& status = "200 OK") {
  return "HTTP/1.1 " + status + "\r\n" + headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// A web server on loopback, on the test's own loop, that answers what `handler` says: bytes to send before it
/// closes (none: it just closes; kReset: it resets the connection), or nullopt to stay silent.
class FakeHttpServer {
 public:
  static constexpr const char* kReset = "\1reset";
  using Handler = std::function<std::optional<std::string>(const HttpRequest&)>;

  FakeHttpServer(UvLoop& loop, Handler handler) : loop_(loop), handler_(std::move(handler)) {
    listener_.reset(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    CHECK(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
    CHECK(listen(listener_.get(), 16) == 0);
    CHECK(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
    endpoint_ = Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&address));
    accept_poll_ = std::make_unique<Poll>(loop, listener_.get(), UV_READABLE, [this](int, int) { accept_one(); });
  }

  Endpoint endpoint() const { return endpoint_; }
  std::string url(const std::string& path) const { return "http://" + endpoint_.to_string() + path; }
  const std::vector<HttpRequest>& seen() const { return seen_; }
  std::size_t count(const std::string& path) const {
    return static_cast<std::size_t>(
        std::count_if(seen_.begin(), seen_.end(), [&](const HttpRequest& r) { return r.path == path; }));
  }
  std::size_t most_open() const { return most_open_; }
  std::size_t open() const { return connections_.size(); }

 private:
  struct Connection {
    UniqueFd fd;
    std::string in, out;
    bool answered = false;
    std::unique_ptr<Poll> poll;  // after fd: it goes first
  };

  void accept_one() {
    const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    auto& connection = connections_[fd];
    connection.fd.reset(fd);
    connection.poll =
        std::make_unique<Poll>(loop_, fd, UV_READABLE, [this, fd](int, int events) { on_ready(fd, events); });
    most_open_ = std::max(most_open_, connections_.size());
  }

  void on_ready(int fd, int events) {
    auto& connection = connections_.at(fd);
    if (events & UV_READABLE) {
      char buffer[16384];
      const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
      if (got <= 0) return close_connection(fd);
      connection.in.append(buffer, static_cast<std::size_t>(got));
      if (!connection.answered) answer(connection);
    }
    if (connection.answered) flush(connection);
  }

  void answer(Connection& connection) {
    auto request = parse_http_request(connection.in);
    if (!request) return;
    seen_.push_back(*request);
    auto reply = handler_(*request);
    if (!reply) return;
    connection.answered = true;
    connection.out = std::move(*reply);
  }

  void flush(Connection& connection) {
    const int fd = connection.fd.get();
    if (connection.out == kReset) {
      const linger at_once{1, 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      return close_connection(fd);
    }
    while (!connection.out.empty()) {
      const ssize_t sent = send(fd, connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EAGAIN) return connection.poll->set_events(UV_READABLE | UV_WRITABLE);
      if (sent < 0) return close_connection(fd);
      connection.out.erase(0, static_cast<std::size_t>(sent));
    }
    close_connection(fd);
  }

  void close_connection(int fd) { connections_.erase(fd); }

  UvLoop& loop_;
  Handler handler_;
  UniqueFd listener_;
  Endpoint endpoint_;
  std::unique_ptr<Poll> accept_poll_;
  std::map<int, Connection> connections_;
  std::vector<HttpRequest> seen_;
  std::size_t most_open_ = 0;
};

}  // namespace dongle
