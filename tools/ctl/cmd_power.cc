#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "tools/ctl/commands.h"
#include "tools/ctl/render.h"

namespace dongle::ctl {
namespace {

// Only a person at a terminal can be asked; a script says --yes.
bool agrees(const CommandLine& line, const Json& hurt) {
  std::string names;
  for (const Json& one : hurt)
    if (one.is_string()) names += (names.empty() ? "" : ", ") + one.get<std::string>();
  std::fprintf(stderr, "power %s also takes the power from: %s. Go on? [y/N] ", line.power.c_str(), names.c_str());
  std::string answer;
  return std::getline(std::cin, answer) && (answer == "y" || answer == "Y" || answer == "yes");
}

}  // namespace

ExitCode run_power(const CommandLine& line, const std::string& socket, const Console& console) {
  Json request{{"verb", "power"}, {"action", line.power}, {"ids", Json::array()}, {"yes", line.yes}};
  for (DongleId id : line.ids) request["ids"].push_back(id.value);
  if (line.all) request["ids"] = "all";
  bool only_tells = line.dry_run || line.power == "status";
  if (!only_tells && !line.yes && isatty(STDIN_FILENO) && isatty(STDERR_FILENO)) {
    request["dry_run"] = true;
    auto plan = ask(line, socket, request, console);
    if (!plan) return console.error(line.verb_name, plan.error());
    if (Json hurt = plan->value("hurt", Json::array()); !hurt.empty()) {
      if (!agrees(line, hurt)) return console.error(line.verb_name, {ExitCode::RefusedNow, "nothing was switched"});
      request["yes"] = true;
    }
  }
  request["dry_run"] = line.dry_run;
  auto result = ask(line, socket, request, console);
  if (!result) return console.error(line.verb_name, result.error());
  if (line.json) console.print(dump_json(*result) + "\n");
  if (only_tells) {
    if (!line.json) console.print(render_power(*result, console.style()));
    return ExitCode::Done;
  }
  return print_outcomes(line, *result, console, [&line](const Json& dongle) {
    return fmt::format("{}: power {}: {}\n", json_int(dongle, "id"), line.power, json_string(dongle, "detail"));
  });
}

}  // namespace dongle::ctl
