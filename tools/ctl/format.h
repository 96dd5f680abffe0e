#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/clock.h"

namespace dongle::ctl {

/// "0 B", "1.5 KiB", "12 MiB": three digits at most.
std::string format_bytes(std::int64_t bytes);
std::string format_rate(std::int64_t bytes_per_s);  ///< "1.5 KiB/s"

/// RFC 3339 in UTC, with or without a fraction.
std::optional<WallTime> parse_rfc3339(std::string_view text);
/// How long ago, "5m12s"; "-" if `since` is no time; a time in the future counts as now.
std::string format_age(std::string_view since, WallTime now);

/// Text from a modem or a log made safe for a terminal: control characters become '?', line ends blanks.
std::string printable(std::string_view text);
/// Columns that UTF-8 text takes, a code point counted as one.
std::size_t display_width(std::string_view text);

}  // namespace dongle::ctl
