#pragma once
#include <linux/netlink.h>

#include <memory>
#include <optional>

#include "supervisor/netlink_types.h"

struct nl_msg;

namespace dongle {

// rtnetlink messages to values and back. Pure: no socket.

struct NlMsgDeleter {
  void operator()(nl_msg* message) const;
};
using NlMsg = std::unique_ptr<nl_msg, NlMsgDeleter>;
/// The whole message, nlmsg_len bytes of it; lives as long as `message`.
nlmsghdr& header_of(const NlMsg& message);

// The message as a value; nothing if it is of another kind, lacks what we need, or is broken. The message's length has
// been checked against the buffer that it stands in.
std::optional<Link> parse_link(const nlmsghdr& message);
std::optional<LocalAddress> parse_address(const nlmsghdr& message);
/// Also nothing for routes that NetState leaves out (netlink_types.h), cheaply: a host may have 100,000 of them.
std::optional<Route> parse_route(const nlmsghdr& message, std::uint8_t our_protocol);
std::optional<Rule> parse_rule(const nlmsghdr& message);

// Requests without sequence number; flags beside NLM_F_REQUEST | NLM_F_ACK are set here.
NlMsg link_up_request(IfIndex index);
NlMsg address_request(const LocalAddress& address, bool add);
/// Adding replaces a route with the same table, destination and metric.
NlMsg route_request(const Route& route, bool add);
NlMsg rule_request(const Rule& rule, bool add);
/// Asks for all links (stripped of statistics), addresses or rules of a family (AF_UNSPEC: both, links only).
NlMsg dump_request(std::uint16_t type, int family);
/// Asks for the routes of one family, filtered in the kernel by protocol (0: any) and by table (0: any).
NlMsg route_dump_request(int family, std::uint8_t protocol, TableId table);

}  // namespace dongle
