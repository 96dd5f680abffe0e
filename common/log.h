#pragma once
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "common/ids.h"

namespace dongle {

enum class LogLevel { Debug, Info, Warn, Error };

/// One value for each row of log_events.def.
enum class LogEvent {
#define EVENT(name, level, text) name,
#include "common/log_events.def"
#undef EVENT
};

const char* event_name(LogEvent event);
LogLevel event_level(LogEvent event);

/// key=value of one log line. Numbers, ids and text convert by themselves. No passwords, IMSI or payload.
struct LogField {
  std::string_view key;
  std::string value;
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v) {}
  LogField(std::string_view k, bool v) : key(k), value(v ? "true" : "false") {}
  template <class T>
  requires std::is_arithmetic_v<T> LogField(std::string_view k, T v) : key(k), value(fmt::format("{}", v)) {}
  LogField(std::string_view k, DongleId v) : key(k), value(fmt::format("{}", v)) {}
};

/// Writes one line, "2026-… level=warn event=ladder_step dongle=11 stage=modem reason=\"no egress\"", to
/// standard error. Never blocks: a line that doesn't fit at once is dropped and counted.
void log_event(LogEvent event, std::initializer_list<LogField> fields);

/// The line without time stamp, for tests and for formatting elsewhere.
std::string format_log_line(LogEvent event, std::initializer_list<LogField> fields);

/// Beside standard error: gets every line that carries a dongle, as it is written, with its newline. Must not block.
using DongleLogSink = std::function<void(std::string_view dongle, std::string_view line)>;
void set_dongle_log_sink(DongleLogSink sink);
/// Lines below this level are not written. Default: Info.
void set_log_level(LogLevel level);
/// Lines dropped because standard error could not take them.
std::uint64_t log_lines_dropped();

}  // namespace dongle
