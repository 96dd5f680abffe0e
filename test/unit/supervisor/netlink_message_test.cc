#include "supervisor/netlink_message.h"

#include <gtest/gtest.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <cstring>

namespace dongle {
namespace {

constexpr std::uint8_t kProtocol = 83;

Address ip(std::string_view text) {
  return Address::parse(text).value();
}
Prefix prefix(std::string_view text) {
  return Prefix::parse(text).value();
}

/// A message put together by hand, with attributes that our own requests never carry.
class HandMade {
 public:
  HandMade(std::uint16_t type, const void* header, std::size_t size) : bytes_(NLMSG_HDRLEN) {
    append(header, size);
    message().nlmsg_type = type;
  }
  explicit HandMade(const nlmsghdr& copied) {
    const char* begin = reinterpret_cast<const char*>(&copied);
    bytes_.assign(begin, begin + copied.nlmsg_len);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  HandMade& put(std::uint16_t type, const void* data, std::size_t size) {
    nlattr attribute{static_cast<std::uint16_t>(NLA_HDRLEN + size), type};
    append(&attribute, sizeof attribute);
    append(data, size);
    return *this;
  }
  HandMade& put(std::uint16_t type, std::uint32_t value) { return put(type, &value, sizeof value); }
  HandMade& put(std::uint16_t type, const char* text) { return put(type, text, std::strlen(text) + 1); }
  nlmsghdr& message() {
    auto* header = reinterpret_cast<nlmsghdr*>(bytes_.data());
    header->nlmsg_len = static_cast<std::uint32_t>(bytes_.size());
    return *header;
  }

 private:
  void append(const void* data, std::size_t size) {
    const char* begin = static_cast<const char*>(data);
    bytes_.insert(bytes_.end(), begin, begin + size);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  std::vector<char> bytes_;
};

/// Every shorter form of the message, in memory of exactly its length, so that reading beyond it is seen.
template <class Parse>
void expect_no_harm_from_cuts(const nlmsghdr& whole, Parse parse) {
  for (std::uint32_t length = sizeof(nlmsghdr); length <= whole.nlmsg_len; ++length) {
    std::unique_ptr<char[]> copy(new char[length]);
    std::memcpy(copy.get(), &whole, length);
    auto* cut = reinterpret_cast<nlmsghdr*>(copy.get());
    cut->nlmsg_len = length;
    parse(*cut);
  }
}

TEST(NetlinkMessage, ReadsTheRulesThatItWrites) {
  const Rule rows[] = {
      {AF_INET, 10011, "m11", std::nullopt, RuleAction::Lookup, TableId{11}, kProtocol, false},
      {AF_INET6, 10311, "m11", std::nullopt, RuleAction::Prohibit, {}, kProtocol, false},
      {AF_INET, 10611, "", prefix("192.168.11.100/32"), RuleAction::Lookup, TableId{1000}, kProtocol, false},
      {AF_INET6, 10911, "", prefix("fd00::2/128"), RuleAction::Prohibit, {}, kProtocol, false},
  };
  for (const Rule& rule : rows) {
    auto message = rule_request(rule, true);
    EXPECT_EQ(parse_rule(header_of(message)), rule) << to_string(rule);
    expect_no_harm_from_cuts(header_of(message), parse_rule);
  }
}

TEST(NetlinkMessage, SeesThatARuleSelectsByMore) {
  Rule rule{AF_INET, 10011, "m11", std::nullopt, RuleAction::Lookup, TableId{11}, kProtocol, false};
  HandMade message(header_of(rule_request(rule, true)));
  EXPECT_FALSE(parse_rule(message.put(FRA_SUPPRESS_PREFIXLEN, 0xffffffff).message())->has_more);
  EXPECT_TRUE(parse_rule(message.put(FRA_FWMARK, 1).message())->has_more);
}

TEST(NetlinkMessage, ReadsTheRoutesThatItWrites) {
  const Route rows[] = {
      {TableId{11}, RouteType::Unicast, prefix("192.168.11.0/24"), std::nullopt, IfIndex{7}, ip("192.168.11.100"), true,
       false, 0, kProtocol},
      {TableId{11}, RouteType::Unicast, prefix("0.0.0.0/0"), ip("10.0.0.1"), IfIndex{7}, ip("192.168.11.100"), false,
       true, 0, kProtocol},
      {TableId{11},
       RouteType::Unreachable,
       prefix("0.0.0.0/0"),
       std::nullopt,
       {},
       std::nullopt,
       false,
       false,
       4278198272,
       kProtocol},
      {TableId{11}, RouteType::Unicast, prefix("::/0"), ip("fe80::1"), IfIndex{7}, ip("fd00::2"), false, false, 1,
       kProtocol},
      {TableId{1000},
       RouteType::Prohibit,
       prefix("fd00::/64"),
       std::nullopt,
       {},
       std::nullopt,
       false,
       false,
       1,
       kProtocol},
  };
  auto parse = [](const nlmsghdr& message) { return parse_route(message, kProtocol); };
  for (const Route& route : rows) {
    auto message = route_request(route, true);
    EXPECT_EQ(parse(header_of(message)), route) << to_string(route, "m11");
    expect_no_harm_from_cuts(header_of(message), parse);
  }
}

TEST(NetlinkMessage, PassesOverForeignRoutesButDefaultsOfTheMainTable) {
  Route route{
      kMainTable, RouteType::Unicast, prefix("10.0.0.0/8"), ip("10.0.0.1"), IfIndex{7}, std::nullopt, false, false, 0,
      3};
  auto parse = [&] { return parse_route(header_of(route_request(route, true)), kProtocol); };
  EXPECT_FALSE(parse());
  route.destination = prefix("0.0.0.0/0");
  EXPECT_EQ(parse(), route);
  route.table = TableId{11};
  EXPECT_FALSE(parse());
  route.protocol = kProtocol;
  EXPECT_EQ(parse(), route);
}

TEST(NetlinkMessage, ReadsTheAddressesThatItWrites) {
  const LocalAddress rows[] = {{IfIndex{7}, prefix("192.168.11.100/24"), kProtocol, true},
                               {IfIndex{7}, prefix("10.0.0.2/32"), kProtocol, true},
                               {IfIndex{8}, prefix("fd00::2/64"), kProtocol, false}};
  for (const LocalAddress& address : rows) {
    auto message = address_request(address, true);
    EXPECT_EQ(parse_address(header_of(message)), address);
    expect_no_harm_from_cuts(header_of(message), parse_address);
  }
}

TEST(NetlinkMessage, ReadsALinkWithTheUsbPortBehindIt) {
  ifinfomsg info{};
  info.ifi_index = 7;
  info.ifi_flags = 1u | 1u << 16;
  const unsigned char mac[] = {0x0c, 0x5b, 0x8f, 0x27, 0x9a, 0x64};
  HandMade message(RTM_NEWLINK, &info, sizeof info);
  message.put(IFLA_IFNAME, "enx0c5b8f279a64").put(IFLA_ADDRESS, mac, sizeof mac).put(IFLA_MTU, 1500u);
  message.put(IFLA_PARENT_DEV_NAME, "2-1.1:1.0").put(IFLA_PARENT_DEV_BUS_NAME, "usb");
  auto link = parse_link(message.message());
  EXPECT_EQ(link, (Link{IfIndex{7}, "enx0c5b8f279a64", "0c:5b:8f:27:9a:64", true, true, 1500, "2-1.1"}));
  expect_no_harm_from_cuts(message.message(), parse_link);
}

}  // namespace
}  // namespace dongle
