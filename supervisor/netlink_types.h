#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ids.h"
#include "common/net_address.h"

namespace dongle {

// What the kernel's routing consists of, as values. Texts look as `ip` prints them.

/// Where everybody else keeps their routes.
inline constexpr TableId kMainTable{254};

/// A network device.
struct Link {
  IfIndex index;
  std::string name;
  std::string mac;  ///< lower case with colons; empty: none
  bool up = false;
  bool carrier = false;
  unsigned mtu = 0;
  std::string usb_path;  ///< port path of the USB device behind it, "2-1.1"; empty: not a USB device
  bool operator==(const Link&) const = default;
};

/// An address on a device.
struct LocalAddress {
  IfIndex index;
  Prefix prefix;                 ///< the address itself with the length of its subnet
  std::uint8_t protocol = 0;     ///< who added it; always 0 before Linux 5.18
  bool no_prefix_route = false;  ///< the kernel added no route to the subnet for it
  bool operator==(const LocalAddress&) const = default;
};

enum class RouteType { Unicast, Unreachable, Prohibit, Blackhole };

struct Route {
  TableId table;
  RouteType type = RouteType::Unicast;
  Prefix destination;  ///< length 0: default
  std::optional<Address> gateway;
  IfIndex device;  ///< none for the types that end a lookup
  std::optional<Address> source;
  bool link_scope = false;  ///< IPv4 only
  bool onlink = false;
  std::uint32_t metric = 0;
  std::uint8_t protocol = 0;
  bool operator==(const Route&) const = default;
  bool is_default() const { return destination.length == 0; }
  int family() const { return destination.address.family(); }
};

enum class RuleAction { Lookup, Prohibit, Other };

struct Rule {
  int family = 0;  ///< AF_INET or AF_INET6
  std::uint32_t priority = 0;
  std::string out_device;  ///< empty: any
  std::optional<Prefix> from;
  RuleAction action = RuleAction::Lookup;
  TableId table;  ///< with Lookup
  std::uint8_t protocol = 0;
  bool has_more = false;  ///< it selects by more than these fields say (mark, uid, input device, ...)
  bool operator==(const Rule&) const = default;
};

/// What the kernel had at one moment. Foreign routes are left out unless they are default routes of the main table.
struct NetState {
  std::vector<Link> links;
  std::vector<LocalAddress> addresses;
  std::vector<Route> routes;
  std::vector<Rule> rules;
  bool operator==(const NetState&) const = default;

  const Link* find_link(IfIndex index) const;
  const Link* find_link(std::string_view name) const;
};

/// As `ip rule` prints it, without the tab: "10011: from all oif m11 lookup 11 proto 83".
std::string to_string(const Rule& rule);
/// As `ip route` prints it, without the table; `device` is the name behind route.device.
std::string to_string(const Route& route, std::string_view device);
/// "192.168.11.100/24 dev m11"
std::string to_string(const LocalAddress& address, std::string_view device);

/// Whether the kernel would take it as a device's name and it can stand in a path and in quotes as it is.
bool is_plain_device_name(std::string_view name);

/// The USB port path in a USB interface's name ("2-1.1:1.0" -> "2-1.1"); empty if it isn't one.
std::string usb_path_from_interface_name(std::string_view name);

}  // namespace dongle
