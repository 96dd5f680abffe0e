#include "tools/ctl/proposal.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "common/config_values.h"
#include "common/ids.h"
#include "tools/ctl/format.h"

namespace dongle::ctl {
namespace {

constexpr unsigned kFirstId = 11;

std::string interface_of(const UsbDevice& device) {
  for (const UsbInterface& i : device.interfaces)
    if (!i.net_devices.empty()) return i.net_devices.front();
  return {};
}

std::string driver_of(const UsbDevice& device) {
  for (const UsbInterface& i : device.interfaces)
    if (!i.net_devices.empty()) return i.driver;
  return {};
}

/// What a device calls itself, fit for a comment in a file that has to be UTF-8.
std::string plain_name(const UsbDevice& device) {
  std::string name = printable(device.product_name);
  for (char& c : name)
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  return name;
}

struct Verdict {
  bool is_stick = false;
  std::string reason;
};

/// nullopt: nothing that has to do with us.
std::optional<Verdict> judge(const UsbDevice& device, const ProposalOptions& options) {
  if (device.is_hub) return std::nullopt;
  UsbId id = id_of(device);
  if (options.more_ids.contains(id)) return Verdict{true, "taken by --id"};
  if (is_hilink_id(id)) return Verdict{true, "HiLink stick"};
  if (is_zero_cd_id(id) || (id.vendor == kHuaweiVendor && is_mass_storage_only(device)))
    return Verdict{true, "shows its installation disk; the daemon switches it to a network card"};
  bool is_card = !interface_of(device).empty();
  if (is_card && options.every_adapter) return Verdict{true, "taken by --all"};
  if (id.vendor == kHuaweiVendor)
    return Verdict{false, "a Huawei device, but not known as a stick with the HiLink API"};
  if (is_card) return Verdict{false, fmt::format("a network adapter ({}), not known as a stick", driver_of(device))};
  return std::nullopt;
}

ProposedDongle describe(const UsbDevice& device, const Verdict& verdict) {
  ProposedDongle dongle;
  dongle.usb_path = device.path;
  dongle.address = "dhcp";
  dongle.usb_id = id_of(device);
  dongle.name = plain_name(device);
  dongle.interface = interface_of(device);
  dongle.reason = verdict.reason;
  return dongle;
}

/// The number of the subnet that is already there: 192.168.N.100/24 → N.
std::optional<unsigned> subnet_number(const ProposedDongle& dongle, const Hardware& seen) {
  auto found = seen.addresses.find(dongle.interface);
  if (found == seen.addresses.end()) return std::nullopt;
  const Prefix& prefix = found->second;
  std::string text = prefix.address.to_string();
  if (prefix.address.family() != AF_INET || prefix.length != 24 || text.starts_with("169.254.")) return std::nullopt;
  auto dot = text.find('.', text.find('.') + 1);
  auto number =
      parse_decimal(std::string_view(text).substr(dot + 1, text.rfind('.') - dot - 1), kMinDongleId, kMaxDongleId);
  return number ? std::optional(static_cast<unsigned>(*number)) : std::nullopt;
}

void assign_ids(Proposal& proposal, const Hardware& seen) {
  std::map<unsigned, int> wanted_by;
  for (const ProposedDongle& dongle : proposal.dongles)
    if (auto number = subnet_number(dongle, seen)) ++wanted_by[*number];
  std::set<unsigned> taken;
  for (ProposedDongle& dongle : proposal.dongles) {
    auto number = subnet_number(dongle, seen);
    if (!number || wanted_by[*number] != 1) continue;
    dongle.id = *number;
    dongle.address = seen.addresses.at(dongle.interface).to_string();
    taken.insert(*number);
  }
  unsigned next = kFirstId;
  auto free_id = [&]() -> unsigned {
    while (next <= kMaxDongleId && taken.contains(next)) ++next;
    if (next <= kMaxDongleId) return next++;
    for (unsigned id = kMinDongleId; id < kFirstId; ++id)
      if (taken.insert(id).second) return id;
    return 0;
  };
  for (auto* list : {&proposal.dongles, &proposal.passed_over})
    for (ProposedDongle& dongle : *list)
      if (dongle.id == 0) dongle.id = free_id();
  for (const ProposedDongle& dongle : proposal.dongles)
    if (dongle.id == 0) proposal.left_out.push_back(dongle.usb_path);
  for (auto* list : {&proposal.dongles, &proposal.passed_over})
    std::erase_if(*list, [](const ProposedDongle& dongle) { return dongle.id == 0; });
}

void collect_hubs(Proposal& proposal, const UsbTree& tree) {
  std::map<std::string, int> sticks;
  for (const ProposedDongle& dongle : proposal.dongles) ++sticks[usb_parent(dongle.usb_path)];
  for (const auto& [path, count] : sticks) {
    if (path.starts_with("usb")) {
      proposal.sticks_on_root_hubs[path] = count;
    } else if (const UsbDevice* hub = tree.find(path)) {
      proposal.hubs.push_back({path, id_of(*hub), plain_name(*hub), hub->port_count, count});
    }
  }
  std::ranges::sort(proposal.hubs, usb_path_less, &ProposedHub::location);
}

std::string plural(int count, const char* thing) {
  return fmt::format("{} {}{}", count, thing, count == 1 ? "" : "s");
}

/// "12d1:14dc HUAWEI_MOBILE, interface eth1: HiLink stick"
std::string comment_of(const ProposedDongle& dongle) {
  std::string text = to_string(dongle.usb_id);
  if (!dongle.name.empty()) text += " " + dongle.name;
  if (!dongle.interface.empty()) text += ", interface " + dongle.interface;
  return text + ": " + dongle.reason;
}

std::string render_dongle(const ProposedDongle& dongle, const char* prefix) {
  return fmt::format(
      "{0}  # {1}\n"
      "{0}  - id: {2}\n"
      "{0}    usb_path: \"{3}\"\n"
      "{0}    address: {4}\n"
      "{0}    modem: {{type: hilink}}\n",
      prefix, comment_of(dongle), dongle.id, dongle.usb_path, dongle.address);
}

std::string render_hubs(const Proposal& proposal) {
  std::string text;
  for (const auto& [root, count] : proposal.sticks_on_root_hubs)
    text += fmt::format("# On the host's own ports ({}): {}. Most hosts can't switch the power of those.\n", root,
                        plural(count, "stick"));
  if (proposal.hubs.empty()) return text.empty() ? text : text + "\n";
  text += "# The hubs that carry sticks, by the USB port that they are plugged into.\nhubs:\n";
  for (const ProposedHub& hub : proposal.hubs) {
    std::string name = hub.name.empty() ? "" : " " + hub.name;
    text += fmt::format("  # {}{}: {}, {}\n  - {{name: \"hub-{}\", location: \"{}\"}}\n", to_string(hub.usb_id), name,
                        plural(hub.port_count, "port"), plural(hub.sticks, "stick"), hub.location, hub.location);
  }
  return text + "\n";
}

Json to_json(const ProposedDongle& dongle) {
  return {{"id", dongle.id},           {"usb_path", dongle.usb_path},
          {"address", dongle.address}, {"usb_id", to_string(dongle.usb_id)},
          {"name", dongle.name},       {"interface", dongle.interface.empty() ? Json() : Json(dongle.interface)},
          {"reason", dongle.reason}};
}

}  // namespace

Proposal propose(const Hardware& seen, const ProposalOptions& options) {
  std::vector<const UsbDevice*> devices;
  for (const auto& [path, device] : seen.tree.devices) devices.push_back(&device);
  std::ranges::sort(devices, usb_path_less, &UsbDevice::path);
  Proposal proposal;
  for (const UsbDevice* device : devices) {
    auto verdict = judge(*device, options);
    if (!verdict) continue;
    (verdict->is_stick ? proposal.dongles : proposal.passed_over).push_back(describe(*device, *verdict));
  }
  assign_ids(proposal, seen);
  collect_hubs(proposal, seen.tree);
  return proposal;
}

std::string render_yaml(const Proposal& proposal) {
  std::string text =
      "# dongle-supervisor's configuration, proposed by `donglectl init` from what is plugged into this host.\n"
      "# `donglectl config check FILE` finds mistakes, `donglectl config schema` explains every key.\n\n";
  text += render_hubs(proposal);
  text +=
      "# A dongle is known by the USB port that it is plugged into. Its proxy, SOCKS5 and HTTP, is at 127.0.0.1, port\n"
      "# 10000 + id. A HiLink modem with a password wants modem: {username: admin, password_file: FILE}.\n"
      "dongles:\n";
  for (const ProposedDongle& dongle : proposal.dongles) text += render_dongle(dongle, "");
  if (!proposal.passed_over.empty())
    text += "\n# Left to you: if one of these is a stick, remove the # in front of its lines.\n";
  for (const ProposedDongle& dongle : proposal.passed_over) text += render_dongle(dongle, "#");
  text +=
      "\n"
      "# What else is often set, with its default:\n"
      "# proxy: {listen_address: 127.0.0.1, clients: []}   # beyond loopback, say who may come in\n"
      "# probe: {interval: 30s}                            # shorter finds a dead link sooner and spends mobile data\n"
      "# recovery: {hub_power: when_all_down}              # never, or always: also under healthy neighbours\n";
  return text;
}

Json to_json(const Proposal& proposal) {
  Json hubs = Json::array(), dongles = Json::array(), passed_over = Json::array();
  for (const ProposedHub& hub : proposal.hubs)
    hubs.push_back({{"location", hub.location},
                    {"usb_id", to_string(hub.usb_id)},
                    {"name", hub.name},
                    {"ports", hub.port_count},
                    {"sticks", hub.sticks}});
  for (const ProposedDongle& dongle : proposal.dongles) dongles.push_back(to_json(dongle));
  for (const ProposedDongle& dongle : proposal.passed_over) passed_over.push_back(to_json(dongle));
  return {{"schema", 1},
          {"hubs", hubs},
          {"dongles", dongles},
          {"passed_over", passed_over},
          {"left_out", proposal.left_out}};
}

}  // namespace dongle::ctl
