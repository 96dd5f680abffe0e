#include "supervisor/rotation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dongle {
namespace {

using ::testing::HasSubstr;
using Why = RotationPolicy::Refusal::Why;

struct RotationPolicyTest : testing::Test {
  RotationPolicy policy{RotationConfig{Seconds(15), Seconds(3), Seconds(60), 3}};
  TimePoint now{std::chrono::hours(1)};
};

TEST_F(RotationPolicyTest, LetsTheFirstOneBegin) {
  EXPECT_FALSE(policy.refuse(std::nullopt, 0, now));
}

TEST_F(RotationPolicyTest, RefusesInTheCooldownAndSaysHowLong) {
  auto refusal = policy.refuse(now - Millis(4100), 0, now);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->why, Why::Cooldown);
  EXPECT_EQ(refusal->retry_after, Seconds(11)) << "rounded up: who waits that long isn't refused again";
  EXPECT_THAT(refusal->text, HasSubstr("again in 11s"));
  EXPECT_FALSE(policy.refuse(now - Millis(4100), 0, now + refusal->retry_after));
}

TEST_F(RotationPolicyTest, EndsTheCooldownToTheMillisecond) {
  EXPECT_TRUE(policy.refuse(now - Millis(14999), 0, now));
  EXPECT_FALSE(policy.refuse(now - Millis(15000), 0, now));
}

TEST_F(RotationPolicyTest, BoundsHowManyRunAtOnce) {
  EXPECT_FALSE(policy.refuse(std::nullopt, 2, now));
  auto refusal = policy.refuse(std::nullopt, 3, now);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->why, Why::Busy);
  EXPECT_THAT(refusal->text, HasSubstr("rotation.max_concurrent"));
}

TEST_F(RotationPolicyTest, TellsTheCooldownFirstAsItIsThisDonglesOwn) {
  EXPECT_EQ(policy.refuse(now, 3, now)->why, Why::Cooldown);
}

TEST_F(RotationPolicyTest, StaysOffLongerOnTheSecondTry) {
  EXPECT_EQ(policy.off_time(1), Seconds(3));
  EXPECT_EQ(policy.off_time(2), Seconds(9));
}

}  // namespace
}  // namespace dongle
