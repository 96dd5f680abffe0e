#include "worker/dial_report.h"

namespace dongle {

std::optional<DialResult> DialReport::add(std::string_view reason, TimePoint now) {
  if (reason.empty()) {
    bool is_news = std::exchange(last_failed_, false);
    if (!is_news && now - success_sent_ < Seconds{1}) return std::nullopt;
    success_sent_ = now;
    return DialResult{true, ""};
  }
  last_failed_ = true;
  if (now - window_start_ >= Seconds{1}) {
    window_start_ = now;
    failures_in_window_ = 0;
  }
  if (++failures_in_window_ > kMaxFailures) return std::nullopt;
  return DialResult{false, std::string(reason)};
}

}  // namespace dongle
