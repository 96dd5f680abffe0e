#include "common/clock.h"

#include <ctime>

#include <fmt/format.h>

namespace dongle {

std::string to_rfc3339(WallTime time) {
  auto ms = std::chrono::floor<Millis>(time).time_since_epoch();
  auto secs = std::chrono::floor<Seconds>(ms);
  std::time_t t = secs.count();
  std::tm tm{};
  gmtime_r(&t, &tm);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                     tm.tm_hour, tm.tm_min, tm.tm_sec, (ms - secs).count());
}

std::string format_duration(Millis duration) {
  auto ms = duration.count();
  if (ms < 1000) return fmt::format("{}ms", ms);
  auto s = ms / 1000;
  if (s < 60)
    return ms % 1000 && s < 10 ? fmt::format("{:.1f}s", static_cast<double>(ms) / 1000.0) : fmt::format("{}s", s);
  if (s < 3600) return s % 60 ? fmt::format("{}m{}s", s / 60, s % 60) : fmt::format("{}m", s / 60);
  if (s < 86400) return s % 3600 / 60 ? fmt::format("{}h{}m", s / 3600, s % 3600 / 60) : fmt::format("{}h", s / 3600);
  return s % 86400 / 3600 ? fmt::format("{}d{}h", s / 86400, s % 86400 / 3600) : fmt::format("{}d", s / 86400);
}

}  // namespace dongle
