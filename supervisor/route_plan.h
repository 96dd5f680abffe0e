#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "supervisor/netlink_types.h"

namespace dongle {

// Which rules and routes keep a dongle's traffic on its device, and the way from what there is to what there should be.
//
// Rule priorities, N = the dongle's id (1..252). Between the kernel's own local (0) and main (32766) tables:
//
//   priority    selects     does         families     why
//   10000 + N   oif DEV     lookup N     both         egress sockets are bound to the device; works with equal subnets
//   10300 + N   oif DEV     prohibit     both         table N was flushed, or the device is half configured
//   10600 + N   from ADDR   lookup N     of address   sockets bound to the address alone: a DHCP renewal, an old tool
//   10900 + N   from ADDR   prohibit     of address   as above
//
// Table N: the subnet, the default by the gateway, and an unreachable default behind them, which is there even without
// a device. Rules name the device, so they hold while the device is away and from the moment it is back.
// All of it carries our protocol number: nothing without it is ever changed or removed, except that a route of ours
// takes the place of a foreign one with the same key in table N.
inline constexpr std::uint32_t kOifLookupPriority = 10000;
inline constexpr std::uint32_t kOifProhibitPriority = 10300;
inline constexpr std::uint32_t kFromLookupPriority = 10600;
inline constexpr std::uint32_t kFromProhibitPriority = 10900;

/// rtm_protocol, FRA_PROTOCOL and IFA_PROTO of all that we add. Free in /etc/iproute2/rt_protos.
inline constexpr std::uint8_t kOurProtocol = 83;
/// The metric of the unreachable default: behind every other route (the value that the kernel's VRF document uses).
inline constexpr std::uint32_t kUnreachableMetric = 4278198272;
/// IPv6 knows no metric 0. The lowest, so that no foreign route in table N is preferred to ours.
inline constexpr std::uint32_t kIpv6Metric = 1;

/// What one dongle needs. Without ifindex (the device is away) only the rules and routes that close the way are kept.
struct DongleRoute {
  DongleId id;
  std::string device;  ///< its name, as last seen or as configured; empty: never seen, no rules by device
  IfIndex ifindex;
  bool set_up = true;        ///< bring the link up if it is down
  bool own_address = false;  ///< we add the addresses; false: somebody else has put them there
  std::optional<Prefix> v4;
  std::optional<Address> gateway_v4;  ///< absent: everything is reached directly on the link
  std::optional<Prefix> v6;
  std::optional<Address> gateway_v6;
  bool operator==(const DongleRoute&) const = default;
};

/// What belongs to one dongle.
struct DonglePlan {
  DongleId id;
  std::string device;
  IfIndex ifindex;
  bool set_up = false;
  std::vector<LocalAddress> addresses;
  std::vector<Route> routes;
  std::vector<Rule> rules;
  /// An address of the dongle is also the host's own on another device: no rule by that address, it would cut off the
  /// host. Sockets bound to the device are not concerned.
  bool shares_host_address = false;
  bool operator==(const DonglePlan&) const = default;
};

struct RoutePlan {
  std::vector<DonglePlan> dongles;
  bool operator==(const RoutePlan&) const = default;
  const DonglePlan* find(DongleId id) const;
};

/// host_addresses: the host's own addresses on devices that are no dongle's.
RoutePlan plan_routes(std::span<const DongleRoute> dongles, std::span<const Address> host_addresses);

struct LinkUp {
  IfIndex index;
  bool operator==(const LinkUp&) const = default;
};

/// One request to the kernel.
struct RouteOp {
  enum class Kind { Add, Remove };
  Kind kind = Kind::Add;
  DongleId id;  ///< 0: left by a dongle that isn't configured any more
  std::variant<LinkUp, LocalAddress, Route, Rule> object;
  bool operator==(const RouteOp&) const = default;
};

/// The requests that lead from `seen` to `wanted`, in an order in which no step opens a way past the dongle: what
/// closes first, what opens last; what is new before what goes. An empty plan removes all that is ours.
std::vector<RouteOp> diff(const RoutePlan& wanted, const NetState& seen);

/// "add rule 10011: from all oif m11 lookup 11 proto 83", for errors and `donglectl why`.
std::string to_string(const RouteOp& op, const NetState& seen);

/// The gateway of a default route through the device that somebody else put into the main table; lowest metric first.
std::optional<Address> found_gateway(const NetState& seen, IfIndex device, int family);

/// The subnet's first host, or the second if the first is `address` itself; none in a subnet without room for it.
std::optional<Address> likely_gateway(const Prefix& address);

/// Default routes of the main table that lead through one of these devices: a DHCP client put them there, and the
/// host's own traffic may take them. Reported, never removed.
std::vector<Route> foreign_defaults(const NetState& seen, std::span<const IfIndex> devices);

}  // namespace dongle
