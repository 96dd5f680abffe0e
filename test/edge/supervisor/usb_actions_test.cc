#include "supervisor/usb_actions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include <nlohmann/json.hpp>

#include "test/support/run_until.h"
#include "test/support/stuck_file.h"

namespace dongle {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr DongleId k11{11}, k21{21};

/// The helper is a script that notes how it was called, and what the intents on disk were then, and answers as files
/// say: VERB.out is printed, VERB.err is an error with the exit code in its first line, VERB.hang is a file it hangs
/// in. VERB is the verb, for ports "off" or "on".
class UsbActionsTest : public testing::Test {
 protected:
  UsbActionsTest() {
    std::signal(SIGPIPE, SIG_IGN);
    std::string pattern = testing::TempDir() + "usb-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    write("helper", "#!/bin/sh\ncd " + folder_ + R"sh(
verb=$1; [ $verb = port ] && verb=$4
echo "$*" >> calls
cp intents.json intents.at.$verb 2>/dev/null
[ -e $verb$5.hang ] && exec cat "$(cat $verb$5.hang)"
if [ -e $verb.err ]; then tail -n +2 $verb.err >&2; exit $(head -n 1 $verb.err); fi
if [ -e $verb.out ]; then cat $verb.out; else echo '{"effective":true}'; fi
)sh");
    chmod((folder_ + "/helper").c_str(), 0755);
    for (const char* hub : {"usb2", "2-1", "2-2"}) {
      plug(hub, 1, 0x2109, 0x3431);
      tree_.devices[hub].is_hub = true;
    }
    plug("2-1.1", 7);
    plug("2-1.2", 8);
    plug("2-2.1", 9);
    times_.leaving = Millis{200};
    times_.off = Millis{30};
    times_.whole = Millis{600};
    times_.network_device = times_.mode_switch = Millis{200};
    times_.first_retry = Millis{20};
  }
  ~UsbActionsTest() override {
    actions_.reset();
    intents_.reset();
    loop_.run();  // what is being written, and helpers that were killed
    std::filesystem::remove_all(folder_);
  }

  UsbActions& actions() {
    if (!actions_) {
      intents_ = std::make_unique<IntentLog>(loop_, folder_ + "/intents.json");
      actions_ = std::make_unique<UsbActions>(loop_, *intents_, folder_ + "/helper", folder_ + "/hubs.json", times_);
      actions_->on_tree(tree_);
    }
    return *actions_;
  }
  void plug(const std::string& path, int devnum, std::uint16_t vendor = 0x12d1, std::uint16_t product = 0x14dc) {
    UsbDevice& device = tree_.devices[path];
    device.path = path;
    device.devnum = devnum;
    device.vendor = vendor;
    device.product = product;
  }
  void unplug(const std::string& path) { tree_.devices.erase(path); }
  void show() { actions().on_tree(tree_); }

  UsbActions::Done keep() {
    return [this](Result<std::string> r) {
      ++answers_;
      result_ = std::move(r);
    };
  }
  std::string detail() const { return !result_ ? "(none)" : *result_ ? **result_ : result_->error().message(); }
  Errc code() const { return result_ && !*result_ ? result_->error().code : Errc::Cancelled; }
  bool wait(const std::function<bool()>& condition) {
    Timer look(loop_);
    look.repeat(Millis{5}, [] {});  // what a helper writes wakes no loop
    return run_until(loop_, condition);
  }
  void idle(Millis time) {
    bool over = false;
    Timer timer(loop_);
    timer.start(time, [&] { over = true; });
    wait([&] { return over; });
  }
  bool answered() {
    return wait([this] { return answers_ > 0; });
  }
  // Calls of a verb, without `hubs`, which come by themselves.
  std::vector<std::string> calls() const {
    std::vector<std::string> lines;
    std::ifstream in(folder_ + "/calls");
    for (std::string line; std::getline(in, line);)
      if (line != "hubs") lines.push_back(line);
    return lines;
  }
  std::int64_t times_called(const std::string& line) const { return std::ranges::count(calls(), line); }
  bool called(const std::string& line) {
    return wait([&] { return times_called(line) > 0; });
  }
  void write(const std::string& file, const std::string& text) const { std::ofstream(folder_ + "/" + file) << text; }
  void remove(const std::string& file) const { std::filesystem::remove(folder_ + "/" + file); }
  std::string read(const std::string& file) const {
    std::ifstream in(folder_ + "/" + file);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  bool all_undone() {
    return wait([this] { return intents_->pending_usb().empty() && !actions_->is_hub_busy("2-1"); });
  }

  static PowerPlan port_plan(const std::string& hub = "2-1", int port = 1) {
    PowerPlan plan;
    plan.hub = plan.hub_name = hub;
    plan.device_path = usb_child(hub, port);
    plan.cuts = {{{hub, port}, {}}};
    return plan;
  }
  static PowerPlan hub_plan() {
    PowerPlan plan = port_plan();
    plan.kind = PowerPlan::Kind::Hub;
    plan.cuts.push_back({{"2-1", 2}, {}});
    return plan;
  }
  const PowerLesson* lesson(int port) {
    return actions().memory().find({"2-1", 0x2109, 0x3431}, port, std::chrono::system_clock::now());
  }

  std::string folder_;
  UvLoop loop_;
  UsbTimes times_;
  UsbTree tree_;
  std::unique_ptr<IntentLog> intents_;
  std::unique_ptr<UsbActions> actions_;
  std::optional<Result<std::string>> result_;
  int answers_ = 0;
};

TEST_F(UsbActionsTest, CyclesAPortAndTellsWhatItSaw) {
  actions().power_cycle(k11, port_plan(), 1, keep());
  EXPECT_TRUE(actions().is_busy(k11));
  ASSERT_TRUE(called("port 2-1 1 off"));
  unplug("2-1.1");
  show();
  ASSERT_TRUE(called("port 2-1 1 on"));
  EXPECT_THAT(read("intents.at.off"), HasSubstr(R"("hub 2-1":{"ports":[1],"undo":"ports_on"})"))
      << "it stands on disk before anything is switched";
  plug("2-1.1", 17);
  show();
  ASSERT_TRUE(answered());
  EXPECT_THAT(detail(),
              testing::MatchesRegex("left the bus after [0-9.]+ s, off for 0.03 s, back as device 17 after [0-9.]+ s"));
  EXPECT_TRUE(result_->has_value());
  EXPECT_FALSE(actions().is_busy(k11));
  EXPECT_THAT(intents_->pending_usb(), IsEmpty());
  ASSERT_TRUE(lesson(1));
  EXPECT_TRUE(lesson(1)->effective);
  ASSERT_TRUE(wait([this] { return read("hubs.json").find("effective") != std::string::npos; }));
  EXPECT_THAT(calls(), ElementsAre("port 2-1 1 off", "port 2-1 1 on"));
}

TEST_F(UsbActionsTest, IsNotTakenInByAHubThatKeepsThePowerOn) {
  actions().power_cycle(k11, port_plan(), 1, keep());
  ASSERT_TRUE(answered());
  EXPECT_EQ(code(), Errc::Refused);
  EXPECT_THAT(detail(), HasSubstr("the hub says off, but the stick was still there"));
  ASSERT_TRUE(lesson(1));
  EXPECT_FALSE(lesson(1)->effective);
  ASSERT_TRUE(all_undone());
  EXPECT_THAT(calls(), ElementsAre("port 2-1 1 off", "port 2-1 1 on"));
}

TEST_F(UsbActionsTest, RemembersAHubThatTakesTheRequestAndDoesNothing) {
  write("off.out", R"({"effective":false,"ports":[]})");
  actions().power_cycle(k11, port_plan(), 1, keep());
  ASSERT_TRUE(answered());
  EXPECT_THAT(detail(), HasSubstr("leaves the port as it was"));
  ASSERT_TRUE(lesson(1));
  EXPECT_FALSE(lesson(1)->effective);
  EXPECT_TRUE(all_undone());
}

TEST_F(UsbActionsTest, RemembersAHubThatCannotSwitch) {
  write("off.err", "3\nno switch\n");
  actions().power_cycle(k11, port_plan(), 1, keep());
  ASSERT_TRUE(answered());
  EXPECT_EQ(code(), Errc::Unsupported);
  EXPECT_EQ(lesson(1)->evidence, "no switch");
}

TEST_F(UsbActionsTest, LearnsNothingFromAnErrorThatSaysNothingOfTheHub) {
  write("off.err", "4\nno permission\n");
  actions().power_cycle(k11, port_plan(), 1, keep());
  ASSERT_TRUE(answered());
  EXPECT_EQ(code(), Errc::Permission);
  EXPECT_FALSE(lesson(1));
}

TEST_F(UsbActionsTest, SaysSoWhenNothingComesBack) {
  actions().power_cycle(k11, port_plan(), 1, keep());
  ASSERT_TRUE(called("port 2-1 1 off"));
  unplug("2-1.1");
  show();
  ASSERT_TRUE(answered());
  EXPECT_THAT(detail(), HasSubstr("on again, but nothing came back within"));
  EXPECT_FALSE(lesson(1)) << "the stick may be broken";
}

TEST_F(UsbActionsTest, CyclesThePortOfAStickThatIsOffTheBus) {
  unplug("2-1.1");
  actions().power_cycle(k11, port_plan(), 1, keep());
  ASSERT_TRUE(called("port 2-1 1 on"));
  plug("2-1.1", 17);
  show();
  ASSERT_TRUE(answered());
  EXPECT_THAT(detail(), AllOf(HasSubstr("nothing was on the bus"), HasSubstr("back as device 17")));
  EXPECT_FALSE(lesson(1)) << "it was not seen to leave";
}

TEST_F(UsbActionsTest, KeepsThePowerOffForLongerAtASecondTry) {
  times_.long_off = Millis{70};
  actions().power_cycle(k11, port_plan(), 2, keep());
  ASSERT_TRUE(called("port 2-1 1 off"));
  unplug("2-1.1");
  show();
  ASSERT_TRUE(called("port 2-1 1 on"));
  plug("2-1.1", 17);
  show();
  ASSERT_TRUE(answered());
  EXPECT_THAT(detail(), HasSubstr("off for 0.07 s"));
}

TEST_F(UsbActionsTest, CyclesAWholeHubAtOnceAndWaitsForAllToLeave) {
  actions().power_cycle(k11, hub_plan(), 1, keep());
  ASSERT_TRUE(called("port 2-1 1,2 off"));
  unplug("2-1.1");
  show();
  wait([this] { return calls().size() > 1 || answers_ > 0; });
  EXPECT_EQ(code(), Errc::Refused) << "2-1.2 stayed: a ganged hub that keeps its power on";
  EXPECT_FALSE(lesson(HubMemory::kWholeHub)->effective);
  ASSERT_TRUE(all_undone());

  answers_ = 0;
  actions().power_cycle(k11, hub_plan(), 1, keep());
  ASSERT_TRUE(wait([this] { return times_called("port 2-1 1,2 off") == 2; }));
  unplug("2-1.2");
  show();
  plug("2-1.1", 17);
  plug("2-1.2", 18);
  ASSERT_TRUE(wait([this] { return times_called("port 2-1 1,2 on") == 2; }));
  show();
  ASSERT_TRUE(answered());
  EXPECT_THAT(detail(), AllOf(HasSubstr("back as device 17"), HasSubstr("; 1 of 1 others are back")));
}

TEST_F(UsbActionsTest, SwitchesOnAgainWhenItIsCancelledInTheMiddle) {
  times_.off = Seconds(60);
  actions().power_cycle(k11, port_plan(), 1, keep());
  ASSERT_TRUE(called("port 2-1 1 off"));
  unplug("2-1.1");
  show();
  actions().cancel(k11);
  EXPECT_FALSE(actions().is_busy(k11));
  EXPECT_TRUE(actions().is_hub_busy("2-1")) << "until the port is on again";
  ASSERT_TRUE(all_undone());
  EXPECT_THAT(calls(), ElementsAre("port 2-1 1 off", "port 2-1 1 on"));
  EXPECT_EQ(answers_, 0);
}

TEST_F(UsbActionsTest, WaitsForAHelperUnderWayBeforeItSwitchesOnAgain) {
  write("off.hang", "off.fifo");
  ASSERT_EQ(mkfifo((folder_ + "/off.fifo").c_str(), 0600), 0);
  actions().power_cycle(k11, port_plan(), 1, keep());
  ASSERT_TRUE(called("port 2-1 1 off"));
  actions().cancel(k11);
  idle(Millis{50});
  EXPECT_THAT(calls(), ElementsAre("port 2-1 1 off"));
  write("off.fifo", "{}");
  ASSERT_TRUE(all_undone());
  EXPECT_THAT(calls(), ElementsAre("port 2-1 1 off", "port 2-1 1 on"));
}

TEST_F(UsbActionsTest, TriesToSwitchOnUntilItIsConfirmed) {
  write("on.err", "1\nport 1 of hub 2-1 stays off\n");
  actions().power_cycle(k11, port_plan(), 1, keep());
  ASSERT_TRUE(called("port 2-1 1 off"));
  unplug("2-1.1");
  show();
  ASSERT_TRUE(answered());
  EXPECT_THAT(detail(), AllOf(HasSubstr("switching on failed"), HasSubstr("tried again until it works")));
  ASSERT_TRUE(wait([this] { return times_called("port 2-1 1 on") >= 3; }));
  EXPECT_THAT(read("intents.json"), HasSubstr("ports_on"));
  remove("on.err");
  ASSERT_TRUE(all_undone());
}

TEST_F(UsbActionsTest, UndoesWhatAnEarlierRunLeftOff) {
  write("intents.json",
        R"({"hub 2-1":{"undo":"ports_on","ports":[1,3]},"device 2-2.1":{"undo":"authorize"},"11":{"undo":"x"}})");
  actions().undo_pending();
  ASSERT_TRUE(called("port 2-1 1,3 on"));
  ASSERT_TRUE(called("authorize 2-2.1 1"));
  ASSERT_TRUE(all_undone());
  EXPECT_TRUE(wait([this] { return read("intents.json") == "{\"11\":{\"undo\":\"x\"}}\n"; })) << "a modem's own stays";
}

TEST_F(UsbActionsTest, ForgetsWhatCannotBeUndoneBecauseItIsGone) {
  write("intents.json", R"({"hub 2-9":{"undo":"ports_on","ports":[1]},"hub 2-8":{"undo":"ports_on"}})");
  write("on.err", "5\nnothing is plugged in at 2-9\n");
  actions().undo_pending();
  EXPECT_TRUE(all_undone());
}

TEST_F(UsbActionsTest, IsShutDownWithEveryPortOn) {
  times_.off = Seconds(60);
  actions().power_cycle(k11, port_plan(), 1, keep());
  ASSERT_TRUE(called("port 2-1 1 off"));
  unplug("2-1.1");
  show();
  bool down = false;
  actions().shut_down(Seconds(2), [&] { down = true; });
  ASSERT_TRUE(wait([&] { return down; }));
  EXPECT_THAT(calls(), ElementsAre("port 2-1 1 off", "port 2-1 1 on"));
  EXPECT_EQ(answers_, 0);
}

TEST_F(UsbActionsTest, LeavesTheIntentForTheNextStartWhenPatienceEnds) {
  write("on.err", "1\nno\n");
  times_.off = Seconds(60);
  actions().power_cycle(k11, port_plan(), 1, keep());
  ASSERT_TRUE(called("port 2-1 1 off"));
  bool down = false;
  actions().shut_down(Millis{100}, [&] { down = true; });
  ASSERT_TRUE(wait([&] { return down; }));
  EXPECT_THAT(read("intents.json"), HasSubstr("ports_on"));
}

TEST_F(UsbActionsTest, DoesOneThingAtATimeOnAHub) {
  actions().power_cycle(k11, port_plan(), 1, [](auto) {});
  actions().power_cycle(k21, port_plan("2-1", 2), 1, keep());
  EXPECT_EQ(answers_, 0) << "not from inside the call";
  ASSERT_TRUE(answered());
  EXPECT_EQ(code(), Errc::Busy);
  answers_ = 0;
  actions().rebind(k11, "2-1.1", keep());
  ASSERT_TRUE(answered());
  EXPECT_EQ(code(), Errc::Busy);
}

TEST_F(UsbActionsTest, LeavesThePowerOffForAnOperatorAndTurnsItOnAgain) {
  actions().power_off(k11, port_plan(), keep());
  ASSERT_TRUE(called("port 2-1 1 off"));
  unplug("2-1.1");
  show();
  ASSERT_TRUE(answered());
  EXPECT_THAT(detail(), HasSubstr("the power is off"));
  EXPECT_THAT(intents_->pending_usb(), IsEmpty()) << "off is what was wanted, over a restart too";
  answers_ = 0;
  actions().power_on(k11, port_plan(), keep());
  ASSERT_TRUE(called("port 2-1 1 on"));
  plug("2-1.1", 17);
  show();
  ASSERT_TRUE(answered());
  EXPECT_THAT(detail(), HasSubstr("back as device 17"));
}

TEST_F(UsbActionsTest, SwitchesAStickFromMassStorage) {
  plug("2-1.1", 7, 0x12d1, 0x1f01);
  actions().mode_switch(k11, "2-1.1", keep());
  ASSERT_TRUE(called("mode-switch 2-1.1"));
  unplug("2-1.1");
  show();
  plug("2-1.1", 8);
  show();
  ASSERT_TRUE(answered());
  EXPECT_THAT(detail(), HasSubstr("back as 12d1:14dc, device 8, after"));
}

TEST_F(UsbActionsTest, SaysWhatBecameOfAStickThatDidNotSwitch) {
  plug("2-1.1", 7, 0x12d1, 0x1f01);
  actions().mode_switch(k11, "2-1.1", keep());
  ASSERT_TRUE(called("mode-switch 2-1.1"));
  plug("2-1.1", 8, 0x12d1, 0x1f01);  // came back as it was
  show();
  ASSERT_TRUE(answered());
  EXPECT_EQ(code(), Errc::Refused);
  EXPECT_THAT(detail(), HasSubstr("still 12d1:1f01, 0.2 s after the switch message"));
  EXPECT_THAT(calls(), ElementsAre("mode-switch 2-1.1")) << "once";
}

TEST_F(UsbActionsTest, RebindsAndTakesTheHelpersWordForTheNetworkDevice) {
  write("rebind.out", R"({"interfaces":[],"net_devices":["wwan3"]})");
  actions().rebind(k11, "2-1.1", keep());
  ASSERT_TRUE(answered());
  EXPECT_EQ(detail(), "drivers unbound and bound: wwan3 is there");
}

TEST_F(UsbActionsTest, WaitsForANetworkDeviceThatComesLater) {
  tree_.devices["2-1.1"].interfaces = {{0, 2, 6, 0, "cdc_ether", {"wwan0"}}};  // the tree from before
  actions().set_configuration(k11, "2-1.1", keep());
  ASSERT_TRUE(called("configuration 2-1.1 network"));
  idle(Millis{50});
  EXPECT_EQ(answers_, 0);
  show();
  ASSERT_TRUE(answered());
  EXPECT_THAT(detail(), HasSubstr("wwan0 is there"));
}

TEST_F(UsbActionsTest, GivesUpOnANetworkDeviceThatDoesNotCome) {
  actions().rebind(k11, "2-1.1", keep());
  ASSERT_TRUE(answered());
  EXPECT_THAT(detail(), HasSubstr("no network device within 0.2 s"));
}

TEST_F(UsbActionsTest, WritesDownThatADeviceIsUnauthorizedWhileItIs) {
  write("reauthorize.out", R"({"authorized":true,"net_devices":["wwan0"]})");
  actions().reauthorize(k11, "2-1.1", keep());
  ASSERT_TRUE(answered());
  EXPECT_TRUE(result_->has_value()) << detail();
  EXPECT_THAT(read("intents.at.reauthorize"), HasSubstr(R"("device 2-1.1":{"undo":"authorize"})"));
  EXPECT_THAT(intents_->pending_usb(), IsEmpty());
}

TEST_F(UsbActionsTest, AuthorizesADeviceAgainWhenTheHelperFailsHalfWay) {
  write("reauthorize.err", "1\nwrite 1: Input/output error\n");
  actions().reauthorize(k11, "2-1.1", keep());
  ASSERT_TRUE(answered());
  ASSERT_TRUE(called("authorize 2-1.1 1"));
  EXPECT_TRUE(wait([this] { return intents_->pending_usb().empty(); }));
}

TEST_F(UsbActionsTest, SaysThatNothingIsPluggedIn) {
  actions().rebind(k11, "2-1.4", keep());
  ASSERT_TRUE(answered());
  EXPECT_EQ(code(), Errc::NotFound);
  EXPECT_THAT(calls(), IsEmpty());
}

TEST_F(UsbActionsTest, SaysThatTheHelperIsMissing) {
  remove("helper");
  actions().rebind(k11, "2-1.1", keep());
  ASSERT_TRUE(answered());
  EXPECT_EQ(code(), Errc::Io) << "not NotFound: the device is there";
  EXPECT_THAT(detail(), HasSubstr("helper"));
}

TEST_F(UsbActionsTest, AsksTheHubsWhenOneComesOrGoes) {
  write("hubs.out", R"({"hubs":[{"location":"2-1","switching":"ganged","ports":[]}]})");
  actions();
  ASSERT_TRUE(wait([this] { return actions().hub_facts().contains("2-1"); }));
  EXPECT_EQ(actions().hub_facts().at("2-1").switching, PowerSwitching::Ganged);
  write("hubs.out", R"({"hubs":[]})");
  unplug("2-2");
  show();
  EXPECT_TRUE(wait([this] { return actions().hub_facts().empty(); }));
}

// The helper is really held by the kernel: it waits for a file system that never answers, deaf to SIGKILL.
class UsbActionsStuck : public UsbActionsTest {
 protected:
  void SetUp() override {
    file_ = std::make_unique<StuckFile>();
    if (!*file_) GTEST_SKIP() << "needs root and FUSE";
    times_.switching = Millis{50};
  }
  // Longer than run_until() has patience for: each helper is given ChildProcess::kKillGrace.
  bool wait_long(const std::function<bool()>& condition) { return wait(condition) || wait(condition); }
  std::unique_ptr<StuckFile> file_;
};

TEST_F(UsbActionsStuck, HubIsLeftAloneAndEveryoneElseGoesOn) {
  for (const char* verb : {"off.hang", "off--raw.hang"}) write(verb, file_->path());
  actions().power_cycle(k11, port_plan(), 1, keep());
  ASSERT_TRUE(called("port 2-1 1 off"));

  std::optional<Result<std::string>> other;
  write("rebind.out", R"({"net_devices":["wwan3"]})");
  actions().rebind(k21, "2-2.1", [&](auto r) { other = std::move(r); });
  ASSERT_TRUE(wait([&] { return other.has_value(); }));
  EXPECT_TRUE(other->has_value()) << "another hub's stick";

  ASSERT_TRUE(wait_long([this] { return answers_ > 0; }));
  EXPECT_EQ(code(), Errc::Busy);
  EXPECT_THAT(detail(), HasSubstr("the kernel holds hub 2-1"));
  EXPECT_EQ(calls()[2], "port 2-1 1 off --raw") << "tried once past the kernel's hub driver";
  EXPECT_TRUE(actions().held_hubs().contains("2-1"));
  EXPECT_EQ(actions().helpers_given_up(), 2);

  answers_ = 0;
  actions().rebind(k11, "2-1.1", keep());
  ASSERT_TRUE(answered());
  EXPECT_EQ(code(), Errc::Busy) << "nothing is tried there for a while";

  auto seen = calls().size();
  file_.reset();
  ASSERT_TRUE(all_undone());
  EXPECT_GT(calls().size(), seen)
      << "the helper may have switched the port off at its end: it is switched on after that";
  EXPECT_EQ(calls().back(), "port 2-1 1 on");
  EXPECT_THAT(actions().held_hubs(), IsEmpty());
}

TEST_F(UsbActionsStuck, PowerIsCutPastTheKernelWhenOnlyItsOwnWayHangs) {
  write("off.hang", file_->path());
  actions().power_cycle(k11, port_plan(), 1, keep());
  ASSERT_TRUE(called("port 2-1 1 off --raw"));
  unplug("2-1.1");
  show();
  ASSERT_TRUE(called("port 2-1 1 on --raw"));
  plug("2-1.1", 17);
  show();
  ASSERT_TRUE(answered());
  EXPECT_THAT(detail(), HasSubstr("back as device 17"));
  EXPECT_THAT(read("intents.json"), HasSubstr("ports_on")) << "the helper that hangs may still switch it off";
  file_.reset();
  ASSERT_TRUE(all_undone());
  EXPECT_EQ(calls().back(), "port 2-1 1 on");
}

TEST_F(UsbActionsStuck, HelperNeverDelaysTheLoop) {
  write("off.hang", file_->path());
  Millis longest{0};
  TimePoint last{};
  Timer beat(loop_);
  actions();
  beat.repeat(Millis{5}, [&] {
    if (last != TimePoint{}) longest = std::max(longest, std::chrono::duration_cast<Millis>(UvLoop::now() - last));
    last = UvLoop::now();
  });
  actions().power_cycle(k11, port_plan(), 1, keep());
  wait_long([this] { return answers_ > 0; });
  EXPECT_LT(longest, Millis{50});
}

}  // namespace
}  // namespace dongle
