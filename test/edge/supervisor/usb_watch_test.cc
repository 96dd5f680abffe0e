#include "supervisor/usb_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <future>
#include <mutex>
#include <thread>

#include "test/support/run_until.h"

namespace dongle {
namespace {

/// What the "kernel" shows: a tree and names that the test changes, and a way to let reads hang.
class FakeBus {
 public:
  struct State {
    std::mutex mutex;
    UsbTree tree;
    std::atomic<int> scans{0}, names_read{0}, running{0}, most_running{0};
    std::shared_future<void> scans_wait_for, names_wait_for;  // invalid: they don't
  };

  UsbWatch::Source source() const {
    return {[s = state] {
              int running = ++s->running;
              if (running > s->most_running) s->most_running = running;
              ++s->scans;
              std::shared_future<void> gate;
              {
                std::lock_guard lock(s->mutex);
                gate = s->scans_wait_for;
              }
              if (gate.valid()) gate.wait();
              std::lock_guard lock(s->mutex);
              --s->running;
              return Result<UsbTree>(s->tree);
            },
            [s = state](const std::string& path) {
              std::shared_future<void> gate;
              {
                std::lock_guard lock(s->mutex);
                gate = s->names_wait_for;
              }
              if (gate.valid()) gate.wait();
              ++s->names_read;
              return UsbNames{"name of " + path, "1"};
            }};
  }
  void plug(const std::string& path, int devnum) const {
    std::lock_guard lock(state->mutex);
    UsbDevice& device = state->tree.devices[path];
    device.path = path;
    device.devnum = devnum;
  }
  void unplug(const std::string& path) const {
    std::lock_guard lock(state->mutex);
    state->tree.devices.erase(path);
  }
  /// Reads hang from now on, until the promise is kept.
  void hold_scans(std::promise<void>& until) const {
    std::lock_guard lock(state->mutex);
    state->scans_wait_for = until.get_future().share();
  }
  void hold_names(std::promise<void>& until) const {
    std::lock_guard lock(state->mutex);
    state->names_wait_for = until.get_future().share();
  }

  std::shared_ptr<State> state = std::make_shared<State>();
};

/// What another thread does, without the loop.
bool comes_true(const std::function<bool()>& condition) {
  for (auto end = UvLoop::now() + Seconds{2}; UvLoop::now() < end; std::this_thread::yield())
    if (condition()) return true;
  return false;
}

class UsbWatchTest : public testing::Test {
 protected:
  std::unique_ptr<UsbWatch> open(UsbWatch::Options options = {}) {
    auto watch = UsbWatch::open(loop, bus.source(), options);
    EXPECT_TRUE(watch) << watch.error().message();
    (*watch)->on_change([this] { ++changes; });
    return std::move(*watch);
  }
  /// As the kernel announces a device; the watch takes it for the word that something has changed.
  static bool send_events(int count) {
    for (int i = 0; i < count; ++i)
      if (!(std::ofstream("/sys/class/net/lo/uevent") << "change" << std::flush)) return false;
    return true;
  }

  UvLoop loop;
  FakeBus bus;
  int changes = 0;
};

TEST_F(UsbWatchTest, HasAPictureFromTheStartAndTheNamesSoonAfter) {
  bus.plug("1-4", 3);
  auto watch = open();
  ASSERT_NE(watch->tree().find("1-4"), nullptr);
  EXPECT_EQ(watch->tree().find("1-4")->product_name, "");
  ASSERT_TRUE(run_until(loop, [&] { return changes == 1; }));
  EXPECT_EQ(watch->tree().find("1-4")->product_name, "name of 1-4");
  EXPECT_EQ(watch->tree().find("1-4")->serial, "1");
}

TEST_F(UsbWatchTest, LooksAgainWhenAskedAndTellsOnlyOfChanges) {
  auto watch = open();
  watch->rescan();
  ASSERT_TRUE(run_until(loop, [&] { return watch->counters().scans == 2; }));
  EXPECT_EQ(changes, 0);
  bus.plug("1-4", 3);
  watch->rescan();
  ASSERT_TRUE(run_until(loop, [&] { return changes == 2; })) << "the device, then its name";
  bus.unplug("1-4");
  watch->rescan();
  ASSERT_TRUE(run_until(loop, [&] { return changes == 3; }));
  EXPECT_EQ(watch->tree(), UsbTree{});
}

TEST_F(UsbWatchTest, ReadsNamesOnceForEachEnumeration) {
  bus.plug("1-4", 3);
  auto watch = open();
  ASSERT_TRUE(run_until(loop, [&] { return changes == 1; }));
  watch->rescan();
  ASSERT_TRUE(run_until(loop, [&] { return watch->counters().scans == 2; }));
  EXPECT_EQ(watch->tree().find("1-4")->product_name, "name of 1-4") << "kept";
  EXPECT_EQ(bus.state->names_read, 1);
  bus.plug("1-4", 4);
  watch->rescan();
  ASSERT_TRUE(run_until(loop, [&] { return bus.state->names_read == 2; })) << "perhaps another device";
}

TEST_F(UsbWatchTest, LooksByItselfAsEventsMayBeLost) {
  auto watch = open({.rescan = Millis{20}});
  bus.plug("1-4", 3);
  EXPECT_TRUE(run_until(loop, [&] { return watch->tree().find("1-4") != nullptr; }));
}

TEST_F(UsbWatchTest, HoldsTheLoopUpForNothingWhenAScanIsStuck) {
  auto watch = open({.slow = Millis{20}});
  std::promise<void> release;
  bus.hold_scans(release);
  watch->rescan();
  for (int i = 0; i < 3; ++i) watch->rescan();
  ASSERT_TRUE(run_until(loop, [&] { return watch->counters().slow_scans == 1; }));
  EXPECT_EQ(watch->counters().scans, 1u);
  bus.plug("1-4", 3);
  release.set_value();
  ASSERT_TRUE(run_until(loop, [&] { return watch->counters().scans == 3; }))
      << "what was asked for meanwhile: one more";
  EXPECT_NE(watch->tree().find("1-4"), nullptr);
  EXPECT_EQ(bus.state->most_running, 1);
}

TEST_F(UsbWatchTest, SeesTheBusWhileNamesAreStuck) {
  std::promise<void> release;
  bus.hold_names(release);
  bus.plug("1-4", 3);
  auto watch = open();
  bus.plug("1-5", 4);
  watch->rescan();
  EXPECT_TRUE(run_until(loop, [&] { return watch->tree().find("1-5") != nullptr; }));
  release.set_value();
  EXPECT_TRUE(run_until(loop, [&] { return watch->tree().find("1-5")->product_name == "name of 1-5"; }));
  EXPECT_EQ(watch->tree().find("1-4")->product_name, "name of 1-4");
}

TEST_F(UsbWatchTest, CanBeDestroyedWhileAScanIsStuck) {
  std::promise<void> release;
  {
    auto watch = open();
    bus.hold_scans(release);
    watch->rescan();
    ASSERT_TRUE(comes_true([&] { return bus.state->scans == 2; }));
  }
  loop.run();  // returns: nothing is left open
  release.set_value();
  EXPECT_TRUE(comes_true([&] { return bus.state->running == 0; }));
  EXPECT_EQ(changes, 0);
}

TEST_F(UsbWatchTest, TakesABurstOfTheKernelsEventsAsOne) {
  auto watch = open({.settle = Millis{30}, .settle_limit = Millis{1500}});
  if (!send_events(200)) GTEST_SKIP() << "needs root to make the kernel announce a device";
  ASSERT_TRUE(run_until(loop, [&] { return watch->counters().scans == 2; }));
  EXPECT_GE(watch->counters().events, 200u);
}

TEST_F(UsbWatchTest, ScansDuringAnEndlessStreamOfEvents) {
  auto watch = open({.settle = Millis{1000}, .settle_limit = Millis{50}});
  if (!send_events(1)) GTEST_SKIP() << "needs root to make the kernel announce a device";
  Timer stream(loop);
  stream.repeat(Millis{5}, [] { send_events(1); });
  EXPECT_TRUE(run_until(loop, [&] { return watch->counters().scans >= 4; }));
}

TEST_F(UsbWatchTest, LooksAgainAfterAnOverrun) {
  auto watch = open({.event_buffer = 4096});
  bus.plug("1-4", 3);
  if (!send_events(500)) GTEST_SKIP() << "needs root to make the kernel announce a device";
  ASSERT_TRUE(run_until(loop, [&] { return watch->tree().find("1-4") != nullptr; }));
  EXPECT_GE(watch->counters().overruns, 1u);
  EXPECT_LT(watch->counters().events, 500u);
}

TEST_F(UsbWatchTest, RunsOnAHostAsItIs) {
  auto watch = UsbWatch::open(loop);
  ASSERT_TRUE(watch) << watch.error().message();
  EXPECT_EQ((*watch)->tree().host_has_usb, access("/sys/bus/usb", F_OK) == 0);
}

}  // namespace
}  // namespace dongle
