#include "supervisor/child_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>

#include "test/support/run_until.h"
#include "test/support/stuck_file.h"

namespace dongle {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Runs the command on a loop of its own until its end.
ChildResult run(ChildProcess::Command command) {
  std::signal(SIGPIPE, SIG_IGN);
  UvLoop loop;
  ChildResult result;
  auto child = ChildProcess::start(loop, std::move(command), [&](ChildResult r) { result = std::move(r); });
  EXPECT_TRUE(child);
  loop.run();
  return result;
}

ChildProcess::Command shell(std::string script) {
  ChildProcess::Command command;
  command.argv = {"sh", "-c", std::move(script)};
  return command;
}

TEST(ChildProcess, GivesInputAndCollectsOutput) {
  auto command = shell("cat; echo oops >&2; exit 3");
  command.input = std::string(300'000, 'x');
  command.max_output = 1 << 20;
  auto result = run(std::move(command));
  EXPECT_EQ(result.out.size(), 300'000u);
  EXPECT_EQ(result.err, "oops\n");
  EXPECT_EQ(result.exit_status, 3);
  EXPECT_FALSE(result.ok());
  EXPECT_EQ(result.summary(), "exit status 3: oops");
}

TEST(ChildProcess, KeepsABoundedPartOfMuchOutput) {
  auto command = shell("head -c 300000 /dev/zero");
  command.max_output = 1000;
  auto result = run(std::move(command));
  EXPECT_EQ(result.out.size(), 1000u);
  EXPECT_TRUE(result.truncated);
  EXPECT_TRUE(result.ok());
}

TEST(ChildProcess, IsKilledAtItsDeadline) {
  auto command = shell("exec sleep 60");
  command.deadline = Millis{20};
  auto result = run(std::move(command));
  EXPECT_TRUE(result.timed_out);
  EXPECT_EQ(result.term_signal, SIGKILL);
}

TEST(ChildProcess, SurvivesAChildThatDoesNotReadItsInput) {
  auto command = shell("exit 0");
  command.input = std::string(1 << 20, 'x');
  EXPECT_TRUE(run(std::move(command)).ok());
}

TEST(ChildProcess, EndsWithTheChildThoughAGrandchildHoldsItsOutput) {
  auto result = run(shell("sleep 5 & echo started"));
  EXPECT_EQ(result.out, "started\n");
  EXPECT_TRUE(result.ok());
}

TEST(ChildProcess, HandsLinesOverAsTheyComeAndCutsLongOnes) {
  auto command = shell("printf 'one\\ntwo\\n'; head -c 5000 /dev/zero | tr '\\0' y; printf '\\nthree\\nunfinished'");
  command.max_line = 10;
  std::vector<std::string> lines;
  command.on_line = [&](std::string_view line) { lines.emplace_back(line); };
  run(std::move(command));
  EXPECT_THAT(lines, ElementsAre("one", "two", std::string(11, 'y'), "three"));
}

TEST(ChildProcess, SaysWhichProgramIsMissing) {
  UvLoop loop;
  ChildProcess::Command command;
  command.argv = {"no-such-program"};
  auto child = ChildProcess::start(loop, std::move(command), [](ChildResult) { FAIL(); });
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().code, Errc::NotFound);
  EXPECT_THAT(child.error().message(), HasSubstr("no-such-program"));
}

TEST(ChildProcess, DiesWithItsOwnerAndCallsBackNoMore) {
  UvLoop loop;
  auto command = shell("echo line; exec sleep 60");
  std::unique_ptr<ChildProcess> child;
  int pid = 0;
  command.on_line = [&](std::string_view) {
    pid = child->pid();
    child.reset();
  };
  child = ChildProcess::start(loop, std::move(command), [](ChildResult) { FAIL(); }).value();
  loop.run();  // ends only when the child has been reaped
  EXPECT_EQ(kill(pid, 0), -1);
}

// What a USB driver does that waits for a dead device: the child is in state D, and SIGKILL changes nothing.
class StuckChild : public testing::Test {
 protected:
  void SetUp() override {
    if (!file_) GTEST_SKIP() << "needs root and FUSE";
  }
  ChildProcess::Command command() const {
    ChildProcess::Command c;
    c.argv = {"cat", file_->path()};
    c.deadline = Millis{50};
    return c;
  }
  std::unique_ptr<StuckFile> file_ = [] {
    auto file = std::make_unique<StuckFile>();
    return *file ? std::move(file) : nullptr;
  }();
};

TEST_F(StuckChild, IsGivenUpOnAndReapedInPassing) {
  UvLoop loop;
  std::optional<ChildResult> result;
  bool ended_late = false;
  auto c = command();
  c.on_late_end = [&] { ended_late = true; };
  auto child = ChildProcess::start(loop, std::move(c), [&](ChildResult r) { result = std::move(r); }).value();
  int pid = child->pid();
  ASSERT_TRUE(run_until(loop, [&] { return result.has_value(); }));
  EXPECT_TRUE(result->stuck);
  EXPECT_TRUE(result->timed_out);
  EXPECT_FALSE(result->ok());
  EXPECT_THAT(result->summary(), HasSubstr("the kernel doesn't let it die"));
  EXPECT_EQ(kill(pid, 0), 0) << "it is still there";
  EXPECT_EQ(ChildProcess::stuck(loop).now, 1);

  child.reset();
  file_.reset();
  EXPECT_TRUE(run_until(loop, [&] { return ended_late; }));
  EXPECT_EQ(kill(pid, 0), -1) << "reaped";
  EXPECT_EQ(ChildProcess::stuck(loop).now, 0);
  EXPECT_EQ(ChildProcess::stuck(loop).ever, 1u);
}

TEST_F(StuckChild, NeverDelaysTheLoop) {
  UvLoop loop;
  Millis longest{0};
  TimePoint last = UvLoop::now();
  Timer beat(loop);
  beat.repeat(Millis{5}, [&] {
    auto now = UvLoop::now();
    longest = std::max(longest, std::chrono::duration_cast<Millis>(now - last));
    last = now;
  });
  bool over = false;
  auto child = ChildProcess::start(loop, command(), [&](ChildResult) { over = true; }).value();
  last = UvLoop::now();
  ASSERT_TRUE(run_until(loop, [&] { return over; }));
  child.reset();
  EXPECT_LT(longest, Millis{50});
}

TEST_F(StuckChild, IsLeftBehindWhenTheLoopEnds) {
  TimePoint began = UvLoop::now();
  {
    UvLoop loop;
    auto child = ChildProcess::start(loop, command(), [](ChildResult) { FAIL(); });
    Timer end(loop);
    end.start(Millis{20}, [&] { child->reset(); });
    loop.run();
  }
  EXPECT_LT(UvLoop::now() - began, ChildProcess::kKillGrace + Seconds(1));
}

TEST_F(StuckChild, DoesNotMultiplyAndHoldsUpNoOtherProgram) {
  UvLoop loop;
  std::vector<std::unique_ptr<ChildProcess>> children;
  int given_up = 0;
  for (int i = 0; i < ChildProcess::kMaxStuck; ++i)
    children.push_back(ChildProcess::start(loop, command(), [&](ChildResult r) { given_up += r.stuck; }).value());
  ASSERT_TRUE(run_until(loop, [&] { return given_up == ChildProcess::kMaxStuck; }));
  auto refused = ChildProcess::start(loop, command(), [](ChildResult) { FAIL(); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::Full);
  bool ok = false;
  auto other = ChildProcess::start(loop, shell("exit 0"), [&](ChildResult r) { ok = r.ok(); }).value();
  EXPECT_TRUE(run_until(loop, [&] { return ok; }));
}

}  // namespace
}  // namespace dongle
