#include "tools/ctl/exit_code.h"

#include <utility>

namespace dongle::ctl {

ExitCode exit_code_for(std::string_view error_code) {
  static constexpr std::pair<std::string_view, ExitCode> kCodes[] = {
      {"not_found", ExitCode::NoSuchDongle}, {"permission", ExitCode::NoPermission}, {"cooldown", ExitCode::RefusedNow},
      {"busy", ExitCode::RefusedNow},        {"disabled", ExitCode::RefusedNow},     {"refused", ExitCode::RefusedNow},
      {"would_hurt", ExitCode::RefusedNow},  {"timeout", ExitCode::TimedOut},
  };
  for (const auto& [code, exit] : kCodes)
    if (code == error_code) return exit;
  return ExitCode::Failed;
}

}  // namespace dongle::ctl
