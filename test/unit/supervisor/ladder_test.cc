#include "supervisor/ladder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

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

Obstacle skip(const char* why) {
  return {Obstacle::Kind::Skip, why, {}};
}

Obstacles no_usb() {
  Obstacles found = usb_obstacles({UsbMode::Unknown, "no USB path", "", "", 0});
  found[Action::PortPower] = found[Action::HubPower] = skip("no USB path");
  return found;
}

/// All but these are impossible.
Obstacles only(std::initializer_list<Action> possible) {
  Obstacles found;
  for (Action action : kActions)
    if (std::ranges::find(possible, action) == possible.end()) found[action] = skip("not here");
  return found;
}

struct LadderTest : testing::Test {
  LadderTest() { ladder.set_obstacles(no_usb()); }
  Ladder ladder{all_stages()};
  TimePoint now{};

  Diagnosis egress_lost{Fault::NoEgress, "nothing passes", Stage::Modem};
  Diagnosis no_route{Fault::NoRoute, "rule gone", Stage::Route};
  Diagnosis no_sim{Fault::SimMissing, "no SIM", std::nullopt};
  Diagnosis missing{Fault::StickMissing, "nothing at 1-4.2", Stage::PortPower};
  Diagnosis disk{Fault::MassStorage, "installation disk", Stage::Usb};

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
    EXPECT_EQ(pass(Seconds(1)).kind, Kind::Diagnose);
    EXPECT_EQ(ladder.steps().back().outcome, StepOutcome::NoEffect);
  }
  EXPECT_EQ(ladder.diagnosed(egress_lost, now).kind, Kind::GiveUp);
  ASSERT_EQ(ladder.steps().size(), 7u) << "three tried, four skipped with the reason kept, two not worth mentioning";
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
  EXPECT_EQ(pass(action_deadline(Action::DataSwitch, all_stages())).kind, Kind::Diagnose);
  EXPECT_EQ(ladder.steps().back().outcome, StepOutcome::Failed);
}

TEST_F(LadderTest, ADiagnosisThatTakesTooLongIsMadeFromWhatIsKnown) {
  // With obstacles of its own time: those of the last rung are old, another dongle may have taken the hub since.
  ladder.down(now);
  EXPECT_EQ(pass(kDiagnosisDeadline).kind, Kind::DiagnoseNow);
  auto busy = only({});
  busy[Action::UsbRebind] = {Obstacle::Kind::Later, "hub 1-4 is busy", now + Seconds(15)};
  ladder.set_obstacles(busy);
  EXPECT_EQ(ladder.diagnosed({Fault::ApiDead, "", Stage::Usb}, now).kind, Kind::Hold);
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
  ladder.set_obstacles(only({}));
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
  ASSERT_EQ(rungs.size(), kActions.size() - 2) << "nothing to switch, no configuration to put right";
  EXPECT_EQ(rungs.front().action, Action::RouteReset);
  EXPECT_EQ(rungs.back().outcome, StepOutcome::Skipped);
}

// Whatever comes in whatever order: at most one action under way, each at most once in a run, and time alone brings
// every run to an end.
TEST_F(LadderTest, RandomEventsNeverBreakItsPromises) {
  std::mt19937 random(20261122);
  auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const Diagnosis found[] = {egress_lost, no_route, no_sim, {Fault::ApiDead, "", Stage::Usb}, missing, disk};
  int acting = 0;
  std::set<Action> tried;
  auto follow = [&](const Decision& d) {
    if (ladder.state() != Ladder::State::Acting) acting = 0;
    if (ladder.state() == Ladder::State::Waiting || ladder.state() == Ladder::State::NoService ||
        ladder.state() == Ladder::State::Idle)
      tried.clear();
    if (d.kind != Kind::Act) return;
    ASSERT_EQ(acting, 0);
    acting = 1;
    ASSERT_TRUE(tried.insert(d.action).second) << to_string(d.action) << " twice in a run";
    ASSERT_FALSE(no_usb().contains(d.action));
  };
  for (int i = 0; i < 200'000; ++i) {
    now += Millis(pick(5000));
    switch (pick(10)) {
      case 0: follow(ladder.down(now)); break;
      case 1: follow(ladder.diagnosed(found[pick(6)], now)); break;
      case 2: follow(ladder.action_done(pick(2) != 0, "", now)); break;
      case 3:
        if (pick(8) == 0) follow(ladder.traffic_ok(now));
        break;
      case 4:
        if (pick(20) == 0 && !ladder.is_running()) {
          tried.clear();
          follow(ladder.recover(kStages[pick(5)], now));
        }
        break;
      case 5: pick(2) ? ladder.device_left(now) : ladder.device_back(now); break;
      case 6: follow(ladder.usb_seen({static_cast<UsbMode>(pick(7)), "", "", "", 0}, now)); break;
      case 7:
        if (bool is_new = ladder.state() == Ladder::State::Waiting || ladder.state() == Ladder::State::NoService) {
          auto decision = ladder.look_again(now);
          if (is_new && decision.kind == Kind::Diagnose) tried.clear();
          follow(decision);
        } else {
          follow(ladder.look_again(now));
        }
        break;
      default: follow(ladder.tick(now));
    }
    ASSERT_TRUE(ladder.state() == Ladder::State::Idle || ladder.next_deadline());
    if (HasFatalFailure()) return;
  }
  for (int i = 0; i < 50 && ladder.is_running(); ++i) {
    now = *ladder.next_deadline();
    auto kind = ladder.tick(now).kind;
    if (kind == Kind::Diagnose || kind == Kind::DiagnoseNow) ladder.diagnosed(egress_lost, now);
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

TEST_F(LadderTest, WaitsForARungThatIsNotPossibleYetAndLooksAgainBeforeIt) {
  ladder.set_obstacles({{Action::PortPower, {Obstacle::Kind::Later, "hub 1-4 is busy", now + Seconds(15)}}});
  ladder.down(now);
  EXPECT_EQ(ladder.diagnosed(missing, now).kind, Kind::Hold);
  ASSERT_EQ(ladder.state(), Ladder::State::Held);
  EXPECT_EQ(ladder.hold()->action, Action::PortPower);
  EXPECT_EQ(ladder.hold()->text, "hub 1-4 is busy");
  EXPECT_FALSE(ladder.is_running()) << "an operator may have his way meanwhile";
  EXPECT_EQ(pass(Seconds(14)).kind, Kind::None);
  EXPECT_EQ(pass(Seconds(1)).kind, Kind::Diagnose);
  ladder.set_obstacles({});
  expect_act(ladder.diagnosed(missing, now), Action::PortPower);
  EXPECT_EQ(ladder.steps().size(), 1u);
}

TEST_F(LadderTest, LooksAtOnceWhenWhatItWaitsForIsOver) {
  ladder.set_obstacles({{Action::PortPower, {Obstacle::Kind::Later, "hub 1-4 is busy", now + Seconds(15)}}});
  ladder.down(now);
  ladder.diagnosed(missing, now);
  now += Seconds(2);
  EXPECT_EQ(ladder.look_again(now).kind, Kind::Diagnose);
  ladder.diagnosed(missing, now);
  EXPECT_EQ(ladder.look_again(now).kind, Kind::None) << "not as often as anybody likes";
  EXPECT_EQ(pass(Millis(500)).kind, Kind::Diagnose) << "but soon";
}

TEST_F(LadderTest, SkipsARungThatItHasWaitedForTooLong) {
  auto busy = only({Action::PortPower, Action::HubPower});
  ladder.down(now);
  for (auto began = now; now < began + kMaxHold; pass(Seconds(60))) {
    busy[Action::PortPower] = {Obstacle::Kind::Later, "hub 1-4 is busy", now + Seconds(60)};
    ladder.set_obstacles(busy);
    ASSERT_EQ(ladder.diagnosed(missing, now).kind, Kind::Hold);
  }
  busy[Action::PortPower].until = now + Seconds(60);
  ladder.set_obstacles(busy);
  expect_act(ladder.diagnosed(missing, now), Action::HubPower);
  EXPECT_EQ(ladder.steps().front().action, Action::PortPower);
  EXPECT_EQ(ladder.steps().front().outcome, StepOutcome::Skipped);
  EXPECT_THAT(ladder.steps().front().detail, testing::HasSubstr("hub 1-4 is busy"));
}

TEST_F(LadderTest, DoesNotWaitForWhatComesTooLateAnyway) {
  auto spent = only({Action::PortPower});
  spent[Action::PortPower] = {Obstacle::Kind::Later, "budget", now + std::chrono::minutes(50)};
  ladder.set_obstacles(spent);
  ladder.down(now);
  EXPECT_EQ(ladder.diagnosed(missing, now).kind, Kind::GiveUp);
}

TEST_F(LadderTest, ACorrelatedFailureHoldsForAsLongAsItLasts) {
  ladder.down(now);
  for (int i = 0; i < 100; ++i) {
    ladder.set_obstacles({{Action::DataSwitch, {Obstacle::Kind::Correlated, "all fail", now + Seconds(120)}}});
    ASSERT_EQ(ladder.diagnosed(egress_lost, now).kind, Kind::Hold);
    ASSERT_EQ(pass(Seconds(120)).kind, Kind::Diagnose);
  }
  EXPECT_TRUE(ladder.steps().empty());
  EXPECT_EQ(ladder.traffic_ok(now).kind, Kind::Recovered);
}

TEST_F(LadderTest, AnOperatorWhoNamesAStageKnowsThatOthersFailToo) {
  ladder.set_obstacles({{Action::DataSwitch, {Obstacle::Kind::Correlated, "all fail", now + Seconds(120)}}});
  ladder.recover(Stage::Modem, now);
  expect_act(ladder.diagnosed(egress_lost, now), Action::DataSwitch);
}

TEST_F(LadderTest, ADampedRunBeginsWhenItMay) {
  EXPECT_EQ(ladder.down(now, Obstacle{Obstacle::Kind::Later, "it comes and goes", now + Seconds(30)}).kind, Kind::Hold);
  EXPECT_FALSE(ladder.hold()->action);
  EXPECT_EQ(ladder.look_again(now + Seconds(1)).kind, Kind::None) << "a free hub doesn't help here";
  EXPECT_EQ(pass(Seconds(30)).kind, Kind::Diagnose);
  expect_act(ladder.diagnosed(egress_lost, now), Action::DataSwitch);
}

TEST_F(LadderTest, AStickThatAPowerCycleBroughtBackAsADiskIsSwitchedNotCutAgain) {
  ladder.set_obstacles({});
  ladder.down(now);
  expect_act(ladder.diagnosed(missing, now), Action::PortPower);
  ladder.action_done(true, "back", now);
  now += Seconds(1);
  EXPECT_EQ(ladder.usb_seen({UsbMode::MassStorage, "12d1:1f01", "1-4", "", 7}, now).kind, Kind::Diagnose)
      << "no use in waiting for its traffic";
  EXPECT_EQ(ladder.steps().back().outcome, StepOutcome::NoEffect);
  expect_act(ladder.diagnosed(disk, now), Action::ModeSwitch);
}

TEST_F(LadderTest, AnApiThatARebindBroughtBackIsAskedBeforePowerIsCut) {
  ladder.set_obstacles({});
  ladder.down(now);
  ladder.set_obstacles(only({Action::UsbRebind, Action::PortPower}));
  expect_act(ladder.diagnosed({Fault::ApiDead, "", Stage::Usb}, now), Action::UsbRebind);
  ladder.action_done(true, "", now);
  pass(Seconds(30));
  ladder.set_obstacles({});
  expect_act(ladder.diagnosed(egress_lost, now), Action::DataSwitch);
}

TEST_F(LadderTest, ARebootThatIsAcceptedAndNeverDoneIsOverSoon) {
  ladder.set_obstacles(only({Action::Reboot}));
  ladder.down(now);
  expect_act(ladder.diagnosed(egress_lost, now), Action::Reboot);
  ladder.action_done(true, "the modem reboots", now);
  EXPECT_EQ(pass(Seconds(30)).kind, Kind::Diagnose);
  EXPECT_THAT(ladder.steps().back().detail, testing::HasSubstr("never went away"));
}

TEST_F(LadderTest, ASlowBootIsWaitedForOnceTheStickHasLeft) {
  ladder.set_obstacles(only({Action::Reboot}));
  ladder.down(now);
  ladder.diagnosed(egress_lost, now);
  ladder.action_done(true, "the modem reboots", now);
  now += Seconds(8);
  ladder.device_left(now);
  EXPECT_EQ(pass(Seconds(60)).kind, Kind::None);
  ladder.device_back(now);
  EXPECT_EQ(pass(Seconds(29)).kind, Kind::None) << "its settle time begins with its return";
  EXPECT_EQ(pass(Seconds(1)).kind, Kind::Diagnose);
  EXPECT_THAT(ladder.steps().back().detail, testing::HasSubstr("came back"));
}

TEST_F(LadderTest, AStickThatLeavesBeforeItsRebootIsAnsweredIsWaitedForAllTheSame) {
  ladder.set_obstacles(only({Action::Reboot}));
  ladder.down(now);
  ladder.diagnosed(egress_lost, now);
  ladder.device_left(now);
  ladder.action_done(true, "the modem reboots", now);
  EXPECT_EQ(pass(Seconds(89)).kind, Kind::None);
  EXPECT_EQ(pass(Seconds(1)).kind, Kind::Diagnose);
}

TEST_F(LadderTest, AShortSettleTimeDoesNotJudgeAStickThatHasNotHadTheTimeToLeave) {
  auto policy = all_stages();
  policy.settle[Stage::Modem] = Seconds(2);
  ladder.set_policy(policy);
  ladder.set_obstacles(only({Action::Reboot}));
  ladder.down(now);
  ladder.diagnosed(egress_lost, now);
  ladder.action_done(true, "", now);
  EXPECT_EQ(pass(Seconds(14)).kind, Kind::None);
  EXPECT_EQ(pass(Seconds(1)).kind, Kind::Diagnose);
}

TEST_F(LadderTest, ABystandersOutageIsNeitherDiagnosedNorCounted) {
  ladder.join(Action::HubPower, "hub power of dongle 12", now);
  EXPECT_EQ(ladder.current_stage(), Stage::HubPower);
  EXPECT_TRUE(ladder.has_joined());
  EXPECT_EQ(ladder.down(now).kind, Kind::None);
  EXPECT_EQ(ladder.traffic_ok(now).kind, Kind::None) << "its power isn't off yet";
  ladder.device_left(now);
  now += Seconds(20);
  ladder.action_done(true, "off and on", now);
  ladder.device_back(now);
  EXPECT_EQ(ladder.traffic_ok(now).kind, Kind::Recovered);
  EXPECT_EQ(ladder.state(), Ladder::State::Idle);
}

TEST_F(LadderTest, ABystanderThatDoesNotComeBackIsDiagnosedAndNotCutAgain) {
  ladder.set_obstacles(only({Action::PortPower, Action::HubPower}));
  ladder.join(Action::HubPower, "hub power of dongle 12", now);
  ladder.action_done(true, "off and on", now);
  EXPECT_EQ(pass(Seconds(30)).kind, Kind::Diagnose);
  expect_act(ladder.diagnosed(missing, now), Action::PortPower);
  EXPECT_EQ(ladder.action_done(false, "no", now).kind, Kind::Diagnose);
  EXPECT_EQ(ladder.diagnosed(missing, now).kind, Kind::GiveUp) << "its hub has had its cycle in this run";
}

TEST_F(LadderTest, AHubCutEndsWhatABystanderWasDoing) {
  ladder.down(now);
  ladder.diagnosed(egress_lost, now);
  ladder.join(Action::HubPower, "hub power of dongle 12", now);
  ASSERT_EQ(ladder.steps().size(), 2u);
  EXPECT_EQ(ladder.steps()[0].outcome, StepOutcome::Failed);
  EXPECT_EQ(ladder.steps()[1].reason, "hub power of dongle 12");
}

TEST_F(LadderTest, ABystanderIsLeftAloneAfterwardsWhenRecoveryIsOff) {
  auto policy = all_stages();
  policy.enabled = false;
  ladder.set_policy(policy);
  ladder.join(Action::HubPower, "the operator", now);
  ladder.action_done(true, "", now);
  EXPECT_EQ(pass(Seconds(30)).kind, Kind::None);
  EXPECT_EQ(ladder.state(), Ladder::State::Idle);
}

TEST_F(LadderTest, ANewLookAfterGivingUpComesAtMostEveryHalfMinute) {
  ladder.set_obstacles(only({}));
  ladder.down(now);
  ladder.diagnosed(egress_lost, now);
  ASSERT_EQ(ladder.state(), Ladder::State::Waiting);
  EXPECT_EQ(ladder.look_again(now + Seconds(29)).kind, Kind::None);
  EXPECT_EQ(ladder.look_again(now + Seconds(30)).kind, Kind::Diagnose) << "its stick was plugged in anew";
}

TEST(UsbObstacles, OnlyWhatFitsTheStickIsPossible) {
  auto possible = [](UsbMode mode) {
    std::vector<Action> found;
    auto obstacles = usb_obstacles({mode, "", "", "", 0});
    for (Action action : {Action::ModeSwitch, Action::UsbConfiguration, Action::UsbRebind, Action::UsbReauthorize})
      if (!obstacles.contains(action)) found.push_back(action);
    return found;
  };
  using Actions = std::vector<Action>;
  EXPECT_EQ(possible(UsbMode::Unknown), Actions{});
  EXPECT_EQ(possible(UsbMode::Missing), Actions{});
  EXPECT_EQ(possible(UsbMode::NotAuthorized), Actions{Action::UsbReauthorize});
  EXPECT_EQ(possible(UsbMode::MassStorage), (Actions{Action::ModeSwitch, Action::UsbReauthorize}));
  EXPECT_EQ(possible(UsbMode::WrongConfiguration), (Actions{Action::UsbConfiguration, Action::UsbReauthorize}));
  EXPECT_EQ(possible(UsbMode::NoInterface), (Actions{Action::UsbRebind, Action::UsbReauthorize}));
  EXPECT_EQ(possible(UsbMode::Ethernet), (Actions{Action::UsbRebind, Action::UsbReauthorize}));
}

}  // namespace
}  // namespace dongle
