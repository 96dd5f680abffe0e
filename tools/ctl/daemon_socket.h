#pragma once
#include <string>
#include <string_view>

#include "tools/ctl/command_line.h"
#include "tools/ctl/exit_code.h"

namespace dongle::ctl {

inline constexpr const char* kDefaultConfig = "/etc/dongle-supervisor/config.yaml";

/// The runtime_dir that a configuration sets, the default if it sets none; an error only if it isn't YAML. Mistakes
/// elsewhere in it don't matter: the daemon runs on with its old configuration, and has to be found.
Outcome<std::string> runtime_dir_of(std::string_view yaml, const std::string& file);

/// Where the control socket is: --socket, else by the runtime_dir of --config or of the default file, else by default.
Outcome<std::string> find_socket(const CommandLine& line);

}  // namespace dongle::ctl
