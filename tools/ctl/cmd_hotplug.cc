#include <nlohmann/json.hpp>

#include "tools/ctl/commands.h"
#include "tools/ctl/daemon_socket.h"

namespace dongle::ctl {

// udev waits for this program: it says its word and leaves. Without a daemon there is nobody to tell, and that's no
// failure: a daemon that starts looks at everything anyway.
ExitCode run_hotplug(const CommandLine& line, const Console& console) {
  auto socket = find_socket(line);
  if (!socket) return console.error("hotplug", socket.error());
  Json request{{"verb", "hotplug"}};
  if (line.ids.empty())
    request["path"] = line.usb_path;
  else
    request["id"] = line.ids.front().value;
  auto answer = ask(line, *socket, request, console);
  if (!answer && answer.error().exit == ExitCode::NotRunning) return ExitCode::Done;
  if (!answer) return console.error("hotplug", answer.error());
  if (line.json) console.print(dump_json(*answer) + "\n");
  return ExitCode::Done;
}

}  // namespace dongle::ctl
