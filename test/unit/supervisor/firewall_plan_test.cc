#include "supervisor/firewall_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dongle {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

FirewallPlan two_dongles() {
  FirewallPlan plan;
  plan.dongles = {{DongleId{11}, 1900000011, "m11"}, {DongleId{12}, 1900000012, ""}};
  plan.proxy_ports = {10011, 10012};
  return plan;
}

TEST(FirewallPlan, LetsAWorkerOutByItsOwnDeviceOnly) {
  EXPECT_EQ(firewall_script(two_dongles()).value(),
            R"(table inet dongle_supervisor {}
delete table inet dongle_supervisor
table inet dongle_supervisor {
  counter leak_11 {}
  chain dongle_11 {
    oifname "lo" accept
    oifname "m11" accept
    ct direction reply accept
    ct state invalid drop
    counter name "leak_11" drop
  }
  counter leak_12 {}
  chain dongle_12 {
    oifname "lo" accept
    ct direction reply accept
    ct state invalid drop
    counter name "leak_12" drop
  }
  chain output {
    type filter hook output priority filter - 10; policy accept;
    meta skuid vmap { 1900000011 : goto dongle_11, 1900000012 : goto dongle_12 }
  }
}
)");
}

TEST(FirewallPlan, LetsOnlyListedClientsIn) {
  auto plan = two_dongles();
  plan.clients = {Prefix::parse("10.0.0.7/8").value(), Prefix::parse("192.0.2.1").value(),
                  Prefix::parse("2001:db8::1/32").value()};
  EXPECT_THAT(firewall_script(plan).value(), HasSubstr(R"(  counter refused_clients {}
  set clients4 {
    type ipv4_addr; flags interval; auto-merge
    elements = { 10.0.0.0/8, 192.0.2.1/32 }
  }
  set clients6 {
    type ipv6_addr; flags interval; auto-merge
    elements = { 2001:db8::/32 }
  }
  chain strangers {
    ct state established,related accept
    ip saddr @clients4 accept
    ip6 saddr @clients6 accept
    counter name "refused_clients" drop
  }
  chain input {
    type filter hook input priority filter - 10; policy accept;
    iifname != "lo" tcp dport { 10011, 10012 } goto strangers
  }
})"));
}

TEST(FirewallPlan, WritesNoEmptyListOfElements) {
  auto plan = two_dongles();
  plan.clients = {Prefix::parse("10.0.0.0/8").value()};
  EXPECT_THAT(firewall_script(plan).value(),
              HasSubstr("set clients6 {\n    type ipv6_addr; flags interval; auto-merge\n  }"));
}

TEST(FirewallPlan, FiltersNoClientsWithoutAListOrWithoutPorts) {
  auto plan = two_dongles();
  EXPECT_THAT(firewall_script(plan).value(), Not(HasSubstr("hook input")));
  plan.clients = {Prefix::parse("10.0.0.0/8").value()};
  plan.proxy_ports.clear();
  EXPECT_THAT(firewall_script(plan).value(), Not(HasSubstr("hook input")));
}

TEST(FirewallPlan, IsAnEmptyTableWithoutDongles) {
  EXPECT_EQ(firewall_script({}).value(), firewall_removal_script() + "table inet dongle_supervisor {\n}\n");
}

TEST(FirewallPlan, RefusesWhatCouldBreakOutOfARule) {
  for (const char* device : {"m\"11", "m11; flush ruleset", "m*", "m\n11", "m{", "$m", "m 11", "m/11"}) {
    auto plan = two_dongles();
    plan.dongles[0].device = device;
    auto script = firewall_script(plan);
    ASSERT_FALSE(script) << device;
    EXPECT_THAT(script.error().message(), StartsWith("firewall: dongle 11: "));
  }
}

TEST(FirewallPlan, RefusesRootAndSharedUids) {
  auto plan = two_dongles();
  plan.dongles[0].uid = 0;
  EXPECT_FALSE(firewall_script(plan));
  plan.dongles[0].uid = plan.dongles[1].uid;
  EXPECT_FALSE(firewall_script(plan));
}

TEST(FirewallCounters, ReadsWhatNftPrints) {
  auto counters = parse_counters(
      R"({"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
          {"counter": {"family": "inet", "name": "leak_11", "table": "t", "handle": 5, "packets": 3, "bytes": 180}},
          {"counter": {"family": "inet", "name": "leak_12", "table": "t", "handle": 6, "packets": 0, "bytes": 0}}]})");
  ASSERT_TRUE(counters) << counters.error().message();
  EXPECT_EQ(*counters, (Counters{{"leak_11", {3, 180}}, {"leak_12", {0, 0}}}));
}

TEST(FirewallCounters, RefusesWhatIsNoCounterList) {
  for (const char* bad : {"", "[]", "null", "{}", R"({"nftables": 1})", R"({"nftables": [{"counter": 1}]})",
                          R"({"nftables": [{"counter": {"name": 1, "packets": 1, "bytes": 1}}]})",
                          R"({"nftables": [{"counter": {"name": "a", "packets": -1, "bytes": 1}}]})",
                          R"({"nftables": [{"counter": {"name": "a", "packets": 1}}]})"})
    EXPECT_FALSE(parse_counters(bad)) << bad;
}

TEST(FirewallCounters, NeverGoBackwards) {
  CounterTotals totals;
  totals.update({{"leak_11", {3, 180}}});
  totals.on_replaced();
  EXPECT_EQ(totals.totals()["leak_11"], (CounterValue{3, 180}));
  totals.update({{"leak_11", {5, 300}}});  // more than before the replacement, and all of it new
  EXPECT_EQ(totals.totals()["leak_11"], (CounterValue{8, 480}));
  totals.update({{"leak_11", {1, 60}}});  // set back by somebody else
  EXPECT_EQ(totals.totals()["leak_11"], (CounterValue{9, 540}));
  totals.update({{"leak_12", {1, 1}}});
  EXPECT_EQ(totals.totals()["leak_11"], (CounterValue{9, 540}));
  EXPECT_EQ(totals.totals()["leak_12"], (CounterValue{1, 1}));
}

}  // namespace
}  // namespace dongle
