#pragma once
#include <uv.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/uv_handle.h"

namespace dongle {

/// How a child ended, and what it said.
struct ChildResult {
  int exit_status = 0;
  int term_signal = 0;     ///< 0: it left by itself
  bool timed_out = false;  ///< killed at its deadline
  bool stuck = false;      ///< and given up on: the kernel holds it, SIGKILL or not
  bool truncated = false;  ///< it said more than was kept
  std::string out;
  std::string err;
  bool ok() const { return exit_status == 0 && term_signal == 0 && !timed_out; }
  /// "exit status 1: Error: no such table": for an error's context. First line of what it said, cut to a sane length.
  std::string summary() const;
};

/// A child process with text on its standard input and its output collected. Destroying it kills the child and calls
/// back no more. SIGPIPE must be ignored in the process.
/// A child that a system call holds (a USB driver that never answers) dies of no signal. It is given up on: nothing
/// waits for it, not even the end of the loop; if the kernel lets go of it one day, it is reaped in passing.
class ChildProcess {
 public:
  struct Command {
    std::vector<std::string> argv;  ///< argv[0] is looked up in /usr/sbin:/usr/bin:/sbin:/bin
    std::string input;
    Millis deadline{10'000};         ///< then SIGKILL; 0: none
    std::size_t max_output = 65536;  ///< of each stream; the rest is read and dropped
    std::size_t max_line = 1024;     ///< with on_line: longer lines are handed over cut off
    /// Set: gets each line of standard output as it comes instead of collecting it. May destroy the ChildProcess.
    std::function<void(std::string_view)> on_line;
    /// A child that was given up on has ended after all: what it was about may only now have happened. Also called
    /// after the ChildProcess is gone, so it must not rely on its owner's life.
    std::function<void()> on_late_end;
  };
  using Done = std::function<void(ChildResult)>;

  /// How long after SIGKILL a child is given up on. Dying takes milliseconds, on a loaded machine tenths of a second.
  static constexpr Millis kKillGrace{1000};
  /// As many of one program may be held by the kernel; then no more of it are started.
  static constexpr int kMaxStuck = 8;

  /// Fails if it can't be started: NotFound (no such program), Permission, Full (out of processes or memory, or
  /// kMaxStuck). done is called once, from the loop, after the child is gone or given up on; it may destroy the
  /// ChildProcess.
  static Result<std::unique_ptr<ChildProcess>> start(UvLoop& loop, Command command, Done done);
  ~ChildProcess();
  int pid() const { return pid_; }

  /// Children of this loop, of all programs: held by the kernel now, and ever given up on.
  struct StuckCount {
    int now = 0;
    std::uint64_t ever = 0;
  };
  static StuckCount stuck(UvLoop& loop);

 private:
  struct Stream;
  struct Exit;
  class Stragglers;
  ChildProcess(UvLoop& loop, Command command, Done done);
  Result<void> spawn();
  void read_from(Stream& stream);
  void on_output(Stream& stream, ssize_t size, const char* data);
  void take_lines(Stream& stream);
  void kill_at_deadline();
  void give_up();
  void on_exit(std::int64_t status, int signal);
  void finish_if_over();
  void finish();

  UvLoop& loop_;
  Command command_;
  Done done_;
  uv_process_t* process_ = nullptr;  // until the child is reaped or left to the stragglers
  std::unique_ptr<Exit> exit_;
  int pid_ = 0;
  std::unique_ptr<Stream> in_, out_, err_;
  Timer deadline_;
  ChildResult result_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dongle
