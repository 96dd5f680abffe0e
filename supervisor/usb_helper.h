#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/json.h"
#include "common/uv_handle.h"
#include "supervisor/child_process.h"

namespace dongle {

/// Runs `dongle-usb VERB…` in a child process, one run an object. Destroying it kills the helper and calls back no
/// more.
class UsbHelper {
 public:
  struct Reply {
    /// What it printed. Errors by its exit code: Unsupported, NotFound, Permission, Io; Timeout at its deadline.
    Result<Json> result;
    bool stuck = false;  ///< it could not even be killed: the kernel holds it, and what it was switching
  };
  /// program: path of dongle-usb. done: once, from the loop; may destroy the UsbHelper. on_late_end: a stuck helper has
  /// ended after all, what it was told to do may only now have happened; may come after the UsbHelper's destruction.
  UsbHelper(UvLoop& loop, const std::string& program, std::vector<std::string> arguments, Millis deadline,
            std::function<void(Reply)> done, std::function<void()> on_late_end = {});

 private:
  std::unique_ptr<ChildProcess> child_;
  std::unique_ptr<Timer> failed_to_start_;
};

}  // namespace dongle
