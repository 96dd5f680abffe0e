#include "supervisor/repair_policy.h"

#include <gtest/gtest.h>

namespace dongle {
namespace {

using Verdict = RepairPolicy::Verdict;
constexpr DongleId kDongle{11};
const TimePoint kStart{std::chrono::hours{1}};

/// Asks `count` times, a second apart, from `from` on; returns the last verdict.
Verdict repeat(RepairPolicy& policy, int count, TimePoint from) {
  Verdict last = Verdict::Repair;
  for (int i = 0; i < count; ++i) last = policy.on_repair_needed(kDongle, from + Seconds{i});
  return last;
}

TEST(RepairPolicy, RepairsAndCounts) {
  RepairPolicy policy;
  EXPECT_EQ(repeat(policy, 9, kStart), Verdict::Repair);
  EXPECT_EQ(policy.repairs(kDongle), 9u);
  EXPECT_EQ(policy.repairs(DongleId{12}), 0u);
  EXPECT_EQ(policy.total_repairs(), 9u);
}

TEST(RepairPolicy, StopsFightingAtTheTenthRepairWithinAMinute) {
  RepairPolicy policy;
  EXPECT_EQ(repeat(policy, 10, kStart), Verdict::BecameContested);
  auto until = policy.contested_until(kDongle, kStart + Seconds{9});
  ASSERT_TRUE(until);
  EXPECT_EQ(*until, kStart + Seconds{9} + RepairPolicy::kFirstBackoff);
  EXPECT_EQ(policy.on_repair_needed(kDongle, *until - Millis{1}), Verdict::Contested);
  EXPECT_EQ(policy.repairs(kDongle), 10u);
  EXPECT_EQ(policy.on_repair_needed(kDongle, *until), Verdict::Repair);
  EXPECT_FALSE(policy.contested_until(kDongle, *until));
}

TEST(RepairPolicy, ARouteFlushThatLooksTwiceCountsOnce) {
  RepairPolicy policy;
  EXPECT_EQ(policy.on_repair_needed(kDongle, kStart), Verdict::Repair);
  EXPECT_EQ(policy.on_repair_needed(kDongle, kStart + Millis{5}), Verdict::Repair);
  EXPECT_EQ(policy.repairs(kDongle), 1u);
  EXPECT_EQ(policy.on_repair_needed(kDongle, kStart + RepairPolicy::kBurst), Verdict::Repair);
  EXPECT_EQ(policy.repairs(kDongle), 2u);
}

TEST(RepairPolicy, GoesOnForEverWhenRepairsAreRare) {
  RepairPolicy policy;
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(policy.on_repair_needed(kDongle, kStart + Seconds{7 * i}), Verdict::Repair);
}

TEST(RepairPolicy, DoublesTheBackoffUpToItsBound) {
  RepairPolicy policy;
  TimePoint now = kStart;
  for (int minutes : {1, 2, 4, 8, 10, 10}) {
    ASSERT_EQ(repeat(policy, 10, now), Verdict::BecameContested);
    now += Seconds{9};
    auto until = policy.contested_until(kDongle, now);
    ASSERT_TRUE(until);
    EXPECT_EQ(*until - now, std::chrono::minutes{minutes});
    now = *until;
  }
}

TEST(RepairPolicy, ForgivesAfterACalmSpell) {
  RepairPolicy policy;
  repeat(policy, 10, kStart);
  TimePoint later = kStart + Seconds{9} + RepairPolicy::kFirstBackoff + RepairPolicy::kCalm;
  ASSERT_EQ(repeat(policy, 10, later), Verdict::BecameContested);
  EXPECT_EQ(*policy.contested_until(kDongle, later + Seconds{9}), later + Seconds{9} + RepairPolicy::kFirstBackoff);
}

TEST(RepairPolicy, KeepsDonglesApart) {
  RepairPolicy policy;
  repeat(policy, 10, kStart);
  EXPECT_EQ(policy.on_repair_needed(DongleId{12}, kStart + Seconds{10}), Verdict::Repair);
}

}  // namespace
}  // namespace dongle
