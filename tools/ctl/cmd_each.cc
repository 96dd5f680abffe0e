#include <fmt/format.h>

#include <future>
#include <nlohmann/json.hpp>

#include "tools/ctl/commands.h"
#include "tools/ctl/render.h"

namespace dongle::ctl {
namespace {

Json request_for(const CommandLine& line, DongleId id) {
  Json request{{"verb", line.verb_name}, {"id", id.value}};
  bool acts = line.verb == Verb::Rotate || line.verb == Verb::Recover;
  if (acts && !line.wait) request["wait"] = false;
  if (!line.from.empty()) request["from"] = line.from;
  if (line.dry_run) request["dry_run"] = true;
  return request;
}

std::string render(Verb verb, const Json& result, const Console& console) {
  if (verb == Verb::Rotate) return render_rotation(result);
  if (verb == Verb::Recover) return render_recovery(result, console.style());
  if (verb == Verb::Why) return render_why(result, console.style(), std::chrono::system_clock::now());
  if (verb == Verb::Apn) return render_apn(result, console.style());
  return render_details(result);
}

Outcome<std::vector<DongleId>> all_ids(const CommandLine& line, const std::string& socket, const Console& console) {
  auto document = ask(line, socket, {{"verb", "status"}}, console);
  if (!document) return std::unexpected(document.error());
  std::vector<DongleId> ids;
  for (const Json& d : document->value("dongles", Json::array()))
    if (auto id = json_int(d, "id"); id >= kMinDongleId && id <= kMaxDongleId)
      ids.emplace_back(static_cast<unsigned>(id));
  return ids;
}

}  // namespace

ExitCode run_each(const CommandLine& line, const std::string& socket, const Console& console) {
  std::vector<DongleId> ids = line.ids;
  if (line.all) {
    auto found = all_ids(line, socket, console);
    if (!found) return console.error(line.verb_name, found.error());
    ids = *found;
  }
  // A rotation takes seconds: they wait side by side, and are printed in the order asked for. At most 252 threads.
  std::vector<std::future<Outcome<Json>>> answers;
  for (DongleId id : ids)
    answers.push_back(std::async(std::launch::async, [&line, &socket, &console, id] {
      return ask(line, socket, request_for(line, id), console);
    }));
  ExitCode exit = ExitCode::Done;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    auto result = answers[i].get();
    ExitCode one = ExitCode::Done;
    if (!result) {
      one = console.error(fmt::format("{}: {}", line.verb_name, ids[i]), result.error());
    } else {
      console.print(line.json ? dump_json(*result) + "\n" : render(line.verb, *result, console));
      console.flush();
      if (line.verb == Verb::Recover && json_string(*result, "outcome") == "failed") one = ExitCode::Failed;
    }
    if (exit == ExitCode::Done) exit = one;
  }
  return exit;
}

}  // namespace dongle::ctl
