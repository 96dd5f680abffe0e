#pragma once
#include <functional>
#include <string>

#include "tools/ctl/client.h"
#include "tools/ctl/command_line.h"
#include "tools/ctl/console.h"

namespace dongle::ctl {

/// Runs the verb of a command line and prints what comes of it.
ExitCode run_command(const CommandLine& line, const Console& console);

// One verb or one kind of verb each. `socket`: the daemon's.
ExitCode run_status(const CommandLine& line, const std::string& socket, const Console& console);
ExitCode run_start_stop(const CommandLine& line, const std::string& socket, const Console& console);
/// rotate, recover, why, info, apn: one request for each dongle, side by side.
ExitCode run_each(const CommandLine& line, const std::string& socket, const Console& console);
/// traffic, incidents, reload: one request, one document.
ExitCode run_report(const CommandLine& line, const std::string& socket, const Console& console);
ExitCode run_power(const CommandLine& line, const std::string& socket, const Console& console);
ExitCode run_tail(const CommandLine& line, const std::string& socket, const Console& console);
ExitCode run_config_check(const CommandLine& line, const Console& console);
ExitCode run_config_schema(const CommandLine& line, const Console& console);
ExitCode run_init(const CommandLine& line, const Console& console);
ExitCode run_hotplug(const CommandLine& line, const Console& console);

/// The "dongles" of a reply, a line each unless --json; what failed goes to stderr. Returns the first failure's exit
/// code.
ExitCode print_outcomes(const CommandLine& line, const Json& result, const Console& console,
                        const std::function<std::string(const Json&)>& render);
/// One request on a connection of its own; progress goes to stderr.
Outcome<Json> ask(const CommandLine& line, const std::string& socket, const Json& request, const Console& console);
Millis timeout_of(const CommandLine& line);

}  // namespace dongle::ctl
