#pragma once
#include <optional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "common/clock.h"
#include "common/net_address.h"

namespace dongle {

/// What a modem's DHCP server has given us; checked, fit to be used as it is.
struct DhcpLease {
  Prefix address;
  std::optional<Address> gateway;  ///< inside the subnet, not our own
  std::vector<Address> dns;        ///< at most kMaxDnsServers, in the server's order
  Seconds duration{0};             ///< at least 1 s
  bool operator==(const DhcpLease&) const = default;
};

struct DhcpDeconfig {  ///< the client starts anew, or its lease is over
  bool operator==(const DhcpDeconfig&) const = default;
};
struct DhcpNoAnswer {  ///< no server answered, or it gave nothing; the client goes on asking
  bool operator==(const DhcpNoAnswer&) const = default;
};
struct DhcpRefusal {  ///< the server took its address back
  bool operator==(const DhcpRefusal&) const = default;
};
using DhcpEvent = std::variant<DhcpLease, DhcpDeconfig, DhcpNoAnswer, DhcpRefusal>;

inline constexpr std::size_t kMaxDnsServers = 8;
inline constexpr std::size_t kMaxDhcpLine = 1024;

/// Reads a line of supervisor/dhcp-report: event, address, prefix length, gateway, DNS servers, seconds; tab-separated.
/// All of it comes from a stranger. Protocol: not such a line, or it says something that can't be used.
/// Refused: the subnet overlaps one of `forbidden`, the subnets that the host has on its other devices.
/// Unusable DNS servers are left out, as are those beyond kMaxDnsServers.
Result<DhcpEvent> parse_dhcp_report(std::string_view line, std::span<const Prefix> forbidden);

/// Refused if the subnet overlaps one of `forbidden`.
Result<void> check_overlap(const Prefix& subnet, std::span<const Prefix> forbidden);

}  // namespace dongle
