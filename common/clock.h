#pragma once
#include <chrono>
#include <string>

namespace dongle {

/// Monotonic time: all timers and deadlines.
using TimePoint = std::chrono::steady_clock::time_point;
/// Wall-clock time: display only, it may jump.
using WallTime = std::chrono::system_clock::time_point;
using Millis = std::chrono::milliseconds;
using Seconds = std::chrono::seconds;

/// RFC 3339 in UTC with milliseconds: "2026-11-22T01:02:03.456Z".
std::string to_rfc3339(WallTime time);

/// "250ms", "10s", "1h5m": for people. Rounds to two units.
std::string format_duration(Millis duration);

}  // namespace dongle
