#include "common/log.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "common/clock.h"

namespace dongle {
namespace {

struct EventInfo {
  const char* name;
  LogLevel level;
};
constexpr EventInfo kEvents[] = {
#define EVENT(name, level, text) {#name, LogLevel::level},
#include "common/log_events.def"
#undef EVENT
};

LogLevel minimum_level = LogLevel::Info;
DongleLogSink dongle_sink;
std::uint64_t dropped = 0;

const char* level_name(LogLevel level) {
  switch (level) {
    case LogLevel::Debug: return "debug";
    case LogLevel::Info: return "info";
    case LogLevel::Warn: return "warn";
    case LogLevel::Error: return "error";
  }
  return "unknown";
}

void append_value(std::string& out, std::string_view value) {
  bool plain = !value.empty();
  for (unsigned char c : value)
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f) plain = false;
  if (plain) {
    out += value;
    return;
  }
  out += '"';
  for (unsigned char c : value) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c < ' ' || c == 0x7f) {
      out += fmt::format("\\x{:02x}", c);
    } else {
      out += static_cast<char>(c);
    }
  }
  out += '"';
}

// Standard error may be a pipe that nobody reads: a line that doesn't fit now is dropped, the loop goes on.
void write_stderr(std::string_view line) {
  pollfd pfd{STDERR_FILENO, POLLOUT, 0};
  if (poll(&pfd, 1, 0) == 0 || (pfd.revents & (POLLERR | POLLNVAL))) {
    ++dropped;
    return;
  }
  if (write(STDERR_FILENO, line.data(), line.size()) != static_cast<ssize_t>(line.size())) ++dropped;
}

}  // namespace

const char* event_name(LogEvent event) {
  return kEvents[static_cast<int>(event)].name;
}
LogLevel event_level(LogEvent event) {
  return kEvents[static_cast<int>(event)].level;
}

std::string format_log_line(LogEvent event, std::initializer_list<LogField> fields) {
  std::string line = fmt::format("level={} event={}", level_name(event_level(event)), event_name(event));
  for (const auto& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    append_value(line, field.value);
  }
  return line;
}

void log_event(LogEvent event, std::initializer_list<LogField> fields) {
  if (event_level(event) < minimum_level) return;
  std::string line = to_rfc3339(std::chrono::system_clock::now()) + " " + format_log_line(event, fields) + "\n";
  write_stderr(line);
  if (!dongle_sink) return;
  for (const auto& field : fields)
    if (field.key == "dongle") dongle_sink(field.value, line);
}

void set_dongle_log_sink(DongleLogSink sink) {
  dongle_sink = std::move(sink);
}
void set_log_level(LogLevel level) {
  minimum_level = level;
}
std::uint64_t log_lines_dropped() {
  return dropped;
}

}  // namespace dongle
