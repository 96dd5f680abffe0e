#pragma once
#include <expected>
#include <string>
#include <string_view>

namespace dongle::ctl {

/// What donglectl exits with; public, scripts branch on it.
enum class ExitCode {
  Done = 0,
  Failed = 1,
  Usage = 2,
  NotAllUp = 3,  ///< status
  NoPermission = 4,
  NoSuchDongle = 5,
  RefusedNow = 6,  ///< cooldown, busy, recovery off
  NotRunning = 7,
  TimedOut = 8,
};

/// For an error code of the control socket; a code that isn't known is Failed.
ExitCode exit_code_for(std::string_view error_code);

/// Why a verb failed, as one line for a person (a refused configuration has more), and what to exit with.
struct Failure {
  ExitCode exit = ExitCode::Failed;
  std::string message;
};

template <class T>
using Outcome = std::expected<T, Failure>;

}  // namespace dongle::ctl
