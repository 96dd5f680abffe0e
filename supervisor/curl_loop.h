#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/unique_fd.h"
#include "common/uv_handle.h"

namespace dongle {

/// HTTP client on the event loop (libcurl's multi interface; no thread, no name lookup, no socket of its own making).
/// Each fetch has a connection to itself: modems share addresses, so a pooled connection could belong to another one.
/// Redirects aren't followed, cookies aren't kept, and the environment's proxies are ignored.
class CurlLoop {
 public:
  struct Response {
    long status = 0;
    std::vector<std::pair<std::string, std::string>> headers;  ///< lower-case names, in order of arrival
    std::string body;
    Millis took{0};
    /// The first header of that (lower-case) name, empty if there is none.
    std::string_view header(std::string_view name) const;
  };

  enum class Route {
    Direct,     ///< open_socket gives a fresh TCP socket, which is connected to the URL's literal address
    OverSocks5  ///< take_peer gets the far end of a fresh stream, to speak SOCKS5 on; names go there unresolved
  };

  struct Options {
    std::string url;                        ///< http or https
    std::vector<std::string> headers = {};  ///< "Name: value"
    std::optional<std::string> body = {};   ///< present: POST, else GET
    Millis timeout{5000};                   ///< for the whole exchange
    Millis connect_timeout{3000};
    std::size_t max_body = 1 << 20;  ///< bytes; one more ends the fetch with Full
    Route route = Route::Direct;
    /// Called at most once while the fetch runs; must not destroy the Request or start another. An error that it
    /// returns becomes the fetch's error. The one that `route` names is required.
    std::function<Result<UniqueFd>(int family)> open_socket = {};  ///< family: AF_INET or AF_INET6
    std::function<Result<void>(UniqueFd peer)> take_peer = {};     ///< non-blocking
  };

  /// A running fetch. Destroying it cancels: the socket is closed and no callback follows. It may be destroyed in
  /// its own callback, and must be before the CurlLoop.
  class Request {
   public:
    ~Request();

   private:
    friend class CurlLoop;
    struct Impl;
    explicit Request(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
  };

  /// Timeout · Refused (also: closed or reset before an answer; then sys is ECONNRESET) · Unreachable ·
  /// Protocol (not HTTP, cut short, TLS) · Full (max_body, or headers over 64 KiB) · InvalidArgument (the URL).
  using Done = std::function<void(Result<Response>)>;

  explicit CurlLoop(UvLoop& loop);
  ~CurlLoop();

  /// done is called from the loop exactly once, never before fetch() returns.
  [[nodiscard]] std::unique_ptr<Request> fetch(Options options, Done done);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dongle
