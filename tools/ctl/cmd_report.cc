#include <nlohmann/json.hpp>

#include "tools/ctl/commands.h"
#include "tools/ctl/render.h"

namespace dongle::ctl {
namespace {

Json request_for(const CommandLine& line) {
  Json request{{"verb", line.verb_name}};
  if (line.verb == Verb::Traffic) {
    for (DongleId id : line.ids) request["ids"].push_back(id.value);
    if (line.reset) request["reset"] = true;
  } else if (line.verb == Verb::Incidents) {
    request["limit"] = line.limit;
    if (!line.ids.empty()) request["id"] = line.ids[0].value;
  }
  return request;
}

std::string render(Verb verb, const Json& result, const Console& console) {
  if (verb == Verb::Traffic) return render_traffic(result, console.style(), std::chrono::system_clock::now());
  if (verb == Verb::Incidents) return render_incidents(result, console.style());
  return render_reload(result);
}

}  // namespace

ExitCode run_report(const CommandLine& line, const std::string& socket, const Console& console) {
  auto result = ask(line, socket, request_for(line), console);
  if (!result) return console.error(line.verb_name, result.error());
  console.print(line.json ? dump_json(*result) + "\n" : render(line.verb, *result, console));
  return ExitCode::Done;
}

}  // namespace dongle::ctl
