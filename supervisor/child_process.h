#pragma once
#include <uv.h>

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
  bool truncated = false;  ///< it said more than was kept
  std::string out;
  std::string err;
  bool ok() const { return exit_status == 0 && term_signal == 0 && !timed_out; }
  /// "exit status 1: Error: no such table": for an error's context. First line of what it said, cut to a sane length.
  std::string summary() const;
};

/// A child process with text on its standard input and its output collected. Destroying it kills the child and calls
/// back no more. SIGPIPE must be ignored in the process.
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
  };
  using Done = std::function<void(ChildResult)>;

  /// Fails if it can't be started: NotFound (no such program), Permission, Full (out of processes or memory).
  /// done is called once, from the loop, after the child is gone; it may destroy the ChildProcess.
  static Result<std::unique_ptr<ChildProcess>> start(UvLoop& loop, Command command, Done done);
  ~ChildProcess();
  int pid() const { return pid_; }

 private:
  struct Stream;
  ChildProcess(UvLoop& loop, Command command, Done done);
  Result<void> spawn();
  void read_from(Stream& stream);
  void on_output(Stream& stream, ssize_t size, const char* data);
  void take_lines(Stream& stream);
  void on_exit(std::int64_t status, int signal);
  void finish_if_over();
  void finish();

  UvLoop& loop_;
  Command command_;
  Done done_;
  uv_process_t* process_ = nullptr;  // until the child is reaped, which may be after our end
  int pid_ = 0;
  std::unique_ptr<Stream> in_, out_, err_;
  Timer deadline_;
  ChildResult result_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dongle
