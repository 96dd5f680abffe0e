#pragma once
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "worker/access.h"
#include "worker/session_close.h"

// The HTTP side of the proxy port: CONNECT, and requests in absolute form ("GET http://host/ HTTP/1.1"), one request
// for each connection.
namespace dongle::http {

inline constexpr std::size_t kMaxHead = 8 * 1024;
inline constexpr std::size_t kMaxHeaders = 64;

/// Which bytes behind a request's head belong to its body, so that what a client sends after it (the next request,
/// maybe for another host) never reaches this server.
class BodyFramer {
 public:
  static BodyFramer none() { return BodyFramer(Kind::Length, 0); }
  static BodyFramer of_length(std::uint64_t length) { return BodyFramer(Kind::Length, length); }
  static BodyFramer chunked() { return BodyFramer(Kind::Chunked, 0); }

  /// How many of these next bytes are still body. Fewer than all: the body ends there. nullopt: broken chunking.
  std::optional<std::size_t> take(std::string_view bytes);
  bool is_done() const { return done_; }

 private:
  enum class Kind : std::uint8_t { Length, Chunked };
  enum class Chunk : std::uint8_t {
    Size,
    SizeRest,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf
  };
  BodyFramer(Kind kind, std::uint64_t left) : kind_(kind), done_(kind == Kind::Length && left == 0), left_(left) {}
  bool step(char c);

  Kind kind_;
  Chunk state_ = Chunk::Size;
  bool done_;
  std::uint8_t digits_ = 0;
  std::uint64_t left_;
};

struct Request {
  std::size_t size = 0;  ///< bytes of the head
  bool is_connect = false;
  Target target;
  std::string head;  ///< unless CONNECT: the head to send, in origin form
  BodyFramer body = BodyFramer::none();
};

/// What to answer to a request that isn't served.
struct Refusal {
  int status = 400;
  CloseReason reason = CloseReason::bad_request;
  std::string text;  ///< one line for the person at the other end
};

/// Reads a request's head from all bytes that came so far; keeps in mind how far it has looked, so that a head that
/// comes byte by byte costs no more than one at once.
class HeadReader {
 public:
  /// nullopt: more bytes are needed. Always answers once kMaxHead bytes are there.
  std::optional<std::expected<Request, Refusal>> read(std::string_view in);

 private:
  std::size_t scanned_ = 0;
  std::size_t line_start_ = 0;
  std::size_t lines_ = 0;
};

std::string connect_reply();
/// A whole answer of one line of text that ends the connection.
std::string error_reply(int status, std::string_view text);

}  // namespace dongle::http
