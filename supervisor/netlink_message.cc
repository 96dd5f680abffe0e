#include "supervisor/netlink_message.h"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <array>
#include <cstring>

#include <fmt/format.h>

namespace dongle {
namespace {

// Newer than the headers of some hosts that we build on.
constexpr int kIfaProto = 11;           // IFA_PROTO, Linux 5.18
constexpr int kIflaParentDevName = 56;  // IFLA_PARENT_DEV_NAME, Linux 5.14
constexpr int kIflaParentDevBusName = 57;
constexpr std::uint32_t kSkipStatistics = 1u << 3;  // RTEXT_FILTER_SKIP_STATS
constexpr unsigned kLowerUp = 1u << 16;             // IFF_LOWER_UP: <net/if.h> and <linux/if.h> exclude each other

/// The attributes of one message by number; a later one of the same number wins, as in the kernel.
template <int Max>
class Attributes {
 public:
  Attributes(const nlmsghdr& message, std::size_t header_size) {
    auto* header = const_cast<nlmsghdr*>(&message);  // libnl's readers take no const
    valid_ = nlmsg_valid_hdr(header, static_cast<int>(header_size)) != 0 &&
             nlmsg_parse(header, static_cast<int>(header_size), table_.data(), Max, nullptr) >= 0;
  }
  bool valid() const { return valid_; }
  bool has(int type) const { return table_[type] != nullptr; }
  std::span<const std::uint8_t> bytes(int type) const {
    if (!has(type)) return {};
    return {static_cast<const std::uint8_t*>(nla_data(table_[type])), static_cast<std::size_t>(nla_len(table_[type]))};
  }
  template <class T>
  std::optional<T> number(int type) const {
    auto data = bytes(type);
    if (data.size() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, data.data(), sizeof value);
    return value;
  }
  std::string text(int type) const {
    auto data = bytes(type);
    std::string_view whole(reinterpret_cast<const char*>(data.data()), data.size());
    return std::string(whole.substr(0, whole.find('\0')));
  }
  std::optional<Address> address(int type) const {
    auto parsed = Address::from_bytes(bytes(type));
    if (!has(type) || !parsed) return std::nullopt;
    return *parsed;
  }

 private:
  std::array<nlattr*, Max + 1> table_{};
  bool valid_ = false;
};

template <class Header>
const Header& payload_of(const nlmsghdr& message) {
  return *static_cast<const Header*>(nlmsg_data(&message));
}

/// An attribute's address, or 0.0.0.0/0 or ::/0 where a default route has none.
std::optional<Prefix> destination_of(std::optional<Address> address, int family, int length) {
  if (family != AF_INET && family != AF_INET6) return std::nullopt;
  if (length < 0 || length > (family == AF_INET ? 32 : 128)) return std::nullopt;
  static constexpr std::array<std::uint8_t, 16> kZero{};
  if (!address) address = family == AF_INET ? Address::v4(0) : Address::v6(kZero);
  if (address->family() != family) return std::nullopt;
  return Prefix{*address, length};
}

std::optional<RouteType> route_type(unsigned char type) {
  switch (type) {
    case RTN_UNICAST: return RouteType::Unicast;
    case RTN_UNREACHABLE: return RouteType::Unreachable;
    case RTN_PROHIBIT: return RouteType::Prohibit;
    case RTN_BLACKHOLE: return RouteType::Blackhole;
    default: return std::nullopt;
  }
}

unsigned char route_type_number(RouteType type) {
  switch (type) {
    case RouteType::Unicast: return RTN_UNICAST;
    case RouteType::Unreachable: return RTN_UNREACHABLE;
    case RouteType::Prohibit: return RTN_PROHIBIT;
    case RouteType::Blackhole: return RTN_BLACKHOLE;
  }
  return RTN_UNREACHABLE;
}

/// The header's field is a byte; higher numbers stand in an attribute alone.
unsigned char short_table(TableId table) {
  return static_cast<unsigned char>(table.value < 256 ? table.value : 0);
}

NlMsg new_message(int type, int flags) {
  NlMsg message(nlmsg_alloc_simple(type, NLM_F_REQUEST | flags));
  CHECK(message != nullptr);
  return message;
}

template <class Header>
void append(const NlMsg& message, Header header) {
  CHECK(nlmsg_append(message.get(), &header, sizeof header, NLMSG_ALIGNTO) == 0);
}

void put(const NlMsg& message, int type, const void* data, std::size_t size) {
  CHECK(nla_put(message.get(), type, static_cast<int>(size), data) == 0);
}
void put_u32(const NlMsg& message, int type, std::uint32_t value) {
  put(message, type, &value, sizeof value);
}
void put_u8(const NlMsg& message, int type, std::uint8_t value) {
  put(message, type, &value, sizeof value);
}
void put_address(const NlMsg& message, int type, const Address& address) {
  put(message, type, address.bytes().data(), address.bytes().size());
}

}  // namespace

void NlMsgDeleter::operator()(nl_msg* message) const {
  nlmsg_free(message);
}

nlmsghdr& header_of(const NlMsg& message) {
  return *nlmsg_hdr(message.get());
}

std::optional<Link> parse_link(const nlmsghdr& message) {
  Attributes<kIflaParentDevBusName> attributes(message, sizeof(ifinfomsg));
  if (!attributes.valid()) return std::nullopt;
  const auto& header = payload_of<ifinfomsg>(message);
  Link link;
  link.index = IfIndex{header.ifi_index};
  link.name = attributes.text(IFLA_IFNAME);
  if (!link.index || link.name.empty()) return std::nullopt;
  link.up = (header.ifi_flags & IFF_UP) != 0;
  link.carrier = (header.ifi_flags & kLowerUp) != 0;
  link.mtu = attributes.number<std::uint32_t>(IFLA_MTU).value_or(0);
  if (auto mac = attributes.bytes(IFLA_ADDRESS); mac.size() == 6) link.mac = fmt::format("{:02x}", fmt::join(mac, ":"));
  if (attributes.text(kIflaParentDevBusName) == "usb")
    link.usb_path = usb_path_from_interface_name(attributes.text(kIflaParentDevName));
  return link;
}

std::optional<LocalAddress> parse_address(const nlmsghdr& message) {
  Attributes<kIfaProto> attributes(message, sizeof(ifaddrmsg));
  if (!attributes.valid()) return std::nullopt;
  const auto& header = payload_of<ifaddrmsg>(message);
  auto own = attributes.address(IFA_LOCAL);  // on a point-to-point link, IFA_ADDRESS is the peer's
  if (!own) own = attributes.address(IFA_ADDRESS);
  if (!own) return std::nullopt;
  auto prefix = destination_of(own, header.ifa_family, header.ifa_prefixlen);
  if (!prefix) return std::nullopt;
  std::uint32_t flags = attributes.number<std::uint32_t>(IFA_FLAGS).value_or(header.ifa_flags);
  return LocalAddress{IfIndex{static_cast<int>(header.ifa_index)}, *prefix,
                      attributes.number<std::uint8_t>(kIfaProto).value_or(0), (flags & IFA_F_NOPREFIXROUTE) != 0};
}

std::optional<Route> parse_route(const nlmsghdr& message, std::uint8_t our_protocol) {
  if (message.nlmsg_len < NLMSG_LENGTH(sizeof(rtmsg))) return std::nullopt;
  const auto& header = payload_of<rtmsg>(message);
  bool ours = header.rtm_protocol == our_protocol;
  bool main_default = header.rtm_dst_len == 0 && header.rtm_table == RT_TABLE_MAIN;
  auto type = route_type(header.rtm_type);
  if ((!ours && !main_default) || !type || (header.rtm_flags & RTM_F_CLONED) != 0) return std::nullopt;

  Attributes<RTA_MAX> attributes(message, sizeof(rtmsg));
  if (!attributes.valid()) return std::nullopt;
  auto destination = destination_of(attributes.address(RTA_DST), header.rtm_family, header.rtm_dst_len);
  if (!destination) return std::nullopt;
  Route route;
  route.table = TableId{attributes.number<std::uint32_t>(RTA_TABLE).value_or(header.rtm_table)};
  route.type = *type;
  route.destination = *destination;
  route.gateway = attributes.address(RTA_GATEWAY);
  // IPv6 prints the loopback device behind routes that lead nowhere.
  if (*type == RouteType::Unicast) route.device = IfIndex{attributes.number<int>(RTA_OIF).value_or(0)};
  route.source = attributes.address(RTA_PREFSRC);
  route.link_scope = header.rtm_family == AF_INET && header.rtm_scope == RT_SCOPE_LINK;
  route.onlink = (header.rtm_flags & RTNH_F_ONLINK) != 0;
  route.metric = attributes.number<std::uint32_t>(RTA_PRIORITY).value_or(0);
  route.protocol = header.rtm_protocol;
  return route;
}

std::optional<Rule> parse_rule(const nlmsghdr& message) {
  Attributes<FRA_MAX> attributes(message, sizeof(fib_rule_hdr));
  if (!attributes.valid()) return std::nullopt;
  const auto& header = payload_of<fib_rule_hdr>(message);
  if (header.family != AF_INET && header.family != AF_INET6) return std::nullopt;
  Rule rule;
  rule.family = header.family;
  rule.priority = attributes.number<std::uint32_t>(FRA_PRIORITY).value_or(0);
  rule.out_device = attributes.text(FRA_OIFNAME);
  if (auto from = attributes.address(FRA_SRC)) rule.from = destination_of(from, header.family, header.src_len);
  rule.table = TableId{attributes.number<std::uint32_t>(FRA_TABLE).value_or(header.table)};
  switch (header.action) {
    case FR_ACT_TO_TBL: rule.action = RuleAction::Lookup; break;
    case FR_ACT_PROHIBIT: rule.action = RuleAction::Prohibit; break;
    default: rule.action = RuleAction::Other; break;
  }
  if (rule.action != RuleAction::Lookup) rule.table = {};
  rule.protocol = attributes.number<std::uint8_t>(FRA_PROTOCOL).value_or(0);
  for (int type = 1; type <= FRA_MAX; ++type) {
    bool known = type == FRA_PRIORITY || type == FRA_OIFNAME || type == FRA_SRC || type == FRA_TABLE ||
                 type == FRA_PROTOCOL || type == FRA_PAD ||
                 // The kernel always says that nothing is suppressed, as -1.
                 (type == FRA_SUPPRESS_PREFIXLEN && attributes.template number<std::int32_t>(type) == -1);
    if (attributes.has(type) && !known) rule.has_more = true;
  }
  if ((header.flags & FIB_RULE_INVERT) != 0 || header.tos != 0) rule.has_more = true;
  return rule;
}

NlMsg link_up_request(IfIndex index) {
  NlMsg message = new_message(RTM_NEWLINK, NLM_F_ACK);
  ifinfomsg header{};
  header.ifi_index = index.value;
  header.ifi_flags = IFF_UP;
  header.ifi_change = IFF_UP;
  append(message, header);
  return message;
}

NlMsg address_request(const LocalAddress& address, bool add) {
  NlMsg message = new_message(add ? RTM_NEWADDR : RTM_DELADDR, NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0));
  const Address& ip = address.prefix.address;
  ifaddrmsg header{};
  header.ifa_family = static_cast<unsigned char>(ip.family());
  header.ifa_prefixlen = static_cast<unsigned char>(address.prefix.length);
  header.ifa_index = static_cast<unsigned>(address.index.value);
  append(message, header);
  put_address(message, IFA_LOCAL, ip);
  put_address(message, IFA_ADDRESS, ip);
  if (add) {
    // Without NODAD an IPv6 address is tentative for a second, and no route takes it as its source meanwhile.
    std::uint32_t flags = address.no_prefix_route ? IFA_F_NOPREFIXROUTE : 0;
    if (!ip.is_v4()) flags |= IFA_F_NODAD;
    put_u32(message, IFA_FLAGS, flags);
    put_u8(message, kIfaProto, address.protocol);
    if (ip.is_v4() && address.prefix.length < 31) {
      std::uint32_t host_bits = (std::uint32_t{1} << (32 - address.prefix.length)) - 1;
      put_address(message, IFA_BROADCAST, Address::v4(ip.v4_host_order() | host_bits));
    }
  }
  return message;
}

NlMsg route_request(const Route& route, bool add) {
  NlMsg message = new_message(add ? RTM_NEWROUTE : RTM_DELROUTE, NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_REPLACE : 0));
  rtmsg header{};
  header.rtm_family = static_cast<unsigned char>(route.family());
  header.rtm_dst_len = static_cast<unsigned char>(route.destination.length);
  header.rtm_table = short_table(route.table);
  header.rtm_protocol = route.protocol;
  header.rtm_scope = route.link_scope ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  header.rtm_type = route_type_number(route.type);
  header.rtm_flags = route.onlink ? RTNH_F_ONLINK : 0;
  append(message, header);
  put_u32(message, RTA_TABLE, route.table.value);
  if (!route.is_default()) put_address(message, RTA_DST, route.destination.address);
  if (route.gateway) put_address(message, RTA_GATEWAY, *route.gateway);
  if (route.device) put_u32(message, RTA_OIF, static_cast<std::uint32_t>(route.device.value));
  if (route.source) put_address(message, RTA_PREFSRC, *route.source);
  if (route.metric != 0) put_u32(message, RTA_PRIORITY, route.metric);
  return message;
}

NlMsg rule_request(const Rule& rule, bool add) {
  NlMsg message = new_message(add ? RTM_NEWRULE : RTM_DELRULE, NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0));
  fib_rule_hdr header{};
  header.family = static_cast<unsigned char>(rule.family);
  header.src_len = static_cast<unsigned char>(rule.from ? rule.from->length : 0);
  header.table = short_table(rule.table);
  switch (rule.action) {
    case RuleAction::Lookup: header.action = FR_ACT_TO_TBL; break;
    case RuleAction::Prohibit: header.action = FR_ACT_PROHIBIT; break;
    case RuleAction::Other: header.action = FR_ACT_UNSPEC; break;  // removing it: any action matches
  }
  append(message, header);
  put_u32(message, FRA_PRIORITY, rule.priority);
  put_u8(message, FRA_PROTOCOL, rule.protocol);
  if (rule.action == RuleAction::Lookup) put_u32(message, FRA_TABLE, rule.table.value);
  if (!rule.out_device.empty()) put(message, FRA_OIFNAME, rule.out_device.c_str(), rule.out_device.size() + 1);
  if (rule.from) put_address(message, FRA_SRC, rule.from->address);
  return message;
}

NlMsg dump_request(std::uint16_t type, int family) {
  NlMsg message = new_message(type, NLM_F_DUMP);
  if (type == RTM_GETLINK) {
    append(message, ifinfomsg{});
    put_u32(message, IFLA_EXT_MASK, kSkipStatistics);
  } else if (type == RTM_GETADDR) {
    ifaddrmsg header{};
    header.ifa_family = static_cast<unsigned char>(family);
    append(message, header);
  } else {
    fib_rule_hdr header{};
    header.family = static_cast<unsigned char>(family);
    append(message, header);
  }
  return message;
}

NlMsg route_dump_request(int family, std::uint8_t protocol, TableId table) {
  NlMsg message = new_message(RTM_GETROUTE, NLM_F_DUMP);
  rtmsg header{};
  header.rtm_family = static_cast<unsigned char>(family);
  header.rtm_protocol = protocol;
  append(message, header);
  if (table.value != 0) put_u32(message, RTA_TABLE, table.value);
  return message;
}

}  // namespace dongle
