#include "common/backoff.h"

#include <gtest/gtest.h>

namespace dongle {
namespace {

TEST(Backoff, DoublesFromTheFirstToTheLongest) {
  Backoff backoff(Millis(100), Seconds(1), Seconds(10));
  for (int ms : {0, 100, 200, 400, 800, 1000, 1000}) EXPECT_EQ(backoff.next(Millis(5)), Millis(ms));
}

TEST(Backoff, StartsOverAfterSomethingLasted) {
  Backoff backoff(Millis(100), Seconds(1), Seconds(10));
  for (int i = 0; i < 5; ++i) (void)backoff.next(Millis(0));
  EXPECT_NE(backoff.next(Millis(9999)), Millis(0));
  EXPECT_EQ(backoff.next(Seconds(10)), Millis(0));
  EXPECT_EQ(backoff.next(Millis(0)), Millis(100));
}

TEST(Backoff, StartsOverOnRequest) {
  Backoff backoff(Millis(100), Seconds(1), Seconds(10));
  (void)backoff.next(Millis(0));
  backoff.reset();
  EXPECT_EQ(backoff.tries(), 0);
  EXPECT_EQ(backoff.next(Millis(0)), Millis(0));
}

TEST(Backoff, NeverExceedsTheLongestHoweverOften) {
  Backoff backoff(Millis(100), Seconds(30), Seconds(10));
  for (int i = 0; i < 10'000; ++i) EXPECT_LE(backoff.next(Millis(0)), Seconds(30));
}

}  // namespace
}  // namespace dongle
