#pragma once
#include <optional>
#include <string_view>

#include "common/clock.h"
#include "common/ipc_message.h"

namespace dongle {

/// Which of many connects' outcomes the supervisor hears of: every failure, the first success after one, and else a
/// success a second. A flood of failures is cut to kMaxFailures a second; the supervisor has made up its mind by then.
class DialReport {
 public:
  static constexpr int kMaxFailures = 20;
  /// reason: empty for success. nullopt: nothing to send.
  std::optional<DialResult> add(std::string_view reason, TimePoint now);

 private:
  bool last_failed_ = false;
  TimePoint success_sent_{};
  TimePoint window_start_{};
  int failures_in_window_ = 0;
};

}  // namespace dongle
