#include "common/rate_ring.h"

#include <gtest/gtest.h>

namespace dongle {
namespace {

struct RateRingTest : testing::Test {
  RateRing ring;
  TimePoint now{Seconds(1000)};
  std::uint64_t total = 0;
  void send(std::uint64_t bytes) { ring.add(total += bytes, now); }
};

TEST_F(RateRingTest, IsZeroBeforeAnythingHappened) {
  EXPECT_EQ(ring.per_second(now), 0u);
}

TEST_F(RateRingTest, TakesTheFirstTotalAsTheStartNotAsTraffic) {
  ring.add(1'000'000, now);
  EXPECT_EQ(ring.per_second(now + Seconds(1)), 0u);
}

TEST_F(RateRingTest, AveragesTheWholeSecondsBefore) {
  send(0);
  send(100);
  now += Seconds(1);
  send(300);
  EXPECT_EQ(ring.per_second(now, 1), 100u) << "the second that runs doesn't count yet";
  now += Seconds(1);
  EXPECT_EQ(ring.per_second(now), 200u);
  EXPECT_EQ(ring.per_second(now, 1), 300u);
}

TEST_F(RateRingTest, FadesToZeroWhenNothingMoreComes) {
  send(0);
  send(500);
  now += Seconds(3);
  EXPECT_EQ(ring.per_second(now), 0u);
}

TEST_F(RateRingTest, ForgetsWhatIsOlderThanItsSlots) {
  send(0);
  send(500);
  for (int later : {RateRing::kSlots, RateRing::kSlots * 3 + 1, 86'400}) {
    RateRing copy = ring;
    EXPECT_EQ(copy.per_second(now + Seconds(later), RateRing::kSlots - 1), 0u) << later;
  }
}

TEST_F(RateRingTest, CountsNothingWhenTheTotalStartsOver) {
  send(0);
  send(500);
  now += Seconds(1);
  ring.add(20, now);  // the worker is a new one
  now += Seconds(1);
  EXPECT_EQ(ring.per_second(now, 1), 0u);
  ring.add(120, now);
  EXPECT_EQ(ring.per_second(now + Seconds(1), 1), 100u);
}

}  // namespace
}  // namespace dongle
