#include "worker/dial_report.h"

#include <gtest/gtest.h>

namespace dongle {
namespace {

TEST(DialReport, TellsEveryFailureAndTheFirstSuccessAfterOne) {
  TimePoint now{Seconds{100}};
  DialReport report;
  EXPECT_EQ(report.add("", now), (DialResult{true, ""}));
  EXPECT_FALSE(report.add("", now + Millis{999}));
  EXPECT_EQ(report.add("connect_timeout", now), (DialResult{false, "connect_timeout"}));
  EXPECT_EQ(report.add("dns_failed", now), (DialResult{false, "dns_failed"}));
  EXPECT_EQ(report.add("", now), (DialResult{true, ""}));
  EXPECT_FALSE(report.add("", now));
  EXPECT_TRUE(report.add("", now + Seconds{1}));
}

TEST(DialReport, CutsAFloodOfFailuresShort) {
  TimePoint now{Seconds{100}};
  DialReport report;
  int told = 0;
  for (int i = 0; i < 1000; ++i) told += report.add("no_device", now).has_value();
  EXPECT_EQ(told, DialReport::kMaxFailures);
  EXPECT_TRUE(report.add("no_device", now + Seconds{1}));
}

}  // namespace
}  // namespace dongle
