#include "worker/access.h"

#include <algorithm>
#include <array>

namespace dongle {
namespace {

Prefix prefix(const char* text) {
  return Prefix::parse(text).value();
}

// IANA's special-purpose registries. The documentation nets count as public: labs stand in them for the internet.
const auto& special_v4() {
  static const std::array list{
      prefix("0.0.0.0/8"),       // "this network"; 0.0.0.0 reaches the host itself
      prefix("10.0.0.0/8"),      // private
      prefix("100.64.0.0/10"),   // carrier-grade NAT
      prefix("127.0.0.0/8"),     // loopback
      prefix("169.254.0.0/16"),  // link-local, cloud metadata
      prefix("172.16.0.0/12"),   // private
      prefix("192.0.0.0/24"),    // protocol assignments
      prefix("192.88.99.0/24"),  // 6to4 relays
      prefix("192.168.0.0/16"),  // private
      prefix("198.18.0.0/15"),   // benchmarks
      prefix("224.0.0.0/4"),     // multicast
      prefix("240.0.0.0/4"),     // reserved, broadcast
  };
  return list;
}

// Of IPv6 only 2000::/3 is the internet: that leaves out ::1, mapped and translated IPv4 (::ffff:0:0/96,
// 64:ff9b::/96), fc00::/7, fe80::/10 and ff00::/8 at one stroke. These are the exceptions within it.
const auto& special_v6() {
  static const std::array list{
      prefix("2001::/32"),     // Teredo: IPv4 inside
      prefix("2001:2::/48"),   // benchmarks
      prefix("2001:10::/28"),  // ORCHID
      prefix("2001:20::/28"),  // ORCHIDv2
      prefix("2002::/16"),     // 6to4: IPv4 inside
  };
  return list;
}
const Prefix& global_v6() {
  static const Prefix global = prefix("2000::/3");
  return global;
}

bool contains(const auto& prefixes, const Address& address) {
  return std::ranges::any_of(prefixes, [&](const Prefix& p) { return p.contains(address); });
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f');
}
bool is_name_char(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '_';
}

// inet_aton and its kin take a name whose last label is a number, decimal, octal or hex, for an address.
bool is_number(std::string_view label) {
  if (label.starts_with("0x")) return std::ranges::all_of(label.substr(2), is_hex);
  return std::ranges::all_of(label, is_digit);
}

}  // namespace

std::string Target::to_string() const {
  if (auto* address = std::get_if<Address>(&host)) return Endpoint{*address, port}.to_string();
  return fmt::format("{}:{}", std::get<std::string>(host), port);
}

Result<std::variant<Address, std::string>> parse_host(std::string_view host) {
  if (auto address = Address::parse(host)) return *address;
  std::string name(host);
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (name.ends_with('.')) name.pop_back();
  if (name.empty() || name.size() > 253) return fail(Errc::InvalidArgument, "a host name of {} bytes", host.size());
  // Zones and brackets only ever decorate an address.
  if (name.find_first_of("%[]:") != name.npos) return fail(Errc::Refused, "an address in an odd notation");
  std::string_view rest = name, last;
  while (true) {
    auto dot = rest.find('.');
    last = rest.substr(0, dot);
    if (last.empty() || last.size() > 63) return fail(Errc::InvalidArgument, "a label of {} bytes", last.size());
    if (!std::ranges::all_of(last, is_name_char)) return fail(Errc::InvalidArgument, "a byte that no host name has");
    if (dot == rest.npos) break;
    rest.remove_prefix(dot + 1);
  }
  if (is_number(last)) return fail(Errc::Refused, "an address in an odd notation");
  if (last == "localhost") return fail(Errc::Refused, "localhost");
  return name;
}

bool DestinationGuard::allows(const Address& address) const {
  if (contains(allowed_, address)) return true;
  // The mapped form of an address is that address to the kernel; looked up under both names.
  if (denied_.contains(address) || denied_.contains(address.unmapped())) return false;
  if (host_.contains(address) || host_.contains(address.unmapped())) return false;
  if (address.is_v4()) return !contains(special_v4(), address);
  return global_v6().contains(address) && !contains(special_v6(), address);
}

bool client_allowed(const std::vector<Prefix>& clients, const Address& peer) {
  return clients.empty() || contains(clients, peer.unmapped());
}

}  // namespace dongle
