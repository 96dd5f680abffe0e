// The promises of the ladder and of what binds the ladders of a rack together, under random trouble on a simulated
// rack.
//   DONGLE_SEED=7 DONGLE_EVENTS=50000 build/release/bin/property_tests   repeats the round that began with this seed
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <string>

#include "test/property/simulated_rack.h"

namespace dongle {
namespace {

constexpr std::size_t kEvents = 1'000'000;
constexpr std::size_t kRound = 50'000;
/// What can be mended is by then: the longest pause between two runs is an hour, and some take turns.
constexpr Millis kLongestRecovery = std::chrono::hours(12);

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

SimulatedRack simulated_rack(std::uint64_t seed) {
  return {seed, seed % 4 == 0 ? HubPowerPolicy::Never : HubPowerPolicy::WhenAllDown};
}

TEST(SimulatedRack, AMillionRandomEventsBreakNoPromiseAndLeaveNothingBrokenThatCouldBeMended) {
  std::uint64_t first_seed = from_environment("DONGLE_SEED", 20261122);
  std::size_t left = from_environment("DONGLE_EVENTS", kEvents);
  std::array<std::size_t, kActions.size()> done{};
  std::size_t troubles = 0, recoveries = 0;
  for (std::uint64_t seed = first_seed; left > 0; ++seed) {
    std::size_t events = std::min(left, kRound);
    SimulatedRack rack = simulated_rack(seed);
    rack.run(events);
    rack.calm_down(kLongestRecovery);
    ASSERT_FALSE(rack.violation()) << *rack.violation() << "\nafter " << rack.events() << " events; the last were:\n"
                                   << rack.last_events() << "repeat it with DONGLE_SEED=" << seed
                                   << " DONGLE_EVENTS=" << events;
    for (Action action : kActions) done[static_cast<std::size_t>(action)] += rack.actions(action);
    troubles += rack.troubles();
    recoveries += rack.recoveries();
    left -= events;
  }
  for (Action action : kActions) {
    RecordProperty(to_string(action), static_cast<int>(done[static_cast<std::size_t>(action)]));
    EXPECT_GT(done[static_cast<std::size_t>(action)], 0u) << to_string(action) << " was never done";
  }
  RecordProperty("troubles", static_cast<int>(troubles));
  RecordProperty("recoveries", static_cast<int>(recoveries));
}

TEST(SimulatedRack, TwoRunsWithOneSeedAreTheSame) {
  std::uint64_t seed = from_environment("DONGLE_SEED", 20261122);
  SimulatedRack first = simulated_rack(seed), second = simulated_rack(seed), other = simulated_rack(seed + 1);
  for (SimulatedRack* rack : {&first, &second, &other}) rack->run(kRound);
  EXPECT_EQ(first.trace_hash(), second.trace_hash());
  EXPECT_NE(first.trace_hash(), other.trace_hash());
}

}  // namespace
}  // namespace dongle
