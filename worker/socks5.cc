#include "worker/socks5.h"

#include <span>

namespace dongle::socks5 {
namespace {

constexpr std::uint8_t kVersion = 5;
constexpr std::uint8_t kNoAuthentication = 0;
constexpr std::uint8_t kConnect = 1;
constexpr std::uint8_t kIPv4 = 1, kName = 3, kIPv6 = 4;

std::uint8_t byte_at(std::string_view in, std::size_t i) {
  return static_cast<std::uint8_t>(in[i]);
}

std::string reply(std::uint8_t rep, const Endpoint& bound) {
  std::string out{static_cast<char>(kVersion), static_cast<char>(rep), 0,
                  static_cast<char>(bound.address.is_v4() ? kIPv4 : kIPv6)};
  for (std::uint8_t b : bound.address.bytes()) out += static_cast<char>(b);
  out += static_cast<char>(bound.port >> 8);
  out += static_cast<char>(bound.port & 0xff);
  return out;
}

}  // namespace

std::optional<Greeting> read_greeting(std::string_view in) {
  if (in.size() < 2) return std::nullopt;
  std::size_t methods = byte_at(in, 1);
  if (in.size() < 2 + methods) return std::nullopt;
  return Greeting{2 + methods, in.substr(2, methods).find(static_cast<char>(kNoAuthentication)) != in.npos};
}

std::optional<std::expected<Request, CloseReason>> read_request(std::string_view in) {
  using Answer = std::expected<Request, CloseReason>;
  auto refuse = [](CloseReason reason) { return Answer(std::unexpect, reason); };
  if (!in.empty() && byte_at(in, 0) != kVersion) return refuse(CloseReason::bad_request);
  if (in.size() >= 2 && byte_at(in, 1) != kConnect) return refuse(CloseReason::unsupported_command);
  if (in.size() < 4) return std::nullopt;
  std::uint8_t type = byte_at(in, 3);
  if (type != kIPv4 && type != kName && type != kIPv6) return refuse(CloseReason::unsupported_address);
  if (in.size() < 5) return std::nullopt;
  std::size_t start = type == kName ? 5 : 4;
  std::size_t length = type == kIPv4 ? 4 : type == kIPv6 ? 16 : byte_at(in, 4);
  if (in.size() < start + length + 2) return std::nullopt;

  Request request;
  request.size = start + length + 2;
  request.target.port = static_cast<std::uint16_t>(byte_at(in, start + length) << 8 | byte_at(in, start + length + 1));
  if (request.target.port == 0) return refuse(CloseReason::bad_request);
  std::string_view text = in.substr(start, length);
  if (type == kName) {
    auto host = parse_host(text);
    if (!host)
      return refuse(host.error().code == Errc::Refused ? CloseReason::destination_refused : CloseReason::bad_request);
    request.target.host = std::move(*host);
  } else {
    request.target.host =
        Address::from_bytes({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}).value();
  }
  return request;
}

std::string method_reply(std::uint8_t method) {
  return {static_cast<char>(kVersion), static_cast<char>(method)};
}
std::string success_reply(const Endpoint& bound) {
  return reply(0, bound);
}
std::string failure_reply(std::uint8_t rep) {
  return reply(rep, {});
}
std::string socks4_refusal() {
  return {0, 0x5b, 0, 0, 0, 0, 0, 0};
}

}  // namespace dongle::socks5
