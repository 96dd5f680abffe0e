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
    requires std::is_arithmetic_v<T>
  LogField(std::string_view k, T v) : key(k), value(fmt::format("{}", v)) {}
  LogField(std::string_view k, DongleId v) : key(k), value(fmt::format("{}", v)) {}
};

/// Writes one line, "2026-… level=warn event=ladder_step dongle=11 stage=modem reason=\"no egress\"", to the sink.
/// Never blocks: a line that the sink can't take at once is dropped and counted.
void log_event(LogEvent event, std::initializer_list<LogField> fields);

/// The line without time stamp, for tests and for formatting elsewhere.
std::string format_log_line(LogEvent event, std::initializer_list<LogField> fields);

/// Where whole lines go (without newline). Default: standard error, non-blocking. Not owned beyond the process.
using LogSink = std::function<void(LogLevel, LogEvent, std::string_view line)>;
void set_log_sink(LogSink sink);
/// Lines below this level are not written. Default: Info.
void set_log_level(LogLevel level);
/// Lines dropped because the sink could not take them.
std::uint64_t log_lines_dropped();

}  // namespace dongle
