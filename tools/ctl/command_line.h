#pragma once
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/ids.h"
#include "common/stick_ids.h"
#include "tools/ctl/exit_code.h"

namespace dongle::ctl {

enum class Verb {
  Status,
  Start,
  Stop,
  Restart,
  Tail,
  Rotate,
  Recover,
  Why,
  Info,
  Traffic,
  Incidents,
  Apn,
  Reload,
  Power,
  ConfigCheck,
  ConfigSchema,
  Init,
  Hotplug,
  NotYet,  ///< known, but its feature isn't there
};

/// A command line, understood.
struct CommandLine {
  Verb verb = Verb::Status;
  std::string verb_name;  ///< as the control socket has it: "rotate"
  std::vector<DongleId> ids;
  bool all = false;  ///< "all" stood in place of ids

  std::string socket;  ///< --socket, empty: not given
  std::string config;  ///< --config
  bool json = false;
  bool wait = true;
  std::optional<Millis> timeout;

  bool watch = false;    ///< status
  bool follow = false;   ///< tail
  int lines = 10;        ///< tail
  std::string from;      ///< recover: the stage to start at
  bool dry_run = false;  ///< recover, power
  std::string power;     ///< on, off, cycle, status
  bool yes = false;      ///< power: also where others would lose theirs
  bool reset = false;    ///< traffic
  int limit = 20;        ///< incidents
  std::string file;      ///< config check

  bool write = false;          ///< init
  bool every_adapter = false;  ///< init: --all
  std::vector<UsbId> usb_ids;  ///< init: --id
  std::string usb_path;        ///< hotplug, unless it was told an id
};

/// The end of it without a verb to run: --help, --version (Done, for stdout) or a mistake (one line for stderr).
struct EarlyExit {
  ExitCode exit = ExitCode::Done;
  std::string text;
};

/// args: without the program's name.
std::expected<CommandLine, EarlyExit> parse_command_line(std::vector<std::string> args);

/// How long a verb waits for its answer unless --timeout says otherwise.
Millis default_timeout(Verb verb);

}  // namespace dongle::ctl
