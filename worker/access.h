#pragma once
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/net_address.h"

namespace dongle {

/// Where a client wants to go, as it said it: an address, or a name for the resolver.
struct Target {
  std::variant<Address, std::string> host;
  std::uint16_t port = 0;
  /// "example.com:443", "[2001:db8::1]:80", for logs.
  std::string to_string() const;
};

/// Reads a host as a client wrote it. An address is exactly what inet_pton takes. InvalidArgument: bytes that no host
/// name has, labels too long or empty. Refused: a number in any other notation (127.1, 0x7f.1, 2130706433, a trailing
/// dot, a zone) and localhost; these never reach a resolver.
Result<std::variant<Address, std::string>> parse_host(std::string_view host);

/// The guard in front of every connect: no private, local or special address, none of the host's own and none that is
/// denied by name, unless the operator made an exception. To be asked about the very address that is connected.
class DestinationGuard {
 public:
  void set_exceptions(std::vector<Prefix> allowed) { allowed_ = std::move(allowed); }
  void set_denied(const std::vector<Address>& denied) { denied_ = {denied.begin(), denied.end()}; }
  void set_host_addresses(std::set<Address> addresses) { host_ = std::move(addresses); }
  bool allows(const Address& address) const;

 private:
  std::vector<Prefix> allowed_;
  std::set<Address> denied_;
  std::set<Address> host_;
};

/// Whether a client may connect. An empty list: everyone who reaches the port.
bool client_allowed(const std::vector<Prefix>& clients, const Address& peer);

}  // namespace dongle
