#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/ctl/commands.h"
#include "tools/ctl/render.h"

namespace dongle::ctl {

ExitCode print_outcomes(const CommandLine& line, const Json& result, const Console& console,
                        const std::function<std::string(const Json&)>& render) {
  ExitCode exit = ExitCode::Done;
  for (const Json& dongle : result.value("dongles", Json::array())) {
    if (json_bool(dongle, "ok")) {
      if (!line.json) console.print(render(dongle));
      continue;
    }
    Failure failure = failure_from_reply(dongle.is_object() ? dongle.value("error", Json::object()) : Json::object());
    console.error(fmt::format("{}: {}", line.verb_name, json_int(dongle, "id")), failure);
    if (exit == ExitCode::Done) exit = failure.exit;
  }
  return exit;
}

ExitCode run_start_stop(const CommandLine& line, const std::string& socket, const Console& console) {
  Json request{{"verb", line.verb_name}, {"ids", Json::array()}};
  for (DongleId id : line.ids) request["ids"].push_back(id.value);
  if (line.all) request["ids"] = "all";
  if (!line.wait) request["wait"] = false;
  auto result = ask(line, socket, request, console);
  if (!result) return console.error(line.verb_name, result.error());
  if (line.json) console.print(dump_json(*result) + "\n");
  return print_outcomes(line, *result, console, render_action);
}

}  // namespace dongle::ctl
