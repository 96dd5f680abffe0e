#include "supervisor/ladder.h"

#include <gtest/gtest.h>

#include <random>

namespace dongle {
namespace {

using Kind = Decision::Kind;

LadderPolicy all_stages() {
  LadderPolicy policy;
  policy.stages.assign(kStages.begin(), kStages.end());
  for (Stage stage : kStages) policy.settle[stage] = Seconds(30);
  policy.settle[Stage::Route] = Seconds(3);
  policy.retry_after = std::chrono::minutes(5);
  return policy;
}

const Obstacles kNoUsb = {
    {Action::UsbRebind, "no USB path"}, {Action::PortPower, "no USB path"}, {Action::HubPower, "no USB path"}};

struct LadderTest : testing::Test {
  LadderTest() { ladder.set_obstacles(kNoUsb); }
  Ladder ladder{all_stages()};
  TimePoint now{};

  Diagnosis egress_lost{Fault::NoEgress, "nothing passes", Stage::Modem};
  Diagnosis no_route{Fault::NoRoute, "rule gone", Stage::Route};
  Diagnosis no_sim{Fault::SimMissing, "no SIM", std::nullopt};

  void expect_act(const Decision& d, Action action) {
    ASSERT_EQ(d.kind, Kind::Act);
    EXPECT_EQ(d.action, action) << to_string(d.action);
  }
  Decision pass(Millis time) {
    now += time;
    return ladder.tick(now);
  }
};

TEST_F(LadderTest, EntersWhereTheDiagnosisSays) {
  EXPECT_EQ(ladder.down(now).kind, Kind::Diagnose);
  expect_act(ladder.diagnosed(egress_lost, now), Action::DataSwitch);
  EXPECT_EQ(ladder.current_stage(), Stage::Modem);
}

TEST_F(LadderTest, ClimbsTheModemStageActionByActionAndLooksAgainBeforeEach) {
  ladder.down(now);
  for (Action action : {Action::DataSwitch, Action::NetworkMode, Action::Reboot}) {
    expect_act(ladder.diagnosed(egress_lost, now), action);
    EXPECT_EQ(ladder.action_done(true, "done", now).kind, Kind::None);
    EXPECT_EQ(pass(Seconds(29)).kind, Kind::None) << "still settling";
    EXPECT_EQ(pass(action == Action::Reboot ? Seconds(61) : Seconds(1)).kind, Kind::Diagnose);
    EXPECT_EQ(ladder.steps().back().outcome, StepOutcome::NoEffect);
  }
  EXPECT_EQ(ladder.diagnosed(egress_lost, now).kind, Kind::GiveUp);
  ASSERT_EQ(ladder.steps().size(), 6u) << "three tried, three skipped with the reason kept";
  EXPECT_EQ(ladder.steps().back().outcome, StepOutcome::Skipped);
  EXPECT_EQ(ladder.steps().back().detail, "no USB path");
}

TEST_F(LadderTest, TrafficProvesAnActionOnlyAfterItHasFinished) {
  ladder.down(now);
  ladder.diagnosed(egress_lost, now);
  EXPECT_EQ(ladder.traffic_ok(now).kind, Kind::None) << "the switch is still being toggled";
  ladder.action_done(true, "", now);
  now += Seconds(2);
  EXPECT_EQ(ladder.traffic_ok(now).kind, Kind::Recovered);
  EXPECT_EQ(ladder.steps().back().outcome, StepOutcome::Recovered);
  EXPECT_EQ(ladder.steps().back().took, Seconds(2));
  EXPECT_EQ(ladder.state(), Ladder::State::Idle);
}

TEST_F(LadderTest, AFailedActionGoesOnAtTheNextRung) {
  ladder.down(now);
  ladder.diagnosed(egress_lost, now);
  EXPECT_EQ(ladder.action_done(false, "API answered 100004", now).kind, Kind::Diagnose);
  expect_act(ladder.diagnosed(egress_lost, now), Action::NetworkMode);
}

TEST_F(LadderTest, AnActionThatNeverReportsIsGivenUp) {
  ladder.down(now);
  ladder.diagnosed(egress_lost, now);
  EXPECT_EQ(pass(kActionDeadline).kind, Kind::Diagnose);
  EXPECT_EQ(ladder.steps().back().outcome, StepOutcome::Failed);
}

TEST_F(LadderTest, LeavesAPersonsWorkAloneAndKeepsLooking) {
  ladder.down(now);
  EXPECT_EQ(ladder.diagnosed(no_sim, now).kind, Kind::NoService);
  EXPECT_TRUE(ladder.steps().empty());
  EXPECT_EQ(ladder.down(now).kind, Kind::None);
  EXPECT_EQ(pass(std::chrono::minutes(5)).kind, Kind::Diagnose);
  EXPECT_EQ(ladder.diagnosed(no_sim, now).kind, Kind::NoService);
  EXPECT_EQ(ladder.traffic_ok(now).kind, Kind::Recovered);
}

TEST_F(LadderTest, ARebootThatUncoversAMissingSimEndsTheRun) {
  ladder.down(now);
  ladder.diagnosed(egress_lost, now);
  ladder.action_done(true, "", now);
  EXPECT_EQ(pass(Seconds(30)).kind, Kind::Diagnose);
  EXPECT_EQ(ladder.diagnosed(no_sim, now).kind, Kind::NoService);
}

TEST_F(LadderTest, RetriesWithDoublingWaitsUpToAnHour) {
  ladder.set_obstacles({{Action::RouteReset, "x"},
                        {Action::DataSwitch, "x"},
                        {Action::NetworkMode, "x"},
                        {Action::Reboot, "x"},
                        {Action::UsbRebind, "x"},
                        {Action::PortPower, "x"},
                        {Action::HubPower, "x"}});
  ladder.down(now);
  Millis expected = std::chrono::minutes(5);
  for (int run = 0; run < 6; ++run) {
    EXPECT_EQ(ladder.diagnosed(egress_lost, now).kind, Kind::GiveUp);
    EXPECT_EQ(*ladder.next_deadline() - now, expected) << "run " << run;
    EXPECT_EQ(pass(expected).kind, Kind::Diagnose);
    expected = std::min(expected * 2, kMaxRetryAfter);
  }
}

TEST_F(LadderTest, DoesNothingByItselfWhenRecoveryIsOff) {
  auto policy = all_stages();
  policy.enabled = false;
  ladder.set_policy(policy);
  EXPECT_EQ(ladder.down(now).kind, Kind::None);
  EXPECT_EQ(ladder.recover(Stage::Modem, now).kind, Kind::Diagnose) << "an operator may still ask";
}

TEST_F(LadderTest, AnOperatorsStageRunsOnAHealthyDongleToo) {
  EXPECT_EQ(ladder.recover(Stage::Modem, now).kind, Kind::Diagnose);
  EXPECT_EQ(ladder.traffic_ok(now).kind, Kind::None);
  expect_act(ladder.diagnosed({Fault::None, "", std::nullopt}, now), Action::DataSwitch);
  ladder.action_done(true, "", now);
  EXPECT_EQ(ladder.traffic_ok(now).kind, Kind::Recovered);
}

TEST_F(LadderTest, ASecondOperatorDoesNotDisturbARunUnderWay) {
  ladder.down(now);
  ladder.diagnosed(egress_lost, now);
  EXPECT_EQ(ladder.recover(Stage::Route, now).kind, Kind::None);
  EXPECT_EQ(ladder.current_stage(), Stage::Modem);
}

TEST_F(LadderTest, StagesLeftOutOfTheConfigAreNotTried) {
  auto policy = all_stages();
  policy.stages = {Stage::Route};
  ladder.set_policy(policy);
  ladder.down(now);
  EXPECT_EQ(ladder.diagnosed(egress_lost, now).kind, Kind::GiveUp);
  EXPECT_TRUE(ladder.steps().empty());
}

TEST_F(LadderTest, PlanTellsWhatARunWouldDo) {
  auto rungs = ladder.plan(no_route, std::nullopt);
  ASSERT_EQ(rungs.size(), kActions.size());
  EXPECT_EQ(rungs.front().action, Action::RouteReset);
  EXPECT_EQ(rungs.back().outcome, StepOutcome::Skipped);
}

// Whatever comes in whatever order: at most one action under way, rungs only upwards within a run, and time alone
// brings every run to an end.
TEST_F(LadderTest, RandomEventsNeverBreakItsPromises) {
  std::mt19937 random(20261122);
  auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const Diagnosis found[] = {egress_lost, no_route, no_sim, {Fault::ApiDead, "", Stage::Usb}};
  int acting = 0;
  std::optional<Action> last;
  auto follow = [&](const Decision& d) {
    if (ladder.state() != Ladder::State::Acting) acting = 0;
    if (d.kind == Kind::Act) {
      ASSERT_EQ(acting, 0);
      acting = 1;
      if (last) {
        ASSERT_GT(d.action, *last);
      }
      last = d.action;
      ASSERT_FALSE(kNoUsb.contains(d.action));
    }
    if (d.kind == Kind::Recovered || d.kind == Kind::GiveUp || d.kind == Kind::NoService) last.reset();
  };
  for (int i = 0; i < 200'000; ++i) {
    now += Millis(pick(5000));
    switch (pick(7)) {
      case 0: follow(ladder.down(now)); break;
      case 1: follow(ladder.diagnosed(found[pick(4)], now)); break;
      case 2: follow(ladder.action_done(pick(2) != 0, "", now)); break;
      case 3:
        if (pick(8) == 0) follow(ladder.traffic_ok(now));
        break;
      case 4:
        if (pick(20) == 0 && !ladder.is_running()) {
          last.reset();
          follow(ladder.recover(kStages[pick(5)], now));
        }
        break;
      default: follow(ladder.tick(now));
    }
    if (HasFatalFailure()) return;
  }
  for (int i = 0; i < 50 && ladder.is_running(); ++i) {
    now = *ladder.next_deadline();
    if (ladder.tick(now).kind == Kind::Diagnose) ladder.diagnosed(egress_lost, now);
  }
  EXPECT_FALSE(ladder.is_running());
}

TEST_F(LadderTest, TriesNoMoreByItselfWhenRecoveryIsOff) {
  // An operator may still run a stage; what he did once isn't repeated in his name.
  LadderPolicy off = all_stages();
  off.enabled = false;
  ladder.set_policy(off);
  EXPECT_EQ(ladder.down(now).kind, Kind::None);
  EXPECT_EQ(ladder.recover(Stage::PortPower, now).kind, Kind::Diagnose);
  EXPECT_EQ(ladder.diagnosed(egress_lost, now).kind, Kind::GiveUp);
  EXPECT_EQ(pass(std::chrono::hours(2)).kind, Kind::None);
  EXPECT_EQ(ladder.state(), Ladder::State::Idle);
}

}  // namespace
}  // namespace dongle
