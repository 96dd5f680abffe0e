#pragma once
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "common/net_address.h"
#include "worker/access.h"
#include "worker/session_close.h"

// SOCKS5 as RFC 1928 has it, CONNECT only, no authentication. Each reader looks at all bytes that came so far and says
// how many it used; what lies behind those is the next part, or already payload.
namespace dongle::socks5 {

struct Greeting {
  std::size_t size = 0;  ///< bytes used
  bool offers_no_authentication = false;
};
/// nullopt: more bytes are needed. `in` begins with version 5.
std::optional<Greeting> read_greeting(std::string_view in);

struct Request {
  std::size_t size = 0;
  Target target;
};
/// nullopt: more bytes are needed. RSV isn't looked at. The error is the reason to refuse with.
std::optional<std::expected<Request, CloseReason>> read_request(std::string_view in);

/// The server's choice: 0 = no authentication, 0xff = none of those offered.
std::string method_reply(std::uint8_t method);
/// rep 0 with the address that the server connects from.
std::string success_reply(const Endpoint& bound);
/// A failure: all-zero IPv4 address, as the RFC leaves open.
std::string failure_reply(std::uint8_t rep);
/// The refusal of a SOCKS4 client.
std::string socks4_refusal();

}  // namespace dongle::socks5
