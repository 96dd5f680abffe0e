#include "supervisor/health.h"

#include <gtest/gtest.h>

namespace dongle {
namespace {

struct HealthTest : testing::Test {
  Health health{HealthPolicy{Seconds(30), 3, 2}};
  TimePoint now{};
  void probe(bool ok) { health.on_probe(ok, ok ? "" : "timeout", now); }
  void dial(bool ok) { health.on_dial(ok, ok ? "" : "connect_timeout", now); }
  void go_up() {
    probe(true);
    probe(true);
    ASSERT_EQ(health.verdict(), Verdict::Up);
  }
};

TEST_F(HealthTest, NeedsTwoSuccessesToBeUp) {
  probe(true);
  EXPECT_EQ(health.verdict(), Verdict::Unknown);
  probe(true);
  EXPECT_EQ(health.verdict(), Verdict::Up);
}

TEST_F(HealthTest, ThreeFailedProbesAreDown) {
  go_up();
  probe(false);
  EXPECT_EQ(health.verdict(), Verdict::Suspect);
  probe(false);
  EXPECT_EQ(health.verdict(), Verdict::Suspect);
  probe(false);
  EXPECT_EQ(health.verdict(), Verdict::Down);
  EXPECT_EQ(health.reason(), "timeout");
}

TEST_F(HealthTest, OneSuccessEndsASuspicion) {
  go_up();
  probe(false);
  probe(false);
  dial(true);
  EXPECT_EQ(health.verdict(), Verdict::Up);
  probe(false);
  EXPECT_EQ(health.verdict(), Verdict::Suspect) << "counts from the start again";
}

TEST_F(HealthTest, FailedConnectsAloneMakeSuspectButNeverDown) {
  go_up();
  dial(false);
  EXPECT_EQ(health.verdict(), Verdict::Up);
  for (int i = 0; i < 50; ++i) dial(false);
  EXPECT_EQ(health.verdict(), Verdict::Suspect);
  probe(false);
  EXPECT_EQ(health.verdict(), Verdict::Down) << "the probe confirms what the connects met";
}

TEST_F(HealthTest, AFailedConnectBringsTheProbeForward) {
  go_up();
  EXPECT_EQ(health.next_probe_at(), now + Seconds(30));
  dial(false);
  EXPECT_LE(health.next_probe_at(), now + Millis(500));
}

TEST_F(HealthTest, TrafficThatSucceedsPutsTheProbeOff) {
  go_up();
  now += Seconds(29);
  dial(true);
  EXPECT_EQ(health.next_probe_at(), now + Seconds(30));
}

TEST_F(HealthTest, TheModemsOwnWordSettlesASuspicionButNotAHealthyPath) {
  go_up();
  health.on_modem_disconnected();
  EXPECT_EQ(health.verdict(), Verdict::Up) << "traffic is the judge";
  probe(false);
  health.on_modem_disconnected();
  EXPECT_EQ(health.verdict(), Verdict::Down);
}

TEST_F(HealthTest, ComesBackFromDownWithTwoSuccesses) {
  go_up();
  for (int i = 0; i < 3; ++i) probe(false);
  probe(true);
  EXPECT_EQ(health.verdict(), Verdict::Down);
  probe(true);
  EXPECT_EQ(health.verdict(), Verdict::Up);
}

}  // namespace
}  // namespace dongle
