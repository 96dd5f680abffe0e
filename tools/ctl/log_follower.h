#pragma once
#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>

#include "common/error.h"
#include "common/unique_fd.h"

namespace dongle::ctl {

/// Reads a log file's end, and then what is appended to it, across truncation, renaming and re-creation.
class LogFollower {
 public:
  /// Called with each piece that is read; false: stop.
  using Sink = std::function<bool(std::string_view)>;

  LogFollower(std::string path, Sink sink) : path_(std::move(path)), sink_(std::move(sink)) {}

  /// The last `lines` lines. NotFound: there is no such file.
  Result<void> read_last(int lines);
  /// Goes on until the sink stops it or an error ends it. The file may be absent, its directory not.
  Result<void> follow();

 private:
  Result<void> open();
  Result<bool> read_on();  ///< false: the sink has enough
  Result<bool> catch_up();

  std::string path_;
  Sink sink_;
  UniqueFd file_;
  off_t offset_ = 0;
};

}  // namespace dongle::ctl
