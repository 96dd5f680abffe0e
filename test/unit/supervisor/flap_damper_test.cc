#include "supervisor/flap_damper.h"

#include <gtest/gtest.h>

#include <random>

namespace dongle {
namespace {

using std::chrono::minutes;

/// Health in, what is shown and run out, looked at every second.
struct FlapDamperTest : testing::Test {
  FlapDamper damper;
  TimePoint now{};
  bool shown = true;
  std::vector<TimePoint> changes, runs;
  std::optional<TimePoint> run_at;

  void turn(bool up) {
    if (up) {
      damper.on_up(now);
      run_at.reset();
    } else {
      damper.on_down(now);
      auto later = damper.admit_run(now);
      run_at = later ? later->until : now;
    }
  }
  void pass(Seconds time) {
    for (Seconds i{0}; i < time; ++i, now += Seconds(1)) {
      if (run_at && now >= *run_at) {
        runs.push_back(now);
        run_at.reset();
      }
      if (damper.shows_up(now) == shown) continue;
      shown = !shown;
      changes.push_back(now);
    }
  }
};

TEST_F(FlapDamperTest, OneOutageIsShownAndMendedWithoutDelay) {
  turn(false);
  pass(Seconds(1));
  EXPECT_FALSE(shown);
  EXPECT_EQ(runs.size(), 1u);
  turn(true);
  pass(Seconds(1));
  EXPECT_TRUE(shown);
  EXPECT_EQ(damper.reason(), "");
}

TEST_F(FlapDamperTest, TenSecondsUpTenSecondsDownForTenMinutesIsAFewChangesAndRuns) {
  auto began = now;
  while (now < began + minutes(10)) {
    turn(false);
    pass(Seconds(10));
    turn(true);
    pass(Seconds(10));
  }
  EXPECT_LE(changes.size(), 6u);
  EXPECT_LE(runs.size(), 3u);
  EXPECT_FALSE(shown);
  EXPECT_NE(damper.reason(), "");
  pass(minutes(5));
  EXPECT_TRUE(shown) << "five good minutes are believed";
}

TEST_F(FlapDamperTest, TheHoldDownDoublesUpToFiveMinutes) {
  Seconds expected{0};
  for (int i = 0; i < 8; ++i) {
    turn(false);
    turn(true);
    auto due = damper.next_change();
    pass(Seconds(1));
    if (i < 2) {
      EXPECT_TRUE(shown) << "one flap isn't flapping yet";
      expected = Seconds(15);
      continue;
    }
    ASSERT_TRUE(due);
    EXPECT_GE(*due, now - Seconds(1) + std::min(expected, Seconds(300))) << i;
    EXPECT_LE(*due, now + Seconds(600)) << i;
    expected *= 2;
  }
}

TEST_F(FlapDamperTest, GoodTimeIsForgiving) {
  for (int i = 0; i < 4; ++i) {
    turn(false);
    pass(Seconds(5));
    turn(true);
    pass(Seconds(5));
  }
  EXPECT_EQ(damper.flaps(), 3);
  pass(minutes(16));
  EXPECT_EQ(damper.flaps(), 0);
  pass(minutes(60));
  turn(false);
  pass(Seconds(5));
  turn(true);
  pass(Seconds(1));
  EXPECT_TRUE(shown) << "a new first outage";
}

TEST_F(FlapDamperTest, ARunThatTrafficForestalledIsNotCounted) {
  turn(false);
  turn(true);
  for (int i = 0; i < 20; ++i) {
    now += Seconds(1);
    turn(false);
    turn(true);  // before the run may begin
  }
  now += minutes(6);
  damper.on_down(now);
  EXPECT_FALSE(damper.admit_run(now)) << "one run in ten minutes so far";
}

TEST_F(FlapDamperTest, NoPatternOfShortLivesGetsMoreThanSixChangesAndThreeRunsInTenMinutes) {
  std::mt19937 random(20261122);
  for (int i = 0; i < 2'000; ++i) {
    bool up = i % 2 == 1;
    turn(up);
    pass(Seconds(random() % (up ? 60 : 400)));
  }
  auto most_in_ten_minutes = [](const std::vector<TimePoint>& times) {
    std::size_t most = 0;
    for (std::size_t first = 0, last = 0; last < times.size(); ++last) {
      while (times[last] - times[first] >= minutes(10)) ++first;
      most = std::max(most, last - first + 1);
    }
    return most;
  };
  EXPECT_LE(most_in_ten_minutes(changes), 6u);
  EXPECT_LE(most_in_ten_minutes(runs), 3u);
  EXPECT_GT(runs.size(), 100u) << "it is mended again and again";
}

TEST_F(FlapDamperTest, OutagesThatComeOneByOneAreEachMendedAtOnce) {
  for (int i = 0; i < 10; ++i) {
    turn(false);
    pass(Seconds(2));
    EXPECT_EQ(runs.size(), i + 1u);
    turn(true);
    pass(Seconds(61));
    EXPECT_TRUE(shown);
  }
}

}  // namespace
}  // namespace dongle
