#include "tools/ctl/daemon_socket.h"

#include <fmt/format.h>

#include "common/read_file.h"
#include "common/yaml_tree.h"

namespace dongle::ctl {
namespace {

constexpr const char* kDefaultRuntimeDir = "/run/dongle-supervisor";
constexpr std::size_t kMaxConfig = 4 * 1024 * 1024;

}  // namespace

Outcome<std::string> runtime_dir_of(std::string_view yaml, const std::string& file) {
  auto root = parse_yaml(yaml);
  if (!root)
    return std::unexpected(Failure{ExitCode::Failed, fmt::format("{}:{}:{}: {}", file, root.error().line,
                                                                 root.error().column, root.error().text)});
  for (const auto& entry : root->entries)
    if (entry.key == "runtime_dir" && entry.value.is_scalar()) return entry.value.text;
  return kDefaultRuntimeDir;
}

Outcome<std::string> find_socket(const CommandLine& line) {
  if (!line.socket.empty()) return line.socket;
  bool is_default = line.config.empty();
  std::string file = is_default ? kDefaultConfig : line.config;
  std::string runtime_dir = kDefaultRuntimeDir;
  auto text = read_file(file, kMaxConfig);
  if (text) {
    auto dir = runtime_dir_of(*text, file);
    if (!dir && !is_default) return dir;
    if (dir) runtime_dir = *dir;
  } else if (!is_default) {
    return std::unexpected(Failure{text.error().code == Errc::Permission ? ExitCode::NoPermission : ExitCode::Failed,
                                   fmt::format("{}: {}", file, text.error().message())});
  }
  return runtime_dir + "/control.sock";
}

}  // namespace dongle::ctl
