// dongle-usb: what can hang in the kernel is done here, one verb a run, so that it can be given up on.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/net_address.h"
#include "common/version.h"
#include "tools/usb/verbs.h"

namespace dongle::usb {
namespace {

constexpr const char* kUsage =
    "usage: dongle-usb VERB ...\n"
    "  mode-switch PATH                   a stick in mass-storage mode becomes a network card\n"
    "  configuration PATH VALUE|network   selects a configuration; network: the one with an ECM or RNDIS card\n"
    "  rebind PATH                        unbinds and binds the drivers of the network interfaces\n"
    "  authorize PATH 0|1\n"
    "  reauthorize PATH                   0, then 1\n"
    "  port HUB PORT[,PORT...] on|off [--raw] [--even-a-hub]\n"
    "                                     switches ports and their USB 2 / USB 3 twins; --raw: past the kernel's hub\n"
    "                                     driver; --even-a-hub: also a port with a hub behind it\n"
    "  hubs [HUB...]                      what the hubs can do and how their ports stand\n"
    "PATH and HUB are port paths as in sysfs: 2-1.3; usb2 is the root hub of bus 2.\n"
    "Prints JSON. Exit codes: 0 done, 1 failed, 2 usage, 3 not supported by this device or hub, 4 no permission,\n"
    "5 no such device, 6 refused.\n";

struct Arguments {
  std::vector<std::string> words;
  PortOptions port;
  Roots roots;
};

// --sysfs and --nodes are for tests: folders that stand in for /sys/bus/usb and /dev/bus/usb.
std::optional<Arguments> parse(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    std::string_view word = argv[i];
    if (word == "--raw") {
      a.port.raw = true;
    } else if (word == "--even-a-hub") {
      a.port.even_a_hub = true;
    } else if ((word == "--sysfs" || word == "--nodes") && i + 1 < argc) {
      (word == "--sysfs" ? a.roots.devices : a.roots.nodes) = argv[++i];
    } else if (word.starts_with("--")) {
      return std::nullopt;
    } else {
      a.words.emplace_back(word);
    }
  }
  return a;
}

std::optional<std::vector<int>> parse_ports(std::string_view list) {
  std::vector<int> ports;
  while (true) {
    auto comma = list.find(',');
    auto port = parse_decimal(list.substr(0, comma), 1, 255);
    if (!port) return std::nullopt;
    ports.push_back(static_cast<int>(*port));
    if (comma == std::string_view::npos) return ports;
    list.remove_prefix(comma + 1);
  }
}

// Nothing: the words don't make a verb.
std::optional<Result<Json>> run(const Arguments& a) {
  const auto& w = a.words;
  auto is = [&](std::string_view verb, std::size_t words) { return !w.empty() && w[0] == verb && w.size() == words; };
  if (is("mode-switch", 2)) return mode_switch(a.roots, w[1]);
  if (is("configuration", 3)) return set_configuration(a.roots, w[1], w[2]);
  if (is("rebind", 2)) return rebind(a.roots, w[1]);
  if (is("reauthorize", 2)) return reauthorize(a.roots, w[1]);
  if (is("authorize", 3) && (w[2] == "0" || w[2] == "1")) return authorize(a.roots, w[1], w[2] == "1");
  if (is("port", 4) && (w[3] == "on" || w[3] == "off")) {
    auto ports = parse_ports(w[2]);
    if (!ports) return std::nullopt;
    PortOptions options = a.port;
    options.on = w[3] == "on";
    return switch_ports(a.roots, w[1], *ports, options);
  }
  if (!w.empty() && w[0] == "hubs") return list_hubs(a.roots, {w.begin() + 1, w.end()});
  return std::nullopt;
}

int exit_code(Errc code) {
  switch (code) {
    case Errc::InvalidArgument: return 2;
    case Errc::Unsupported: return 3;
    case Errc::Permission: return 4;
    case Errc::NotFound: return 5;
    case Errc::Refused: return 6;
    case Errc::Exists:
    case Errc::Busy:
    case Errc::Timeout:
    case Errc::Unreachable:
    case Errc::Protocol:
    case Errc::Io:
    case Errc::Full:
    case Errc::Cancelled: return 1;
  }
  return 1;
}

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--version") return std::printf("dongle-usb %s\n", kVersion), 0;
  if (argc == 2 && std::string_view(argv[1]) == "--help") return std::fputs(kUsage, stdout), 0;
  auto arguments = parse(argc, argv);
  auto result = arguments ? run(*arguments) : std::nullopt;
  if (!result) return std::fputs(kUsage, stderr), 2;
  if (!*result) {
    std::fprintf(stderr, "%s\n", result->error().message().c_str());
    return exit_code(result->error().code);
  }
  std::printf("%s\n", dump_json(**result).c_str());
  return 0;
}

}  // namespace
}  // namespace dongle::usb

int main(int argc, char** argv) {
  return dongle::usb::main(argc, argv);
}
