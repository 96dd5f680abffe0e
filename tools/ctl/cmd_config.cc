#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "common/config_parse.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/daemon_socket.h"

namespace dongle::ctl {

ExitCode run_config_check(const CommandLine& line, const Console& console) {
  std::string file = !line.file.empty() ? line.file : !line.config.empty() ? line.config : kDefaultConfig;
  auto config = load_config(file);
  if (line.json) {
    Json report{{"file", file}, {"ok", config.has_value()}, {"problems", config ? ConfigProblems{} : config.error()}};
    if (config) report["dongles"] = config->dongles.size();
    if (config) report["keys_without_effect"] = config->keys_without_effect;
    console.print(dump_json(report) + "\n");
  } else if (config) {
    for (const std::string& key : config->keys_without_effect)
      console.progress(fmt::format("{}: note: {} has no effect in this version", file, key));
    console.print(
        fmt::format("{}: ok, {} dongle{}\n", file, config->dongles.size(), config->dongles.size() == 1 ? "" : "s"));
  } else {
    for (const std::string& problem : config.error()) console.progress(problem);
  }
  return config ? ExitCode::Done : ExitCode::Failed;
}

ExitCode run_config_schema(const CommandLine& line, const Console& console) {
  console.print(line.json ? config_schema_json() + "\n" : describe_config_schema());
  return ExitCode::Done;
}

}  // namespace dongle::ctl
