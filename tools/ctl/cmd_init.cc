#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/config_parse.h"
#include "common/unique_fd.h"
#include "common/usb_scan.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/daemon_socket.h"
#include "tools/ctl/proposal.h"

namespace dongle::ctl {
namespace {

/// The first IPv4 address of each network device.
std::map<std::string, Prefix> read_addresses() {
  std::map<std::string, Prefix> found;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return found;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_netmask == nullptr || at->ifa_addr->sa_family != AF_INET) continue;
    auto* mask = reinterpret_cast<const sockaddr_in*>(at->ifa_netmask);
    found.try_emplace(at->ifa_name, Prefix{Address::from_sockaddr(at->ifa_addr), std::popcount(mask->sin_addr.s_addr)});
  }
  freeifaddrs(list);
  return found;
}

Failure cannot_write(const std::string& file, int error) {
  if (error == EEXIST)
    return {ExitCode::Failed, fmt::format("{} exists and stays as it is; remove it, or print without --write", file)};
  bool is_permission = error == EACCES || error == EPERM || error == EROFS;
  return {is_permission ? ExitCode::NoPermission : ExitCode::Failed,
          fmt::format("{}: {}{}", file, std::generic_category().message(error), is_permission ? "; try as root" : "")};
}

/// Never overwrites. What can't be written whole isn't left behind.
Outcome<void> write_new_file(const std::string& file, const std::string& text) {
  std::error_code ignored;  // opening the file tells
  std::filesystem::create_directories(std::filesystem::path(file).parent_path(), ignored);
  UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd) return std::unexpected(cannot_write(file, errno));
  bool is_whole = ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (is_whole && ::fsync(fd.get()) == 0) return {};
  int error = is_whole ? errno : ENOSPC;
  ::unlink(file.c_str());
  return std::unexpected(cannot_write(file, error));
}

void tell_findings(const Proposal& proposal, const Console& console) {
  console.progress(fmt::format("found {} stick{}", proposal.dongles.size(), proposal.dongles.size() == 1 ? "" : "s"));
  for (const ProposedDongle& d : proposal.passed_over)
    console.progress(fmt::format("not taken: {} ({}): {}; take such with --id {}", d.usb_path,
                                 d.name.empty() ? to_string(d.usb_id) : d.name, d.reason, to_string(d.usb_id)));
  for (const std::string& path : proposal.left_out)
    console.progress(fmt::format("not taken: {}: a daemon serves {} sticks at most", path, kMaxDongleId));
}

std::string why_nothing(const UsbTree& tree) {
  return tree.host_has_usb ? "no stick is plugged in, as far as the ids tell; see --id and --all"
                           : "this host has no USB";
}

}  // namespace

ExitCode run_init(const CommandLine& line, const Console& console) {
  std::string file = line.config.empty() ? kDefaultConfig : line.config;
  auto tree = scan_usb(UsbStrings::Read);
  if (!tree) return console.error("init", {ExitCode::Failed, tree.error().message()});
  Proposal proposal =
      propose({*tree, read_addresses()}, {{line.usb_ids.begin(), line.usb_ids.end()}, line.every_adapter});
  tell_findings(proposal, console);
  Json report = to_json(proposal);
  report["file"] = file;
  report["written"] = false;

  ExitCode exit = ExitCode::Done;
  if (proposal.dongles.empty()) {
    exit = console.error("init", {ExitCode::Failed, why_nothing(*tree)});
  } else {
    std::string yaml = render_yaml(proposal);
    if (auto config = parse_config(yaml, file); !config)
      return console.error("init",
                           {ExitCode::Failed, fmt::format("the proposal is wrong: {}", config.error().front())});
    report["config"] = yaml;
    if (!line.json) console.print(yaml);
    if (line.write) {
      auto written = write_new_file(file, yaml);
      report["written"] = written.has_value();
      if (written)
        console.progress(fmt::format("written to {}; next: dongle-supervisor --config {}", file, file));
      else
        exit = console.error("init", written.error());
    }
  }
  if (line.json) console.print(dump_json(report) + "\n");
  return exit;
}

}  // namespace dongle::ctl
