#include "supervisor/power_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace dongle {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr DongleId k11{11}, k12{12}, k13{13};

/// A root hub, the hub 2-1 with four ports and its USB 3 half 3-1, dongles 11, 12, 13 in ports 1, 2, 3.
class PowerPlanTest : public testing::Test {
 protected:
  PowerPlanTest() {
    add_hub("usb2", 4);
    add_hub("usb3", 4);
    add_hub("2-1", 4);
    add_hub("3-1", 4);
    for (int port : {1, 2, 3}) {
      add("2-1." + std::to_string(port), 0x12d1, 0x14dc).interfaces = {{0, 2, 6, 0, "cdc_ether", {"wwan"}}};
      auto id = static_cast<unsigned>(10 + port);
      dongles_.push_back({DongleId{id}, "2-1." + std::to_string(port), false, "failed"});
    }
    for (int port = 1; port <= 4; ++port) {
      facts_["2-1"].ports[port].peer = {"3-1", port};
      facts_["3-1"].ports[port].peer = {"2-1", port};
    }
    set_switching(PowerSwitching::PerPort);
  }

  UsbDevice& add(const std::string& path, std::uint16_t vendor, std::uint16_t product) {
    UsbDevice& device = tree_.devices[path];
    device.path = path;
    device.vendor = vendor;
    device.product = product;
    device.devnum = static_cast<int>(tree_.devices.size());
    device.controller = "0000:00:14.0";
    return device;
  }
  void add_hub(const std::string& path, int ports) {
    UsbDevice& hub = add(path, 0x2109, 0x3431);
    hub.is_hub = true;
    hub.port_count = ports;
    facts_[path].location = path;
    for (int port = 1; port <= ports; ++port) facts_[path].ports[port].has_disable = true;
  }
  void set_switching(PowerSwitching switching) { facts_["2-1"].switching = switching; }
  DongleStanding& dongle(DongleId id) { return *std::ranges::find(dongles_, id, &DongleStanding::id); }
  void bring_up(DongleId id) {
    dongle(id).serves = true;
    dongle(id).state = "online";
  }
  PowerView view() const { return {tree_, facts_, hubs_, memory_, dongles_, held_, now_}; }
  PowerPlan port() const { return plan_port_power(view(), k11); }
  PowerPlan hub(HubPowerPolicy policy = HubPowerPolicy::WhenAllDown) const {
    return plan_hub_power(view(), k11, policy);
  }
  PowerPlan person() const { return plan_operator_power(view(), k11); }
  void remember(int port, bool effective) {
    memory_.learn({"2-1", 0x2109, 0x3431}, port, {effective, now_, "the stick stayed"});
  }

  UsbTree tree_;
  HubFactsMap facts_;
  std::vector<HubConfig> hubs_;
  HubMemory memory_;
  std::vector<DongleStanding> dongles_;
  std::map<std::string, std::string> held_;
  WallTime now_ = WallTime(Millis(1'800'000'000'000));
};

TEST_F(PowerPlanTest, CutsItsOwnPortAndTheTwinAndNobodyElse) {
  bring_up(k12);
  PowerPlan plan = port();
  EXPECT_EQ(plan.obstacle, "");
  EXPECT_EQ(plan.hub, "2-1");
  EXPECT_EQ(plan.device_path, "2-1.1");
  EXPECT_THAT(plan.cuts, ElementsAre(PortCut{{"2-1", 1}, {"3-1", 1}}));
  EXPECT_THAT(plan.bystanders, IsEmpty());
}

TEST_F(PowerPlanTest, FindsThePortOfAStickThatIsOffTheBus) {
  tree_.devices.erase("2-1.1");
  EXPECT_THAT(port().cuts, ElementsAre(PortCut{{"2-1", 1}, {"3-1", 1}}));
}

TEST_F(PowerPlanTest, SaysWhyAPortCannotBeCut) {
  struct Case {
    const char* obstacle;
    std::function<void()> make;
  };
  auto reset = [&, tree = tree_, facts = facts_, dongles = dongles_] {
    tree_ = tree;
    facts_ = facts;
    dongles_ = dongles;
    hubs_.clear();
    memory_ = {};
    held_.clear();
  };
  const Case cases[] = {
      {"it isn't known which USB port the dongle is plugged into", [&] { dongle(k11).usb_path.clear(); }},
      {"hub 2-1 isn't on the bus", [&] { tree_.devices.erase("2-1"); }},
      {"switches all its ports together", [&] { set_switching(PowerSwitching::Ganged); }},
      {"can't switch the power of its ports", [&] { set_switching(PowerSwitching::None); }},
      {"it isn't known how hub 2-1 switches", [&] { facts_.clear(); }},
      {": it doesn't answer",
       [&] {
         set_switching(PowerSwitching::Unknown);
         facts_["2-1"].error = "it doesn't answer";
       }},
      {"does not cut the power (the stick stayed", [&] { remember(1, false); }},
      {"the kernel holds hub 2-1: dongle-usb hangs", [&] { held_["2-1"] = "dongle-usb hangs"; }},
      {"hub 2-1 has no port 9", [&] { dongle(k11).usb_path = "2-1.9"; }},
      {"a hub is plugged into port 4 of hub 2-1",
       [&] {
         add_hub("2-1.4", 4);
         dongle(k11).usb_path = "2-1.4";
       }},
      {"a hub is plugged into port 4 of hub 2-1",
       [&] {
         add_hub("3-1.4", 4);  // its USB 3 half
         dongle(k11).usb_path = "2-1.4";
       }},
      {"the computer's own USB ports (usb2) can't be switched off",
       [&] {
         facts_["usb2"].switching = PowerSwitching::None;
         dongle(k11).usb_path = "2-3";
       }},
      {"would cut off USB device (0951:1666) at 3-1.1", [&] { add("3-1.1", 0x0951, 0x1666); }},
      {"can't switch the power of its ports",
       [&] {
         hubs_ = {{"rack-a", "2-1", HubSwitching::None}};
       }},
  };
  for (const Case& c : cases) {
    reset();
    c.make();
    EXPECT_THAT(port().obstacle, HasSubstr(c.obstacle));
  }
}

TEST_F(PowerPlanTest, TriesALyingPortAgainAfterADayOrWithAnotherHub) {
  remember(1, false);
  EXPECT_FALSE(port().allowed());
  now_ += std::chrono::hours(25);
  EXPECT_TRUE(port().allowed());
  now_ -= std::chrono::hours(25);
  tree_.devices["2-1"].product = 0x0608;
  EXPECT_TRUE(port().allowed());
}

TEST_F(PowerPlanTest, IsHeldOnlyWhileTheKernelHoldsTheHub) {
  EXPECT_FALSE(port().is_held);
  held_["2-1"] = "x";
  EXPECT_TRUE(port().is_held);
  EXPECT_TRUE(hub().is_held);
}

TEST_F(PowerPlanTest, BelievesTheConfigurationMoreThanTheDescriptor) {
  set_switching(PowerSwitching::Ganged);
  hubs_ = {{"rack-a", "pci-0000:00:14.0-usb-0:1", HubSwitching::PerPort}};
  EXPECT_TRUE(port().allowed());
  EXPECT_EQ(port().hub_name, "rack-a (2-1)");
  hubs_[0].power = HubSwitching::Auto;
  EXPECT_FALSE(port().allowed());
}

TEST_F(PowerPlanTest, SwitchesARootPortThatHasItsOwnSwitch) {
  facts_["usb2"].switching = PowerSwitching::PerPort;
  dongle(k11).usb_path = "2-3";
  add("2-3", 0x12d1, 0x14dc);
  EXPECT_THAT(port().cuts, ElementsAre(PortCut{{"usb2", 3}, {}}));
}

TEST_F(PowerPlanTest, CutsAGangedHubWhenAllAreDown) {
  set_switching(PowerSwitching::Ganged);
  PowerPlan plan = hub();
  EXPECT_EQ(plan.obstacle, "");
  EXPECT_EQ(plan.cuts.size(), 4u);
  ASSERT_EQ(plan.bystanders.size(), 2u);
  EXPECT_EQ(plan.bystanders[0].text, "dongle 12 (failed)");
  EXPECT_FALSE(plan.hurts_others());
}

TEST_F(PowerPlanTest, NeverCutsUnderAHealthyNeighbourUnlessAlways) {
  bring_up(k12);
  for (auto switching : {PowerSwitching::Ganged, PowerSwitching::PerPort}) {
    set_switching(switching);
    EXPECT_THAT(hub().obstacle, HasSubstr("would cut off dongle 12 (online); recovery.hub_power is when_all_down"));
    EXPECT_TRUE(hub(HubPowerPolicy::Always).allowed());
    EXPECT_THAT(hub(HubPowerPolicy::Never).obstacle, HasSubstr("never"));
  }
}

TEST_F(PowerPlanTest, CountsAStrangersDeviceAsHurt) {
  add("2-1.4", 0x046d, 0xc31c).product_name = "USB Keyboard";
  EXPECT_THAT(hub().obstacle, HasSubstr("would cut off USB Keyboard (046d:c31c) at 2-1.4"));
  EXPECT_TRUE(hub(HubPowerPolicy::Always).allowed());
}

TEST_F(PowerPlanTest, SparesADiskEvenWithAlways) {
  add("2-1.4", 0x0951, 0x1666).interfaces = {{0, 8, 6, 0x50, "usb-storage", {}}};
  EXPECT_THAT(hub(HubPowerPolicy::Always).obstacle, HasSubstr("could lose data"));
  tree_.devices["2-1.4"].vendor = 0x12d1;
  tree_.devices["2-1.4"].product = 0x1f01;
  EXPECT_TRUE(hub(HubPowerPolicy::Always).allowed()) << "a stick's CD-ROM is no disk";
}

TEST_F(PowerPlanTest, LeavesThePortsOfChainedHubsOn) {
  add_hub("2-1.4", 4);
  PowerPlan plan = hub();
  EXPECT_EQ(plan.obstacle, "");
  EXPECT_THAT(plan.cuts, ElementsAre(PortCut{{"2-1", 1}, {"3-1", 1}}, PortCut{{"2-1", 2}, {"3-1", 2}},
                                     PortCut{{"2-1", 3}, {"3-1", 3}}));
  set_switching(PowerSwitching::Ganged);
  EXPECT_THAT(hub().obstacle, HasSubstr("another hub hangs on port 4"));
  EXPECT_THAT(hub().cuts, IsEmpty());
}

TEST_F(PowerPlanTest, NeverSwitchesARootHubAsAWhole) {
  facts_["usb2"].switching = PowerSwitching::Ganged;
  dongle(k11).usb_path = "2-3";
  EXPECT_THAT(hub(HubPowerPolicy::Always).obstacle, HasSubstr("the computer's own root hub"));
  EXPECT_THAT(person().obstacle, HasSubstr("the computer's own root hub"));
}

TEST_F(PowerPlanTest, RemembersAHubThatLiesAsAWhole) {
  remember(HubMemory::kWholeHub, false);
  EXPECT_THAT(hub().obstacle, HasSubstr("hub 2-1 does not cut the power"));
  EXPECT_TRUE(port().allowed());
}

TEST_F(PowerPlanTest, TakesThePortCountFromTheTreeWhereTheHubDidNotAnswer) {
  facts_.clear();
  hubs_ = {{"rack-a", "2-1", HubSwitching::Ganged}};
  EXPECT_EQ(hub().cuts.size(), 4u);
}

TEST_F(PowerPlanTest, GivesAnOperatorTheSmallestCutThatWorks) {
  bring_up(k12);
  remember(1, false);
  EXPECT_EQ(person().kind, PowerPlan::Kind::Port) << "an operator may try a port that was seen to lie";
  EXPECT_TRUE(person().allowed());
  set_switching(PowerSwitching::Ganged);
  PowerPlan plan = person();
  EXPECT_EQ(plan.kind, PowerPlan::Kind::Hub);
  EXPECT_TRUE(plan.allowed());
  EXPECT_TRUE(plan.hurts_others()) << "dongle 12 is online: a question is due";
  set_switching(PowerSwitching::None);
  EXPECT_THAT(person().obstacle, HasSubstr("can't switch the power"));
  EXPECT_THAT(person().cuts, IsEmpty());
}

TEST_F(PowerPlanTest, CountsAnAbsentNeighbourAsUnhurt) {
  tree_.devices.erase("2-1.2");
  dongle(k12).state = "absent";
  EXPECT_TRUE(hub().allowed());
  EXPECT_EQ(hub().bystanders[0].text, "dongle 12 (absent)");
}

}  // namespace
}  // namespace dongle
