#include "tools/ctl/format.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <ctime>

namespace dongle::ctl {

std::string format_bytes(std::int64_t bytes) {
  static constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 0) return "-";
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  // 999.5 would print as 1000, a fourth digit.
  for (; value >= 999.5 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return fmt::format(fmt::runtime(unit > 0 && value < 9.95 ? "{:.1f} {}" : "{:.0f} {}"), value, kUnits[unit]);
}

std::string format_rate(std::int64_t bytes_per_s) {
  return bytes_per_s < 0 ? "-" : format_bytes(bytes_per_s) + "/s";
}

std::optional<WallTime> parse_rfc3339(std::string_view text) {
  std::string terminated(text.substr(0, 40));
  std::tm tm = {};
  int end = 0;
  if (std::sscanf(terminated.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
                  &tm.tm_min, &tm.tm_sec, &end) != 6)
    return std::nullopt;
  std::string_view rest = std::string_view(terminated).substr(static_cast<std::size_t>(end));
  if (rest.starts_with('.')) rest.remove_prefix(std::min(rest.find_first_not_of("0123456789", 1), rest.size()));
  if (rest != "Z" && rest != "+00:00") return std::nullopt;
  tm.tm_year -= 1900;
  tm.tm_mon -= 1;
  return WallTime{Seconds{::timegm(&tm)}};
}

std::string format_age(std::string_view since, WallTime now) {
  auto time = parse_rfc3339(since);
  if (!time) return "-";
  auto age = std::chrono::duration_cast<Seconds>(now - *time);
  return age <= Seconds{0} ? "0s" : format_duration(age);
}

std::string printable(std::string_view text) {
  std::string safe(text);
  for (std::size_t i = 0; i < safe.size(); ++i) {
    auto c = static_cast<unsigned char>(safe[i]);
    if (c == '\n' || c == '\r' || c == '\t')
      safe[i] = ' ';
    else if (c < ' ' || c == 0x7f)
      safe[i] = '?';
    // U+0080..U+009F are control characters too; a terminal takes U+009B for ESC [.
    else if (c == 0xc2 && i + 1 < safe.size() && static_cast<unsigned char>(safe[i + 1]) < 0xa0)
      safe.replace(i, 2, "?");
  }
  return safe;
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  for (char c : text) width += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return width;
}

}  // namespace dongle::ctl
