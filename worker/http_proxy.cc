#include "worker/http_proxy.h"

#include <algorithm>
#include <array>
#include <vector>

namespace dongle::http {
namespace {

bool is_alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_token_char(char c) {
  return is_alpha(c) || is_digit(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}
bool is_token(std::string_view s) {
  return !s.empty() && std::ranges::all_of(s, is_token_char);
}
bool is_visible(char c) {
  return static_cast<unsigned char>(c) > 0x20 && c != 0x7f;
}
// RFC 9110 5.5: tab, space, visible, 8-bit.
bool is_field_char(char c) {
  return c == '\t' || c == ' ' || is_visible(c);
}

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

struct Header {
  std::string name;  // lower case
  std::string_view line;
  std::string_view value;
};

std::unexpected<Refusal> refuse(std::string text, int status = 400, CloseReason reason = CloseReason::bad_request) {
  return std::unexpected(Refusal{status, reason, std::move(text)});
}

// "host:port" or, with a default port, "host" alone.
std::expected<Target, Refusal> read_authority(std::string_view text, std::optional<std::uint16_t> default_port) {
  Target target;
  std::string_view host = text;
  bool bracketed = text.starts_with('[');
  auto colon = bracketed ? text.find(':', std::min(text.find(']'), text.size())) : text.find(':');
  if (bracketed && text.find(']') == text.npos) return refuse("a bracket is not closed");
  if (colon != text.npos) {
    host = text.substr(0, colon);
    auto digits = text.substr(colon + 1);
    auto port = parse_decimal(digits, 1, 65535);
    if (!port || digits.size() > 5) return refuse("the port must be a number from 1 to 65535");
    target.port = static_cast<std::uint16_t>(*port);
  } else if (default_port) {
    target.port = *default_port;
  } else {
    return refuse("the port is missing: CONNECT wants HOST:PORT");
  }
  if (bracketed) {
    if (!host.ends_with(']')) return refuse("something stands between the address and the port");
    auto address = Address::parse(host.substr(1, host.size() - 2));
    if (!address || address->is_v4()) return refuse("no IPv6 address stands in the brackets");
    target.host = *address;
    return target;
  }
  auto parsed = parse_host(host);
  if (!parsed && parsed.error().code == Errc::Refused)
    return refuse("the host is not allowed: " + parsed.error().context, 403, CloseReason::destination_refused);
  if (!parsed) return refuse("the host is not a name or an address");
  target.host = std::move(*parsed);
  return target;
}

struct RequestLine {
  std::string_view method, target, version;
};

std::expected<RequestLine, Refusal> read_request_line(std::string_view line) {
  auto first = line.find(' ');
  auto last = line.rfind(' ');
  if (first == line.npos || first == last) return refuse("the request line is not METHOD TARGET HTTP/1.1");
  RequestLine out{line.substr(0, first), line.substr(first + 1, last - first - 1), line.substr(last + 1)};
  if (!is_token(out.method)) return refuse("the method is malformed");
  if (out.target.empty() || !std::ranges::all_of(out.target, [](char c) { return is_visible(c) && c > 0; }))
    return refuse("the request target is malformed");
  if (!out.version.starts_with("HTTP/")) return refuse("the request line is not METHOD TARGET HTTP/1.1");
  if (out.version != "HTTP/1.1" && out.version != "HTTP/1.0")
    return refuse("only HTTP/1.0 and 1.1 are spoken here", 505);
  return out;
}

std::expected<std::vector<Header>, Refusal> read_headers(const std::vector<std::string_view>& lines) {
  std::vector<Header> headers;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    auto line = lines[i];
    if (line.starts_with(' ') || line.starts_with('\t')) return refuse("a header is folded over two lines");
    auto colon = line.find(':');
    if (colon == line.npos || !is_token(line.substr(0, colon))) return refuse("a header's name is malformed");
    if (!std::ranges::all_of(line.substr(colon + 1), is_field_char)) return refuse("a header has control characters");
    headers.push_back({lower(line.substr(0, colon)), line, trim(line.substr(colon + 1))});
  }
  return headers;
}

const Header* find_header(const std::vector<Header>& headers, std::string_view name) {
  auto it = std::ranges::find(headers, name, &Header::name);
  return it == headers.end() ? nullptr : &*it;
}

std::expected<BodyFramer, Refusal> read_framing(const std::vector<Header>& headers) {
  const auto* length = find_header(headers, "content-length");
  const auto* coding = find_header(headers, "transfer-encoding");
  auto repeated = [&](std::string_view name) { return std::ranges::count(headers, name, &Header::name) > 1; };
  if (length && coding) return refuse("both Content-Length and Transfer-Encoding");
  if (repeated("content-length") || repeated("transfer-encoding")) return refuse("the body's length is given twice");
  if (coding) {
    if (lower(coding->value) != "chunked") return refuse("of transfer codings only chunked is known", 501);
    return BodyFramer::chunked();
  }
  if (!length) return BodyFramer::none();
  auto bytes = parse_decimal(length->value, 0, INT64_MAX);
  if (!bytes) return refuse("Content-Length is not a number");
  return BodyFramer::of_length(*bytes);
}

// RFC 9110 7.6.1: meant for this hop alone, with whatever Connection names besides.
bool is_hop_by_hop(const std::string& name, const std::vector<std::string>& named) {
  static constexpr std::array kHop{"connection", "keep-alive", "te", "upgrade"};
  return name.starts_with("proxy-") || std::ranges::find(kHop, name) != kHop.end() ||
         (std::ranges::find(named, name) != named.end() && name != "content-length" && name != "transfer-encoding");
}

std::string rewrite_head(const RequestLine& line, std::string_view path, std::string_view authority,
                         const std::vector<Header>& headers) {
  std::vector<std::string> named;
  for (const auto& header : headers) {
    if (header.name != "connection") continue;
    std::string_view rest = header.value;
    while (!rest.empty()) {
      auto comma = rest.find(',');
      named.push_back(lower(trim(rest.substr(0, comma))));
      rest = comma == rest.npos ? std::string_view{} : rest.substr(comma + 1);
    }
  }
  std::string out = fmt::format("{} {} {}\r\nHost: {}\r\n", line.method, path, line.version, authority);
  for (const auto& header : headers) {
    if (header.name == "host" || is_hop_by_hop(header.name, named)) continue;
    out += header.line;
    out += "\r\n";
  }
  out += "Connection: close\r\n\r\n";
  return out;
}

std::expected<Request, Refusal> read_absolute(const RequestLine& line, const std::vector<Header>& headers) {
  static constexpr std::string_view kScheme = "http://";
  if (lower(line.target.substr(0, kScheme.size())) != kScheme) {
    if (line.target.starts_with('/') || line.target == "*")
      return refuse("this is a proxy: set it as HTTP or SOCKS5 proxy in your program, or ask for http://HOST/PATH");
    if (line.target.find("://") != line.target.npos)
      return refuse("only http:// is fetched here; for others use CONNECT");
    return refuse("the request target is malformed");
  }
  auto rest = line.target.substr(kScheme.size());
  auto end = std::min(rest.find_first_of("/?#"), rest.size());
  auto authority = rest.substr(0, end);
  std::string path(rest.substr(end));
  if (path.find('#') != path.npos) return refuse("the request target has a fragment");
  if (authority.find('@') != authority.npos) return refuse("the request target has a user name");
  if (!path.starts_with('/')) path = (path.empty() && line.method == "OPTIONS" ? "*" : "/" + path);

  auto target = read_authority(authority, 80);
  if (!target) return std::unexpected(std::move(target).error());
  auto body = read_framing(headers);
  if (!body) return std::unexpected(std::move(body).error());
  Request request;
  request.target = std::move(*target);
  request.head = rewrite_head(line, path, authority, headers);
  request.body = *body;
  return request;
}

std::expected<Request, Refusal> read_connect(const RequestLine& line, const std::vector<Header>& headers) {
  if (find_header(headers, "content-length") || find_header(headers, "transfer-encoding"))
    return refuse("CONNECT has no body");
  auto target = read_authority(line.target, std::nullopt);
  if (!target) return std::unexpected(std::move(target).error());
  Request request;
  request.is_connect = true;
  request.target = std::move(*target);
  return request;
}

std::expected<Request, Refusal> read_head(std::string_view head) {
  std::vector<std::string_view> lines;
  while (!head.starts_with("\r\n")) {
    auto end = head.find("\r\n");
    lines.push_back(head.substr(0, end));
    head.remove_prefix(end + 2);
  }
  auto line = read_request_line(lines.front());
  if (!line) return std::unexpected(std::move(line).error());
  auto headers = read_headers(lines);
  if (!headers) return std::unexpected(std::move(headers).error());
  if (std::ranges::count(*headers, "host", &Header::name) > 1) return refuse("there are two Host headers");
  if (line->method == "CONNECT") return read_connect(*line, *headers);
  if (line->method == "TRACE") return refuse("TRACE is not allowed", 405, CloseReason::unsupported_command);
  return read_absolute(*line, *headers);
}

const char* status_text(int status) {
  switch (status) {
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 414: return "URI Too Long";
    case 431: return "Request Header Fields Too Large";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Error";
  }
}

}  // namespace

std::optional<std::expected<Request, Refusal>> HeadReader::read(std::string_view in) {
  using Answer = std::expected<Request, Refusal>;
  for (; scanned_ < std::min(in.size(), kMaxHead); ++scanned_) {
    char c = in[scanned_];
    // Every line must end in CR LF, and neither may stand alone: servers disagree on what such a line means.
    if (c == '\0') return Answer(refuse("a NUL byte in the request"));
    if (scanned_ > 0 && in[scanned_ - 1] == '\r' && c != '\n') return Answer(refuse("a line ends in CR without LF"));
    if (c != '\n') continue;
    if (scanned_ == 0 || in[scanned_ - 1] != '\r') return Answer(refuse("a line ends in LF without CR"));
    bool is_empty = scanned_ == line_start_ + 1;
    if (is_empty && lines_ == 0) return Answer(refuse("the request begins with an empty line"));
    if (is_empty) {
      auto request = read_head(in.substr(0, scanned_ + 1));
      if (request) request->size = scanned_ + 1;
      return request;
    }
    if (lines_ == 0)
      if (auto line = read_request_line(in.substr(0, scanned_ - 1)); !line)
        return Answer(std::unexpected(std::move(line).error()));
    if (++lines_ > kMaxHeaders + 1) return Answer(refuse(fmt::format("more than {} headers", kMaxHeaders), 431));
    line_start_ = scanned_ + 1;
  }
  if (in.size() < kMaxHead) return std::nullopt;
  return Answer(refuse(fmt::format("the request's head is over {} bytes", kMaxHead), lines_ == 0 ? 414 : 431));
}

std::optional<std::size_t> BodyFramer::take(std::string_view bytes) {
  std::size_t used = 0;
  while (!done_ && used < bytes.size()) {
    if (kind_ == Kind::Length || state_ == Chunk::Data) {
      auto part = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size() - used));
      used += part;
      left_ -= part;
      if (left_ > 0) continue;
      if (kind_ == Kind::Length)
        done_ = true;
      else
        state_ = Chunk::DataCr;
    } else if (!step(bytes[used++])) {
      return std::nullopt;
    }
  }
  return used;
}

// One byte of chunked framing (RFC 9112 section 7.1).
bool BodyFramer::step(char c) {
  switch (state_) {
    case Chunk::Size: {
      int digit = is_digit(c)            ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                         : -1;
      if (digit >= 0) {
        if (++digits_ > 15) return false;
        left_ = left_ * 16 + static_cast<std::uint64_t>(digit);
        return true;
      }
      if (digits_ == 0 || (c != '\r' && c != ';' && c != ' ' && c != '\t')) return false;
      state_ = c == '\r' ? Chunk::SizeLf : Chunk::SizeRest;
      return true;
    }
    case Chunk::SizeRest:
      if (c == '\r') state_ = Chunk::SizeLf;
      return c != '\n';
    case Chunk::SizeLf:
      digits_ = 0;
      state_ = left_ == 0 ? Chunk::TrailerStart : Chunk::Data;
      return c == '\n';
    case Chunk::Data: return false;  // take() handles data as a run
    case Chunk::DataCr: state_ = Chunk::DataLf; return c == '\r';
    case Chunk::DataLf: state_ = Chunk::Size; return c == '\n';
    case Chunk::TrailerStart: state_ = c == '\r' ? Chunk::EndLf : Chunk::Trailer; return c != '\n';
    case Chunk::Trailer:
      if (c == '\r') state_ = Chunk::TrailerLf;
      return c != '\n';
    case Chunk::TrailerLf: state_ = Chunk::TrailerStart; return c == '\n';
    case Chunk::EndLf: done_ = true; return c == '\n';
  }
  return false;
}

std::string connect_reply() {
  return "HTTP/1.1 200 Connection established\r\n\r\n";
}

std::string error_reply(int status, std::string_view text) {
  return fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{}Connection: "
      "close\r\n\r\n{}\n",
      status, status_text(status), text.size() + 1,
      status == 405 ? "Allow: CONNECT, GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n" : "", text);
}

}  // namespace dongle::http
