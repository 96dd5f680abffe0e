#pragma once
#include <string>
#include <string_view>

#include "tools/ctl/exit_code.h"
#include "tools/ctl/table.h"

namespace dongle::ctl {

/// Where donglectl writes: results to stdout, everything else to stderr.
class Console {
 public:
  /// Looks at the terminal, NO_COLOR and TERM.
  Console();

  bool is_terminal() const { return is_terminal_; }
  /// The style for stdout, with the terminal's width as it is now.
  Style style() const;

  void print(std::string_view text) const;     ///< to stdout, as it is
  void progress(std::string_view text) const;  ///< one line to stderr
  /// "donglectl: WHERE: message" to stderr; returns what to exit with.
  ExitCode error(std::string_view where, const Failure& failure) const;
  /// Writes out what is buffered. False: stdout took not everything (a full disk).
  bool flush() const;

 private:
  bool is_terminal_;
  bool colour_;
};

}  // namespace dongle::ctl
