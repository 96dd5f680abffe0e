#include "supervisor/inventory.h"

#include <set>

namespace dongle {
namespace {

DeviceMatch match(const DongleConfig& config, std::span<const Link> links, const UsbTree& tree) {
  std::string usb_path = resolve_usb_path(tree, config.usb_path);
  if (!usb_path.empty())
    for (const Link& link : links)
      if (link.usb_path == usb_path) return {link.index, {}};
  if (!config.interface.empty()) {
    for (const Link& link : links) {
      if (link.name != config.interface) continue;
      if (!config.usb_path.empty() && !link.usb_path.empty())
        return {{},
                fmt::format("interface {} is at USB path {}, not at {}", link.name, link.usb_path, config.usb_path)};
      return {link.index, {}};
    }
  }
  if (!config.mac.empty()) {
    const Link* found = nullptr;
    for (const Link& link : links) {
      if (link.mac != config.mac) continue;
      if (found)
        return {{},
                fmt::format("interfaces {} and {} both have mac {}; use usb_path", found->name, link.name, config.mac)};
      found = &link;
    }
    if (found) return {found->index, {}};
  }
  std::string wanted = !config.interface.empty() ? "interface " + config.interface
                       : !config.mac.empty()     ? "interface with mac " + config.mac
                                                 : "interface at USB path " + config.usb_path;
  return {{}, "no " + wanted};
}

}  // namespace

std::map<DongleId, DeviceMatch> match_devices(std::span<const DongleConfig> dongles, std::span<const Link> links,
                                              const UsbTree& tree) {
  std::map<DongleId, DeviceMatch> matches;
  std::set<IfIndex> taken;
  for (const DongleConfig& config : dongles) {
    DeviceMatch found = match(config, links, tree);
    if (found.index && !taken.insert(found.index).second)
      found = {{}, "its interface belongs to another dongle already"};
    matches[config.id] = found;
  }
  return matches;
}

}  // namespace dongle
