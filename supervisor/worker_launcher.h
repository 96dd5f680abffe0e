#pragma once
#include <functional>
#include <memory>
#include <string>

#include "common/error.h"
#include "common/ids.h"
#include "common/unique_fd.h"
#include "common/uv_handle.h"

namespace dongle {

/// A running worker process, watched by pidfd. Destroying it ends the watch, not the process.
class WorkerProcess {
 public:
  /// how: "exited with 1", "killed by signal 9", or "ended" where the kernel doesn't tell (not our child).
  using OnExit = std::function<void(const std::string& how)>;
  WorkerProcess(UvLoop& loop, int pid, UniqueFd pidfd, OnExit on_exit);

  int pid() const { return pid_; }
  void kill(int signum);

 private:
  int pid_;
  UniqueFd pidfd_;
  OnExit on_exit_;
  Poll poll_;
};

/// How workers come to life. Two kinds: as children of the supervisor, or as systemd units.
struct WorkerLauncher {
  virtual ~WorkerLauncher() = default;
  /// Starts a worker under its own uid; its log goes to `log_fd`. It will register on worker.sock.
  virtual Result<std::unique_ptr<WorkerProcess>> start(DongleId id, int log_fd, WorkerProcess::OnExit on_exit) = 0;
  /// Watches a worker that an earlier supervisor started.
  virtual Result<std::unique_ptr<WorkerProcess>> adopt(int pid, WorkerProcess::OnExit on_exit) = 0;
};

/// Workers as children that outlive us: a session of their own, no death signal.
class ForkLauncher : public WorkerLauncher {
 public:
  struct Options {
    std::string worker_binary;
    std::string runtime_dir;
    std::uint32_t uid_base = 0;
  };
  /// Not found or not executable: an error that names the file.
  static Result<std::unique_ptr<ForkLauncher>> create(UvLoop& loop, Options options);

  Result<std::unique_ptr<WorkerProcess>> start(DongleId id, int log_fd, WorkerProcess::OnExit on_exit) override;
  Result<std::unique_ptr<WorkerProcess>> adopt(int pid, WorkerProcess::OnExit on_exit) override;

 private:
  ForkLauncher(UvLoop& loop, Options options, UniqueFd binary, UniqueFd runtime_dir)
      : loop_(loop), options_(std::move(options)), binary_(std::move(binary)), runtime_dir_(std::move(runtime_dir)) {}
  UvLoop& loop_;
  Options options_;
  UniqueFd binary_;       // opened by us: the worker's uid may not be able to walk the path
  UniqueFd runtime_dir_;  // likewise
};

}  // namespace dongle
