#include "supervisor/child_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

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

}  // namespace
}  // namespace dongle
