#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/ctl/commands.h"
#include "tools/ctl/log_follower.h"

namespace dongle::ctl {

ExitCode run_tail(const CommandLine& line, const std::string& socket, const Console& console) {
  std::string where = fmt::format("tail: {}", line.ids[0]);
  auto result = ask(line, socket, {{"verb", "tail"}, {"id", line.ids[0].value}}, console);
  if (!result) return console.error(where, result.error());
  std::string path = json_string(*result, "path");
  if (!path.starts_with('/')) return console.error(where, {ExitCode::Failed, "the daemon names no log file"});
  if (line.json) {
    console.print(dump_json(*result) + "\n");
    return ExitCode::Done;
  }
  LogFollower log(path, [&](std::string_view text) {
    console.print(text);
    return console.flush();
  });
  auto read = log.read_last(line.lines);
  if (line.follow && (read || read.error().code == Errc::NotFound)) read = log.follow();
  if (read) return ExitCode::Done;
  bool denied = read.error().code == Errc::Permission;
  return console.error(where, {denied ? ExitCode::NoPermission : ExitCode::Failed, read.error().message()});
}

}  // namespace dongle::ctl
