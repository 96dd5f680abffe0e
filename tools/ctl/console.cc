#include "tools/ctl/console.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tools/ctl/format.h"

namespace dongle::ctl {
namespace {

// Several threads may report: one write for each line.
void write_error(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
}

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Console::Console()
    : is_terminal_(::isatty(STDOUT_FILENO) == 1),
      colour_(is_terminal_ && environment("NO_COLOR").empty() && environment("TERM") != "dumb") {}

Style Console::style() const {
  winsize size = {};
  if (!is_terminal_ || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) size.ws_col = 0;
  return {is_terminal_, colour_, size.ws_col};
}

void Console::print(std::string_view text) const {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void Console::progress(std::string_view text) const {
  write_error(printable(text) + "\n");
}

ExitCode Console::error(std::string_view where, const Failure& failure) const {
  std::string text = "donglectl: ";
  if (!where.empty()) text += fmt::format("{}: ", where);
  // A refused configuration has several lines; each is made safe by itself.
  std::string_view rest = failure.message;
  for (;;) {
    auto end = rest.find('\n');
    text += printable(rest.substr(0, end)) + "\n";
    if (end == rest.npos || end + 1 == rest.size()) break;
    rest.remove_prefix(end + 1);
  }
  write_error(text);
  return failure.exit;
}

bool Console::flush() const {
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
}

}  // namespace dongle::ctl
