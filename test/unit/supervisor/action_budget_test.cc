#include "supervisor/action_budget.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace dongle {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

struct ActionBudgetTest : testing::Test {
  ActionBudget budget;
  TimePoint now = TimePoint{} + hours(100);
  WallTime wall = WallTime{} + hours(500'000);
  const DongleId id{11};

  bool may(Action action, const char* hub = "1-4", DongleId who = DongleId{11}) {
    return !budget.refuse(who, action, hub, now);
  }
};

TEST_F(ActionBudgetTest, AHubsPowerIsCycledOnceInTenMinutes) {
  budget.spend(id, Action::HubPower, "1-4", now);
  auto refusal = budget.refuse(DongleId{12}, Action::HubPower, "1-4", now);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->until, now + minutes(10));
  EXPECT_NE(refusal->text.find("hub 1-4"), std::string::npos);
  EXPECT_TRUE(may(Action::HubPower, "1-5", DongleId{12})) << "another hub";
  now += minutes(10);
  EXPECT_TRUE(may(Action::HubPower));
}

TEST_F(ActionBudgetTest, AStickIsPowerCycledThreeTimesAnHour) {
  for (int i = 0; i < 3; ++i, now += minutes(5)) {
    ASSERT_TRUE(may(Action::PortPower)) << i;
    budget.spend(id, Action::PortPower, "1-4", now);
  }
  EXPECT_FALSE(may(Action::PortPower));
  EXPECT_TRUE(may(Action::PortPower, "1-4", DongleId{12})) << "another stick of the hub";
  now += minutes(45);
  EXPECT_TRUE(may(Action::PortPower)) << "the first was an hour ago";
}

TEST_F(ActionBudgetTest, TheHostHasItsOwnLimit) {
  for (unsigned i = 0; i < 20; ++i) budget.spend(DongleId{i + 1}, Action::PortPower, "hub" + std::to_string(i), now);
  EXPECT_FALSE(may(Action::PortPower, "1-9", DongleId{99}));
  EXPECT_TRUE(may(Action::UsbRebind, "1-9", DongleId{99}));
}

TEST_F(ActionBudgetTest, RoutesMayBeResetAsOftenAsTheLadderLikes) {
  for (int i = 0; i < 1000; ++i) budget.spend(id, Action::RouteReset, "1-4", now);
  EXPECT_TRUE(may(Action::RouteReset));
  EXPECT_EQ(budget.accounts(), 0u);
}

TEST_F(ActionBudgetTest, ForgetsWhatNoLimitCountsAnyMore) {
  budget.spend(id, Action::HubPower, "1-4", now);
  EXPECT_GT(budget.accounts(), 0u);
  budget.prune(now + hours(1));
  EXPECT_EQ(budget.accounts(), 0u);
}

TEST_F(ActionBudgetTest, SurvivesARestartOfTheDaemon) {
  budget.spend(id, Action::HubPower, "1-4", now);
  Json stored = budget.to_json(now + minutes(1), wall);
  ActionBudget next;
  TimePoint later = TimePoint{} + Seconds(7);  // the host was booted anew: another monotonic clock
  next.load(stored, later, wall + minutes(2));
  auto refusal = next.refuse(id, Action::HubPower, "1-4", later);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->until, later + minutes(7));
}

TEST_F(ActionBudgetTest, AWallClockThatWasSetBackDoesNotMakeRoom) {
  budget.spend(id, Action::HubPower, "1-4", now);
  Json stored = budget.to_json(now, wall);
  ActionBudget next;
  next.load(stored, now, WallTime{});
  EXPECT_TRUE(next.refuse(id, Action::HubPower, "1-4", now));
  EXPECT_FALSE(next.refuse(id, Action::HubPower, "1-4", now + minutes(10))) << "nor does it block for ever";
}

TEST_F(ActionBudgetTest, WhatCannotBeReadIsLeftOut) {
  for (const char* text : {"[]", "{}", "7", R"({"spent_unix_ms":[]})", R"({"spent_unix_ms":{"hub 1-4 hub_power":7}})",
                           R"({"spent_unix_ms":{"hub 1-4 hub_power":["x",null,-1,9223372036854775807]}})"})
    budget.load(Json::parse(text), now, wall);
  EXPECT_TRUE(may(Action::HubPower));
  EXPECT_EQ(budget.accounts(), 0u);
}

TEST_F(ActionBudgetTest, ItsTableHasABound) {
  constexpr unsigned kMany = ActionBudget::kMaxAccounts + 100;
  for (unsigned i = 0; i < kMany; ++i) budget.spend(id, Action::HubPower, "hub" + std::to_string(i), now + Millis(i));
  EXPECT_LE(budget.accounts(), ActionBudget::kMaxAccounts);
  EXPECT_TRUE(budget.refuse(id, Action::HubPower, "hub" + std::to_string(kMany - 1), now + Seconds(20))) << "the newest are kept";
}

}  // namespace
}  // namespace dongle
