#pragma once
#include <memory>
#include <string>

#include "common/ids.h"
#include "common/uv_handle.h"

namespace dongle {

/// One modem's worker, whole: serves what the supervisor set up, and goes on doing so without it.
class Worker {
 public:
  struct Options {
    DongleId id;
    int runtime_fd = -1;      ///< an open directory that has worker.sock; -1: none
    std::string runtime_dir;  ///< its path; empty: none
    bool log_connections = false;
  };
  /// It leaves after this long without a supervisor if it never had one.
  static constexpr Millis kOrphanTimeout{60000};

  Worker(UvLoop& loop, Options options);
  ~Worker();

  /// Error: the kernel won't tell of devices and addresses, without which there is no guard.
  Result<void> start();
  /// Stops as the supervisor's Stop{0} does: SIGTERM.
  void stop();
  /// What the process returns once the loop has ended.
  int exit_code() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dongle
