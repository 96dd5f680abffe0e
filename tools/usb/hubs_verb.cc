// What hubs tell of themselves. Each hub is asked by a process of its own: one that hangs in the kernel takes nobody
// else's answer along.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "common/unique_fd.h"
#include "tools/usb/usb_node.h"
#include "tools/usb/verbs.h"

namespace dongle::usb {
namespace {

// All hubs together; a hub with 16 ports answers within a few tens of milliseconds.
constexpr Millis kPatience{2000};
constexpr std::size_t kMaxHubs = 128;
constexpr std::size_t kMaxAnswer = 65536;

// What can be seen without the device's lock.
HubFacts look_at(const Roots& roots, const std::string& hub) {
  HubFacts facts;
  std::string folder = roots.devices + "/devices/" + hub;
  facts.location = hub;
  facts.vendor = static_cast<std::uint16_t>(read_number(folder + "/idVendor", 16));
  facts.product = static_cast<std::uint16_t>(read_number(folder + "/idProduct", 16));
  for (int number : hub_ports(roots, hub)) {
    PortRef ref{hub, number};
    PortFacts& port = facts.ports[number];
    port.hub_behind = has_hub_behind(roots, ref);
    port.peer = peer_of(roots, ref);
    if (auto at = port_folder(roots, ref)) port.has_disable = exists(*at + "/disable");
  }
  return facts;
}

// What the kernel and the hub have to be asked for; may hang.
void ask(const Roots& roots, HubFacts& facts) {
  std::string folder = roots.devices + "/devices/" + facts.location;
  facts.product_name = read_attribute(folder + "/product").value_or("");
  for (auto& [number, port] : facts.ports) {
    auto at = port_folder(roots, {facts.location, number});
    if (!at || !port.has_disable) continue;
    if (auto text = read_attribute(*at + "/disable")) port.disabled = *text == "1";
  }
  auto node = UsbNode::open(roots, facts.location);
  if (!node) {
    facts.error = node.error().message();
    return;
  }
  HubNode hub(std::move(*node), read_number(folder + "/speed") >= 5000);
  auto switching = hub.switching();
  if (!switching) {
    facts.error = switching.error().message();
    return;
  }
  facts.switching = *switching;
  for (auto& [number, port] : facts.ports) {
    auto status = hub.status(number);
    if (!status) continue;
    port.powered = status->powered;
    port.connected = status->connected;
  }
}

struct Asked {
  HubFacts facts;
  UniqueFd answer;
  pid_t pid = 0;
  std::string text;
};

Result<Asked> start_asking(const Roots& roots, HubFacts facts) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  pid_t pid = fork();
  if (pid < 0) return fail_errno(errno, "fork");
  if (pid == 0) {
    // Whoever waits for the end of our output must not wait for a process that hangs.
    for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) close(fd);
    ask(roots, facts);
    std::string text = dump_json(to_json(facts));
    (void)!write(write_end.get(), text.data(), text.size());
    _exit(0);
  }
  return Asked{std::move(facts), std::move(read_end), pid, {}};
}

// False: nothing more will come.
bool read_some(Asked& hub) {
  std::array<char, 4096> buffer{};
  ssize_t size = read(hub.answer.get(), buffer.data(), buffer.size());
  if (size < 0) return errno == EINTR;
  hub.text.append(buffer.data(), static_cast<std::size_t>(size));
  return size > 0 && hub.text.size() < kMaxAnswer;
}

void collect(std::vector<Asked>& hubs) {
  auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    std::vector<pollfd> waiting;
    std::vector<Asked*> of;
    for (Asked& hub : hubs)
      if (hub.answer) {
        waiting.push_back({hub.answer.get(), POLLIN, 0});
        of.push_back(&hub);
      }
    auto left = std::chrono::ceil<Millis>(end - std::chrono::steady_clock::now());
    if (waiting.empty() || left.count() <= 0) return;
    if (poll(waiting.data(), waiting.size(), static_cast<int>(left.count())) < 0 && errno != EINTR) return;
    for (std::size_t i = 0; i < waiting.size(); ++i)
      if (waiting[i].revents != 0 && !read_some(*of[i])) of[i]->answer.reset();
  }
}

HubFacts conclude(Asked& hub) {
  bool is_whole = !hub.answer;
  auto json = is_whole ? parse_json(hub.text) : Result<Json>(fail(Errc::Timeout, "no answer"));
  auto facts = json ? hub_facts_from_json(Json{{"hubs", Json::array({*json})}}) : HubFactsMap{};
  if (auto it = facts.find(hub.facts.location); it != facts.end()) return it->second;
  kill(hub.pid, SIGKILL);  // of no effect while the kernel holds it; init reaps it when that ends
  hub.facts.error = fmt::format("it doesn't answer within {}: the kernel holds it", format_duration(kPatience));
  return hub.facts;
}

Result<std::vector<std::string>> all_hubs(const Roots& roots) {
  std::vector<std::string> names;
  std::error_code ec;
  namespace fs = std::filesystem;
  for (fs::directory_iterator it(roots.devices + "/devices", ec), end; !ec && it != end; it.increment(ec)) {
    std::string name = it->path().filename().string();
    if (is_device_path(name) && read_attribute(it->path().string() + "/bDeviceClass") == "09") names.push_back(name);
  }
  if (ec && ec != std::errc::no_such_file_or_directory) return fail_errno(ec.value(), "{}/devices", roots.devices);
  std::ranges::sort(names);
  if (names.size() > kMaxHubs) names.resize(kMaxHubs);
  return names;
}

}  // namespace

Result<Json> list_hubs(const Roots& roots, const std::vector<std::string>& names) {
  auto wanted = names.empty() ? all_hubs(roots) : Result<std::vector<std::string>>(names);
  if (!wanted) return std::unexpected(std::move(wanted).error());
  std::vector<Asked> asked;
  for (const std::string& name : *wanted) {
    auto folder = device_folder(roots, name);
    if (folder && read_attribute(*folder + "/bDeviceClass") != "09") return fail(Errc::Refused, "{} is no hub", name);
    if (!folder) {
      if (names.empty()) continue;  // it left while we looked
      return std::unexpected(std::move(folder).error());
    }
    auto one = start_asking(roots, look_at(roots, name));
    if (!one) return std::unexpected(std::move(one).error());
    asked.push_back(std::move(*one));
  }
  collect(asked);
  Json hubs = Json::array();
  for (Asked& hub : asked) hubs.push_back(to_json(conclude(hub)));
  return Json{{"hubs", hubs}};
}

}  // namespace dongle::usb
