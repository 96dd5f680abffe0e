#include "supervisor/recovery_board.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace dongle {
namespace {

using enum Condition::Kind;
using std::chrono::minutes;
using testing::HasSubstr;

const std::vector<Stage> kAllStages(kStages.begin(), kStages.end());

/// A rack: dongle 10·h + p on port p of hub "1-h"; hubs 1 and 2 on one controller, the others on a second; carriers
/// "red" and "blue" in turn.
struct RecoveryBoardTest : testing::Test {
  RecoveryBoard board;
  TimePoint now = TimePoint{} + std::chrono::hours(1);

  static DongleId id(unsigned hub, unsigned port) { return DongleId{10 * hub + port}; }
  Condition condition(DongleId d, Condition::Kind kind, Fault fault = Fault::None) const {
    unsigned hub = d.value / 10;
    return {kind, fault, "1-" + std::to_string(hub), hub <= 2 ? "0000:00:14.0" : "0000:00:15.0",
            d.value % 2 ? "red" : "blue"};
  }
  bool well(DongleId d) { return board.note(d, condition(d, Healthy), now); }
  bool down(DongleId d, Fault fault) { return board.note(d, condition(d, Down, fault), now); }
  void rack(unsigned hubs, unsigned ports) {
    for (unsigned h = 1; h <= hubs; ++h)
      for (unsigned p = 1; p <= ports; ++p) well(id(h, p));
    now += minutes(10);
  }
  Obstacles obstacles(DongleId d, Obstacles before = {}) {
    board.add_obstacles(d, kAllStages, before, now);
    return before;
  }
  std::optional<Obstacle> obstacle(DongleId d, Action action) {
    auto all = obstacles(d);
    auto it = all.find(action);
    return it == all.end() ? std::nullopt : std::optional(it->second);
  }
};

// --------------------------------------------------------------------------------------------------- whose failure

TEST_F(RecoveryBoardTest, OneOfManyFailsByItself) {
  rack(4, 4);
  down(id(1, 1), Fault::NoEgress);
  now += minutes(2);
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Stick);
  EXPECT_TRUE(obstacles(id(1, 1)).empty());
}

TEST_F(RecoveryBoardTest, AllSticksOfAHubAreForHubPowerToMend) {
  rack(4, 4);
  for (unsigned p = 1; p <= 4; ++p, now += Seconds(1)) down(id(3, p), Fault::StickMissing);
  Scope scope = board.scope(id(3, 1));
  EXPECT_EQ(scope.kind, Scope::Kind::Hub);
  EXPECT_THAT(scope.evidence, HasSubstr("hub 1-3: all 4 sticks failed within 3s; 12 elsewhere are well"));
  auto all = obstacles(id(3, 1));
  EXPECT_EQ(all.at(Action::PortPower).kind, Obstacle::Kind::Skip);
  EXPECT_FALSE(all.contains(Action::HubPower));
  EXPECT_FALSE(all.contains(Action::ModeSwitch));
}

TEST_F(RecoveryBoardTest, SinglePortsAreTriedWhereTheHubCannotBeCut) {
  rack(4, 4);
  for (unsigned p = 1; p <= 4; ++p) down(id(3, p), Fault::StickMissing);
  now += Seconds(5);
  Obstacles never = {{Action::HubPower, {Obstacle::Kind::Skip, "hub_power: never", {}}}};
  EXPECT_FALSE(obstacles(id(3, 1), never).contains(Action::PortPower));
}

TEST_F(RecoveryBoardTest, OneHealthyNeighbourMeansItIsNotTheHub) {
  rack(4, 4);
  for (unsigned p = 1; p <= 3; ++p) down(id(3, p), Fault::StickMissing);
  EXPECT_EQ(board.scope(id(3, 1)).kind, Scope::Kind::Stick);
}

TEST_F(RecoveryBoardTest, FailuresAMinuteApartDoNotBelongTogether) {
  rack(4, 2);
  down(id(3, 1), Fault::StickMissing);
  now += Seconds(61);
  down(id(3, 2), Fault::StickMissing);
  EXPECT_EQ(board.scope(id(3, 2)).kind, Scope::Kind::Stick);
}

TEST_F(RecoveryBoardTest, SeveralHubsOfOneControllerSpeakOfTheController) {
  rack(4, 4);
  for (unsigned h : {1u, 2u})
    for (unsigned p = 1; p <= 4; ++p) down(id(h, p), Fault::StickMissing);
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Controller);
  EXPECT_THAT(board.scope(id(1, 1)).evidence, HasSubstr("0000:00:14.0"));
}

TEST_F(RecoveryBoardTest, SticksThatComeUpAsDisksAreNoHubsFailure) {
  rack(4, 4);
  for (unsigned p = 1; p <= 4; ++p) down(id(3, p), Fault::MassStorage);
  EXPECT_EQ(board.scope(id(3, 1)).kind, Scope::Kind::Stick);
  EXPECT_FALSE(obstacle(id(3, 1), Action::ModeSwitch));
}

TEST_F(RecoveryBoardTest, TheSticksOfOneCarrierWhileOthersAreWellAreTheCarriers) {
  rack(4, 4);
  for (unsigned h = 1; h <= 4; ++h)
    for (unsigned p : {1u, 3u}) down(id(h, p), Fault::NotConnected);
  Scope scope = board.scope(id(1, 1));
  EXPECT_EQ(scope.kind, Scope::Kind::Carrier);
  EXPECT_THAT(scope.evidence, HasSubstr("carrier \"red\""));
  EXPECT_EQ(obstacle(id(1, 1), Action::PortPower)->kind, Obstacle::Kind::Correlated);
}

TEST_F(RecoveryBoardTest, MostOfTheRackAtOnceIsNobodysStick) {
  rack(4, 4);
  for (unsigned h = 1; h <= 4; ++h)
    for (unsigned p = 1; p <= 4; ++p, now += Seconds(3)) down(id(h, p), Fault::NoEgress);
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Upstream);
  EXPECT_EQ(board.scope(id(4, 4)).kind, Scope::Kind::Upstream);
  EXPECT_FALSE(obstacle(id(1, 1), Action::RouteReset));
  for (Action action : {Action::PortPower, Action::HubPower})
    EXPECT_EQ(obstacle(id(2, 2), action)->kind, Obstacle::Kind::Correlated) << to_string(action);
}

TEST_F(RecoveryBoardTest, NobodysPowerIsCutWhileMostOfTheRackFails) {
  rack(4, 4);
  down(id(1, 1), Fault::StickMissing);
  now += minutes(5);
  EXPECT_FALSE(obstacle(id(1, 1), Action::PortPower));
  for (unsigned h = 2; h <= 4; ++h)
    for (unsigned p = 1; p <= 4; ++p) down(id(h, p), Fault::NoEgress);
  EXPECT_EQ(obstacle(id(1, 1), Action::PortPower)->kind, Obstacle::Kind::Correlated) << "it had failed before";
}

TEST_F(RecoveryBoardTest, OneStickAloneCannotBeCorrelated) {
  well(id(1, 1));
  now += minutes(1);
  down(id(1, 1), Fault::NoEgress);
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Stick);
  EXPECT_FALSE(obstacle(id(1, 1), Action::DataSwitch));
}

TEST_F(RecoveryBoardTest, TwoThatFailTogetherAreBelievedForTenMinutesOnly) {
  well(id(1, 1));
  well(id(2, 1));
  now += minutes(1);
  down(id(1, 1), Fault::NoEgress);
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Stick);
  now += Seconds(20);
  down(id(2, 1), Fault::NoEgress);
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Upstream);
  now += minutes(10);
  EXPECT_TRUE(board.tick(now));
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Stick);
  EXPECT_FALSE(obstacle(id(1, 1), Action::PortPower));
}

TEST_F(RecoveryBoardTest, AnOutageOfAllLastsUntilTheyAreWell) {
  rack(4, 4);
  for (unsigned h = 1; h <= 4; ++h)
    for (unsigned p = 1; p <= 4; ++p) down(id(h, p), Fault::NoEgress);
  now += std::chrono::hours(5);
  EXPECT_FALSE(board.tick(now));
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Upstream);
  for (unsigned h = 1; h <= 4; ++h)
    for (unsigned p = 1; p <= 4; ++p) EXPECT_TRUE(well(id(h, p)));
  EXPECT_FALSE(obstacle(id(1, 1), Action::PortPower));
}

TEST_F(RecoveryBoardTest, WhoStillFailsWhenTheOthersAreBackHasAFaultOfItsOwn) {
  rack(4, 4);
  for (unsigned h = 1; h <= 4; ++h)
    for (unsigned p = 1; p <= 4; ++p) down(id(h, p), Fault::NoEgress);
  now += minutes(30);
  for (unsigned h = 2; h <= 4; ++h)
    for (unsigned p = 1; p <= 4; ++p) well(id(h, p));
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Upstream) << "it may only be slow";
  now += minutes(5);
  EXPECT_TRUE(board.tick(now));
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Stick);
}

TEST_F(RecoveryBoardTest, AnOutageThatComesBackWhileItSeemedToEndIsStillOne) {
  rack(4, 4);
  auto all = [&](auto what) {
    for (unsigned h = 1; h <= 4; ++h)
      for (unsigned p = 1; p <= 4; ++p) what(id(h, p));
  };
  all([&](DongleId d) { down(d, Fault::NoEgress); });
  now += minutes(5);
  for (unsigned h = 2; h <= 4; ++h)
    for (unsigned p = 1; p <= 4; ++p) well(id(h, p));
  now += minutes(1);
  all([&](DongleId d) { down(d, Fault::NoEgress); });
  now += minutes(20);
  board.tick(now);
  EXPECT_EQ(board.scope(id(3, 1)).kind, Scope::Kind::Upstream);
}

TEST_F(RecoveryBoardTest, WhenOthersAreBackACarrierThatIsStillOutStaysOne) {
  rack(4, 4);
  for (unsigned h = 1; h <= 4; ++h)
    for (unsigned p = 1; p <= 4; ++p) down(id(h, p), Fault::NoEgress);
  now += minutes(10);
  for (unsigned h = 1; h <= 4; ++h)
    for (unsigned p : {2u, 4u}) well(id(h, p));
  now += minutes(6);
  EXPECT_TRUE(board.tick(now));
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Carrier);
  EXPECT_THAT(board.scope(id(1, 1)).evidence, HasSubstr("\"red\" still fail"));
}

TEST_F(RecoveryBoardTest, OneThatWorksAllAlongDisprovesAnOutageOfAll) {
  rack(2, 4);
  for (unsigned p = 1; p <= 4; ++p) down(id(1, p), Fault::NoEgress);
  down(id(2, 1), Fault::NoEgress);
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Upstream);
  now += minutes(29);
  EXPECT_FALSE(board.tick(now));
  now += minutes(1);
  EXPECT_TRUE(board.tick(now));
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Stick);
}

TEST_F(RecoveryBoardTest, AStickWhoseFaultTurnsOutToBeItsOwnLeavesTheOutage) {
  rack(2, 2);
  for (unsigned h = 1; h <= 2; ++h)
    for (unsigned p = 1; p <= 2; ++p) down(id(h, p), Fault::None);
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Upstream);
  down(id(1, 1), Fault::SimMissing);
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Stick);
}

TEST_F(RecoveryBoardTest, StoppedAndAbsentDonglesCountForNothing) {
  rack(4, 4);
  for (unsigned h = 2; h <= 4; ++h)
    for (unsigned p = 1; p <= 4; ++p) board.note(id(h, p), condition(id(h, p), p % 2 ? Absent : Stopped), now);
  for (unsigned p = 1; p <= 3; ++p) down(id(1, p), Fault::NoEgress);
  EXPECT_EQ(board.scope(id(1, 1)).kind, Scope::Kind::Upstream) << "three of the four that are there";
}

// ------------------------------------------------------------------------------------------------------- permission

TEST_F(RecoveryBoardTest, InAnOutageOneStickAtATimeShowsWhetherAReconnectHelps) {
  rack(4, 4);
  for (unsigned h = 1; h <= 4; ++h)
    for (unsigned p = 1; p <= 4; ++p) down(id(h, p), Fault::NoEgress);
  EXPECT_FALSE(obstacle(id(1, 1), Action::DataSwitch));
  board.begin(id(1, 1), Action::DataSwitch, now);
  now += Seconds(30);
  board.end(id(1, 1), now);
  auto held = obstacle(id(2, 1), Action::DataSwitch);
  ASSERT_TRUE(held);
  EXPECT_EQ(held->kind, Obstacle::Kind::Correlated);
  EXPECT_THAT(held->text, HasSubstr("tried on dongle 11"));
  now += minutes(5);
  EXPECT_FALSE(obstacle(id(2, 1), Action::DataSwitch)) << "the pause is over";
  board.begin(id(2, 1), Action::DataSwitch, now);
  board.end(id(2, 1), now);
  now += minutes(5);
  EXPECT_TRUE(obstacle(id(3, 1), Action::DataSwitch)) << "it has doubled";
  EXPECT_TRUE(well(id(2, 1))) << "held ladders are to look again";
  EXPECT_FALSE(obstacle(id(3, 1), Action::DataSwitch)) << "it helps: the next one, at once";
}

TEST_F(RecoveryBoardTest, WhatAnOperatorGoesPastInAnOutageDoesNotHideABusyHub) {
  rack(4, 4);
  for (unsigned h = 1; h <= 4; ++h)
    for (unsigned p = 1; p <= 4; ++p) down(id(h, p), Fault::NoEgress);
  EXPECT_EQ(obstacle(id(1, 1), Action::PortPower)->kind, Obstacle::Kind::Correlated);
  now += Seconds(5);
  board.begin(id(1, 2), Action::UsbRebind, now);
  EXPECT_EQ(obstacle(id(1, 1), Action::PortPower)->kind, Obstacle::Kind::Later);
}

TEST_F(RecoveryBoardTest, OneUsbActionAtATimeOnAHub) {
  rack(4, 4);
  for (unsigned p : {1u, 2u}) down(id(1, p), Fault::InterfaceGone);
  down(id(2, 1), Fault::InterfaceGone);
  now += Seconds(5);
  board.begin(id(1, 1), Action::UsbRebind, now);
  now += Seconds(3);
  for (Action action : {Action::ModeSwitch, Action::UsbRebind, Action::PortPower, Action::HubPower}) {
    auto busy = obstacle(id(1, 2), action);
    ASSERT_TRUE(busy) << to_string(action);
    EXPECT_EQ(busy->text, "hub 1-1 is busy: usb_rebind of dongle 11 for 3s");
    EXPECT_EQ(busy->kind, Obstacle::Kind::Later);
  }
  EXPECT_FALSE(obstacle(id(1, 2), Action::DataSwitch)) << "a modem's action doesn't take the hub";
  EXPECT_FALSE(obstacle(id(2, 1), Action::UsbRebind)) << "another hub";
  EXPECT_TRUE(board.end(id(1, 1), now));
  EXPECT_FALSE(obstacle(id(1, 2), Action::UsbRebind));
  EXPECT_FALSE(board.end(id(1, 1), now)) << "no news";
}

TEST_F(RecoveryBoardTest, AHubsPowerIsNotCutUnderAModemsAction) {
  rack(4, 4);
  down(id(1, 1), Fault::StickMissing);
  down(id(1, 2), Fault::NotConnected);
  now += minutes(2);
  board.begin(id(1, 2), Action::NetworkMode, now);
  EXPECT_EQ(obstacle(id(1, 1), Action::HubPower)->kind, Obstacle::Kind::Later);
  EXPECT_FALSE(obstacle(id(1, 1), Action::PortPower));
}

TEST_F(RecoveryBoardTest, TheHostHasItsLimits) {
  rack(6, 4);
  for (unsigned h = 1; h <= 4; ++h) {
    down(id(h, 1), Fault::InterfaceGone);
    board.begin(id(h, 1), Action::UsbRebind, now);
  }
  down(id(5, 1), Fault::InterfaceGone);
  now += Seconds(5);
  EXPECT_EQ(obstacle(id(5, 1), Action::UsbRebind)->kind, Obstacle::Kind::Later);
  now += RecoveryBoard::kStuck;
  EXPECT_FALSE(obstacle(id(5, 1), Action::UsbRebind)) << "those are stuck in the kernel: everyone else goes on";
  EXPECT_TRUE(obstacle(id(1, 2), Action::UsbRebind)) << "but not on their hubs";
}

TEST_F(RecoveryBoardTest, ThreeModemsAtATime) {
  rack(4, 4);
  for (unsigned h = 1; h <= 3; ++h) {
    down(id(h, 1), Fault::DataSwitchedOff);
    board.begin(id(h, 1), Action::DataSwitch, now);
  }
  down(id(4, 1), Fault::DataSwitchedOff);
  EXPECT_EQ(obstacle(id(4, 1), Action::DataSwitch)->kind, Obstacle::Kind::Later);
  board.end(id(1, 1), now);
  EXPECT_FALSE(obstacle(id(4, 1), Action::DataSwitch));
}

TEST_F(RecoveryBoardTest, OneHubsPowerAtATime) {
  rack(4, 4);
  for (unsigned h : {1u, 3u})
    for (unsigned p = 1; p <= 4; ++p) down(id(h, p), Fault::StickMissing);
  now += Seconds(5);
  board.begin(id(1, 1), Action::HubPower, now);
  EXPECT_EQ(obstacle(id(3, 1), Action::HubPower)->kind, Obstacle::Kind::Later);
  board.end(id(1, 1), now);
  EXPECT_FALSE(obstacle(id(3, 1), Action::HubPower));
  EXPECT_EQ(obstacle(id(1, 2), Action::HubPower)->kind, Obstacle::Kind::Later) << "once in ten minutes";
}

TEST_F(RecoveryBoardTest, APowerCutWaitsASecondForTheNeighboursToBeNoticed) {
  rack(4, 4);
  down(id(3, 1), Fault::StickMissing);
  auto early = obstacle(id(3, 1), Action::PortPower);
  ASSERT_TRUE(early);
  EXPECT_EQ(early->until, now + Seconds(1));
  now += Seconds(1);
  EXPECT_FALSE(obstacle(id(3, 1), Action::PortPower));
  board.note(id(3, 2), condition(id(3, 2), Suspect), now);
  EXPECT_TRUE(obstacle(id(3, 1), Action::PortPower)) << "what is wrong with its neighbour?";
  now += minutes(1);
  EXPECT_FALSE(obstacle(id(3, 1), Action::PortPower)) << "not for ever";
}

TEST_F(RecoveryBoardTest, AHubIsCutForWhatMayBeOutsideOnlyWhenOthersHaveHadTheTimeToFail) {
  rack(4, 4);
  down(id(3, 1), Fault::NoEgress);
  now += Seconds(30);
  EXPECT_TRUE(obstacle(id(3, 1), Action::HubPower));
  EXPECT_FALSE(obstacle(id(3, 1), Action::PortPower));
  now += Seconds(30);
  EXPECT_FALSE(obstacle(id(3, 1), Action::HubPower));
}

TEST_F(RecoveryBoardTest, WhatOthersObjectToStays) {
  rack(1, 1);
  Obstacles before = {{Action::ModeSwitch, {Obstacle::Kind::NotApplicable, "", {}}},
                      {Action::PortPower, {Obstacle::Kind::Skip, "would cut off dongle 12 (online)", {}}}};
  down(id(1, 1), Fault::StickMissing);
  now += minutes(2);
  EXPECT_EQ(obstacles(id(1, 1), before), before);
}

TEST_F(RecoveryBoardTest, ABootWithManyBrokenSticksGetsOn) {
  // Forty sticks come up as disks: one switch a hub, four hubs at a time, each four seconds.
  std::vector<DongleId> broken;
  for (unsigned h = 1; h <= 8; ++h)
    for (unsigned p = 1; p <= 5; ++p) broken.push_back(id(h, p));
  for (DongleId d : broken) down(d, Fault::MassStorage);
  auto began = now;
  while (!broken.empty() && now < began + minutes(5)) {
    std::vector<DongleId> acting;
    for (DongleId d : broken)
      if (!obstacle(d, Action::ModeSwitch)) {
        board.begin(d, Action::ModeSwitch, now);
        acting.push_back(d);
      }
    now += Seconds(4);
    for (DongleId d : acting) {
      board.end(d, now);
      well(d);
      std::erase(broken, d);
    }
  }
  EXPECT_TRUE(broken.empty());
  EXPECT_LE(now - began, Seconds(40));
}

TEST_F(RecoveryBoardTest, RemembersWhatWasSpentOverARestart) {
  rack(4, 2);
  for (unsigned p = 1; p <= 2; ++p) down(id(3, p), Fault::StickMissing);
  now += Seconds(5);
  board.begin(id(3, 1), Action::HubPower, now);
  Json stored = board.to_json(now, WallTime{} + std::chrono::hours(500'000));
  board = RecoveryBoard();
  board.load(stored, now, WallTime{} + std::chrono::hours(500'000) + minutes(1));
  rack(1, 1);
  now -= minutes(9);
  for (unsigned p = 1; p <= 2; ++p) down(id(3, p), Fault::StickMissing);
  EXPECT_EQ(obstacle(id(3, 2), Action::HubPower)->kind, Obstacle::Kind::Later);
}

TEST_F(RecoveryBoardTest, ADongleThatIsNoLongerConfiguredFreesItsHub) {
  rack(1, 2);
  for (unsigned p = 1; p <= 2; ++p) down(id(1, p), Fault::InterfaceGone);
  board.begin(id(1, 1), Action::UsbRebind, now);
  EXPECT_TRUE(board.remove(id(1, 1)));
  now += Seconds(5);
  EXPECT_FALSE(obstacle(id(1, 2), Action::UsbRebind));
}

}  // namespace
}  // namespace dongle
