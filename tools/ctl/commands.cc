#include "tools/ctl/commands.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/ctl/daemon_socket.h"

namespace dongle::ctl {

Millis timeout_of(const CommandLine& line) {
  return line.timeout.value_or(default_timeout(line.verb));
}

Outcome<Json> ask(const CommandLine& line, const std::string& socket, const Json& request, const Console& console) {
  auto client = Client::connect(socket, timeout_of(line));
  if (!client) return std::unexpected(client.error());
  std::string who = request.contains("id") ? dump_json(request["id"]) + ": " : "";
  return client->request(request, timeout_of(line), [&](const std::string& text) { console.progress(who + text); });
}

ExitCode run_command(const CommandLine& line, const Console& console) {
  auto with_daemon = [&](auto run) {
    auto found = find_socket(line);
    return found ? run(line, *found, console) : console.error("", found.error());
  };
  switch (line.verb) {
    case Verb::Status: return with_daemon(run_status);
    case Verb::Start:
    case Verb::Stop:
    case Verb::Restart: return with_daemon(run_start_stop);
    case Verb::Rotate:
    case Verb::Recover:
    case Verb::Why:
    case Verb::Info:
    case Verb::Apn: return with_daemon(run_each);
    case Verb::Traffic:
    case Verb::Incidents:
    case Verb::Reload: return with_daemon(run_report);
    case Verb::Power: return with_daemon(run_power);
    case Verb::Tail: return with_daemon(run_tail);
    case Verb::ConfigCheck: return run_config_check(line, console);
    case Verb::ConfigSchema: return run_config_schema(line, console);
    case Verb::Init: return run_init(line, console);
    case Verb::Hotplug: return run_hotplug(line, console);
    case Verb::NotYet: return console.error(line.verb_name, {ExitCode::Failed, "not in this version yet"});
  }
  return ExitCode::Failed;
}

}  // namespace dongle::ctl
