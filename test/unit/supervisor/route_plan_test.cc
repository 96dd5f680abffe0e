#include "supervisor/route_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

namespace dongle {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Address ip(std::string_view text) {
  return Address::parse(text).value();
}
Prefix prefix(std::string_view text) {
  return Prefix::parse(text).value();
}

DongleRoute dongle(unsigned id, std::string device, int ifindex) {
  DongleRoute d;
  d.id = DongleId{id};
  d.device = std::move(device);
  d.ifindex = IfIndex{ifindex};
  d.own_address = true;
  d.v4 = prefix(fmt::format("192.168.{}.100/24", id));
  d.gateway_v4 = ip(fmt::format("192.168.{}.1", id));
  return d;
}

Link link(int index, std::string name, bool up = true) {
  Link l;
  l.index = IfIndex{index};
  l.name = std::move(name);
  l.up = l.carrier = up;
  return l;
}

RoutePlan plan_of(const std::vector<DongleRoute>& dongles) {
  return plan_routes(dongles, {});
}

/// What the kernel has after everything wanted was carried out.
NetState carried_out(const RoutePlan& plan, std::vector<Link> links) {
  NetState state;
  state.links = std::move(links);
  for (const auto& d : plan.dongles) {
    state.addresses.insert(state.addresses.end(), d.addresses.begin(), d.addresses.end());
    state.routes.insert(state.routes.end(), d.routes.begin(), d.routes.end());
    state.rules.insert(state.rules.end(), d.rules.begin(), d.rules.end());
  }
  return state;
}

std::vector<std::string> texts(const std::vector<RouteOp>& ops, const NetState& seen) {
  std::vector<std::string> all;
  for (const auto& op : ops) all.push_back(to_string(op, seen));
  return all;
}

std::vector<std::string> steps(const RoutePlan& wanted, const NetState& seen) {
  return texts(diff(wanted, seen), seen);
}

TEST(RoutePlan, BringsAFreshDongleUpClosingFirst) {
  NetState seen;
  seen.links = {link(7, "m11", false)};
  EXPECT_THAT(steps(plan_of({dongle(11, "m11", 7)}), seen),
              ElementsAre("add rule 10311: from all oif m11 prohibit proto 83",
                          "add rule 10911: from 192.168.11.100 prohibit proto 83",
                          "add IPv6 rule 10311: from all oif m11 prohibit proto 83",  //
                          "set m11 up",                                               //
                          "add address 192.168.11.100/24 dev m11",
                          "add route unreachable default proto 83 metric 4278198272 table 11",
                          "add IPv6 route unreachable default proto 83 metric 4278198272 table 11",
                          "add route 192.168.11.0/24 dev m11 proto 83 scope link src 192.168.11.100 table 11",
                          "add route default via 192.168.11.1 dev m11 proto 83 src 192.168.11.100 table 11",
                          "add rule 10011: from all oif m11 lookup 11 proto 83",
                          "add rule 10611: from 192.168.11.100 lookup 11 proto 83",
                          "add IPv6 rule 10011: from all oif m11 lookup 11 proto 83"));
}

TEST(RoutePlan, AsksForNothingWhenAllIsThere) {
  auto plan = plan_of({dongle(11, "m11", 7), dongle(12, "m12", 8)});
  EXPECT_THAT(diff(plan, carried_out(plan, {link(7, "m11"), link(8, "m12")})), IsEmpty());
}

TEST(RoutePlan, RemovesAllThatIsOursAndClosesLast) {
  auto seen = carried_out(plan_of({dongle(11, "m11", 7)}), {link(7, "m11")});
  EXPECT_THAT(
      steps({}, seen),
      ElementsAre("remove rule 10011: from all oif m11 lookup 11 proto 83",
                  "remove rule 10611: from 192.168.11.100 lookup 11 proto 83",
                  "remove IPv6 rule 10011: from all oif m11 lookup 11 proto 83",
                  "remove route unreachable default proto 83 metric 4278198272 table 11",
                  "remove route 192.168.11.0/24 dev m11 proto 83 scope link src 192.168.11.100 table 11",
                  "remove route default via 192.168.11.1 dev m11 proto 83 src 192.168.11.100 table 11",
                  "remove IPv6 route unreachable default proto 83 metric 4278198272 table 11",
                  "remove address 192.168.11.100/24 dev m11", "remove rule 10311: from all oif m11 prohibit proto 83",
                  "remove rule 10911: from 192.168.11.100 prohibit proto 83",
                  "remove IPv6 rule 10311: from all oif m11 prohibit proto 83"));
}

TEST(RoutePlan, LeavesEverythingForeignAlone) {
  NetState seen = carried_out(plan_of({dongle(11, "m11", 7)}), {link(7, "m11")});
  for (auto& rule : seen.rules) rule.protocol = 3;
  for (auto& route : seen.routes) route.protocol = 3;
  for (auto& address : seen.addresses) address.protocol = 0;
  Rule outside{AF_INET, 9000, "", std::nullopt, RuleAction::Lookup, TableId{5}, kOurProtocol, false};
  seen.rules.push_back(outside);  // our number, but none of our priorities: another program's choice of number
  Route elsewhere{
      TableId{254}, RouteType::Unicast, prefix("10.0.0.0/8"), std::nullopt, IfIndex{7}, std::nullopt, true, false, 0,
      kOurProtocol};
  seen.routes.push_back(elsewhere);
  EXPECT_THAT(diff({}, seen), IsEmpty());
}

TEST(RoutePlan, KeepsAnAbsentDongleClosedByNameAndWithoutAddress) {
  auto absent = dongle(11, "m11", 0);
  EXPECT_THAT(steps(plan_of({absent}), {}),
              ElementsAre("add rule 10311: from all oif m11 prohibit proto 83",
                          "add IPv6 rule 10311: from all oif m11 prohibit proto 83",
                          "add route unreachable default proto 83 metric 4278198272 table 11",
                          "add IPv6 route unreachable default proto 83 metric 4278198272 table 11",
                          "add rule 10011: from all oif m11 lookup 11 proto 83",
                          "add IPv6 rule 10011: from all oif m11 lookup 11 proto 83"));
}

TEST(RoutePlan, ReplacesTheRoutesOfANewLeaseWithoutAGap) {
  auto old = dongle(11, "m11", 7);
  auto fresh = old;
  fresh.v4 = prefix("192.168.11.101/24");
  fresh.gateway_v4 = ip("192.168.11.2");
  auto seen = carried_out(plan_of({old}), {link(7, "m11")});
  EXPECT_THAT(steps(plan_of({fresh}), seen),
              ElementsAre("add rule 10911: from 192.168.11.101 prohibit proto 83",  //
                          "add address 192.168.11.101/24 dev m11",
                          "add route 192.168.11.0/24 dev m11 proto 83 scope link src 192.168.11.101 table 11",
                          "add route default via 192.168.11.2 dev m11 proto 83 src 192.168.11.101 table 11",
                          "add rule 10611: from 192.168.11.101 lookup 11 proto 83",
                          "remove rule 10611: from 192.168.11.100 lookup 11 proto 83",
                          "remove address 192.168.11.100/24 dev m11",
                          "remove rule 10911: from 192.168.11.100 prohibit proto 83"));
}

TEST(RoutePlan, PutsBackOnlyWhatIsMissing) {
  auto plan = plan_of({dongle(11, "m11", 7), dongle(12, "m12", 8)});
  auto seen = carried_out(plan, {link(7, "m11"), link(8, "m12")});
  std::erase_if(seen.routes, [](const Route& r) { return r.table == TableId{12} && r.gateway; });
  std::erase_if(seen.rules, [](const Rule& r) { return r.priority == 10011 && r.family == AF_INET6; });
  EXPECT_THAT(steps(plan, seen),
              ElementsAre("add route default via 192.168.12.1 dev m12 proto 83 src 192.168.12.100 table 12",
                          "add IPv6 rule 10011: from all oif m11 lookup 11 proto 83"));
}

TEST(RoutePlan, KeepsTwinsWithOneSubnetApartByDevice) {
  auto a = dongle(11, "m11", 7);
  auto b = dongle(12, "m12", 8);
  b.v4 = a.v4;
  b.gateway_v4 = a.gateway_v4;
  auto plan = plan_of({a, b});
  std::uint32_t last_by_device = 0;
  std::uint32_t first_by_address = 32766;
  for (const auto& d : plan.dongles)
    for (const auto& rule : d.rules) {
      if (!rule.out_device.empty()) last_by_device = std::max(last_by_device, rule.priority);
      if (rule.from) first_by_address = std::min(first_by_address, rule.priority);
    }
  EXPECT_LT(last_by_device, first_by_address);
  EXPECT_THAT(diff(plan, carried_out(plan, {link(7, "m11"), link(8, "m12")})), IsEmpty());
}

TEST(RoutePlan, BandsOfPrioritiesDoNotOverlap) {
  EXPECT_LT(kOifLookupPriority + kMaxDongleId, kOifProhibitPriority + kMinDongleId);
  EXPECT_LT(kOifProhibitPriority + kMaxDongleId, kFromLookupPriority + kMinDongleId);
  EXPECT_LT(kFromLookupPriority + kMaxDongleId, kFromProhibitPriority + kMinDongleId);
}

TEST(RoutePlan, LeavesOutRulesByAnAddressThatTheHostHasElsewhere) {
  std::vector<DongleRoute> dongles{dongle(11, "m11", 7)};
  std::vector<Address> host{ip("192.168.11.100")};
  auto plan = plan_routes(dongles, host);
  EXPECT_TRUE(plan.dongles[0].shares_host_address);
  for (const auto& rule : plan.dongles[0].rules) EXPECT_FALSE(rule.from) << to_string(rule);
}

TEST(RoutePlan, AddsNoAddressThatSomebodyElseProvides) {
  auto d = dongle(11, "m11", 7);
  d.own_address = false;
  EXPECT_THAT(plan_of({d}).dongles[0].addresses, IsEmpty());
}

TEST(RoutePlan, TakesAnAddressAsThereWhoeverAddedIt) {
  auto plan = plan_of({dongle(11, "m11", 7)});
  auto seen = carried_out(plan, {link(7, "m11")});
  seen.addresses[0].protocol = 0;  // before Linux 5.18 the kernel keeps no protocol
  seen.addresses[0].no_prefix_route = false;
  EXPECT_THAT(diff(plan, seen), IsEmpty());
}

TEST(RoutePlan, AddsNoRouteThroughALinkThatStaysDown) {
  auto d = dongle(11, "m11", 7);
  d.set_up = false;
  auto plan = plan_of({d});
  auto seen = carried_out(plan, {link(7, "m11", false)});
  std::erase_if(seen.routes, [](const Route& r) { return r.device == IfIndex{7}; });
  EXPECT_THAT(diff(plan, seen), IsEmpty());
}

TEST(RoutePlan, ForgetsADongleThatIsNoLongerConfigured) {
  auto seen = carried_out(plan_of({dongle(11, "m11", 7), dongle(12, "m12", 8)}), {link(7, "m11"), link(8, "m12")});
  for (const auto& op : diff(plan_of({dongle(11, "m11", 7)}), seen)) {
    EXPECT_EQ(op.kind, RouteOp::Kind::Remove);
    EXPECT_NE(to_string(op, seen).find("12"), std::string::npos);
  }
}

TEST(RoutePlan, PrintsTheDefaultRouteAsTheGatewayAsks) {
  struct Row {
    std::string_view address, gateway, expected;
  };
  const Row rows[] = {
      {"192.168.8.100/24", "192.168.8.1", "default via 192.168.8.1 dev m dev proto 83 src 192.168.8.100"},
      {"10.0.0.2/32", "10.9.9.9", "default via 10.9.9.9 dev m dev proto 83 src 10.0.0.2 onlink"},
      {"10.0.0.2/31", "", "default dev m dev proto 83 scope link src 10.0.0.2"},
      {"fd00::2/64", "fe80::1", "default via fe80::1 dev m dev proto 83 src fd00::2 metric 1"},
      {"fd00::2/64", "fd01::1", "default via fd01::1 dev m dev proto 83 src fd00::2 metric 1 onlink"},
  };
  for (const Row& row : rows) {
    DongleRoute d;
    d.id = DongleId{11};
    d.device = "m";
    d.ifindex = IfIndex{7};
    auto p = prefix(row.address);
    auto gateway = row.gateway.empty() ? std::nullopt : std::optional(ip(row.gateway));
    (p.address.is_v4() ? d.v4 : d.v6) = p;
    (p.address.is_v4() ? d.gateway_v4 : d.gateway_v6) = gateway;
    std::vector<std::string> defaults;
    auto plan = plan_of({d});
    for (const auto& route : plan.dongles[0].routes)
      if (route.is_default() && route.type == RouteType::Unicast) defaults.push_back(to_string(route, "m dev"));
    EXPECT_THAT(defaults, ElementsAre(std::string(row.expected)));
  }
}

TEST(RoutePlan, FindsTheGatewayThatADhcpClientLeftInTheMainTable) {
  NetState seen;
  auto foreign = [](int device, const char* gateway, std::uint32_t metric) {
    Route r;
    r.table = kMainTable;
    r.destination = prefix("0.0.0.0/0");
    r.gateway = ip(gateway);
    r.device = IfIndex{device};
    r.metric = metric;
    r.protocol = 16;
    return r;
  };
  seen.routes = {foreign(3, "10.0.0.1", 100), foreign(7, "192.168.11.254", 300), foreign(7, "192.168.11.1", 200)};
  EXPECT_EQ(found_gateway(seen, IfIndex{7}, AF_INET), ip("192.168.11.1"));
  EXPECT_EQ(found_gateway(seen, IfIndex{8}, AF_INET), std::nullopt);
  EXPECT_EQ(found_gateway(seen, IfIndex{7}, AF_INET6), std::nullopt);
  const IfIndex dongles[] = {IfIndex{7}, IfIndex{8}};
  EXPECT_EQ(foreign_defaults(seen, dongles).size(), 2u);
}

TEST(RoutePlan, GuessesTheGatewayAsTheFirstHost) {
  EXPECT_EQ(likely_gateway(prefix("192.168.11.100/24")), ip("192.168.11.1"));
  EXPECT_EQ(likely_gateway(prefix("192.168.11.1/24")), ip("192.168.11.2"));
  EXPECT_EQ(likely_gateway(prefix("10.0.0.1/30")), ip("10.0.0.2"));
  EXPECT_EQ(likely_gateway(prefix("10.0.0.1/31")), std::nullopt);
  EXPECT_EQ(likely_gateway(prefix("fd00::2/64")), std::nullopt);
}

TEST(NetlinkTypes, ReadsTheUsbPortPathOutOfAnInterfaceName) {
  const std::pair<const char*, const char*> rows[] = {
      {"2-1.1:1.0", "2-1.1"}, {"1-1:1.12", "1-1"}, {"2-1.1", ""},      {"usb1", ""},     {"", ""},
      {"-1:1.0", ""},         {"2-:1.0", ""},      {"../2-1:1.0", ""}, {"2-1.:1.0", ""},
  };
  for (auto [name, path] : rows) EXPECT_EQ(usb_path_from_interface_name(name), path) << name;
}

TEST(NetlinkTypes, RefusesDeviceNamesThatCouldMeanMoreThanAName) {
  for (auto good : {"m11", "enx0c5b8f279a64", "eth0.100", "wwan-1-4", "veth@x"})
    EXPECT_TRUE(is_plain_device_name(good));
  for (auto bad :
       {"", ".", "..", "a/b", "a\"b", "a b", "a*", "a;b", "a\nb", "sixteen-letters-", "a$b", "a\\b", "\xc3\xa4"})
    EXPECT_FALSE(is_plain_device_name(bad)) << bad;
}

}  // namespace
}  // namespace dongle
