#pragma once
#include <map>
#include <span>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/usb_tree.h"
#include "supervisor/netlink_types.h"

namespace dongle {

/// Which network device is a dongle's now; none: why not.
struct DeviceMatch {
  IfIndex index;
  std::string trouble;  ///< without a device: "no interface m11", "two interfaces have this mac", …
};

/// Finds each dongle's device. The USB port path decides where the host has USB there; a name comes second, and not if
/// the device sits in another port; a MAC last, as sticks share them. A device serves one dongle only. Pure.
/// tree: finds paths that are configured with their controller in front; without it they match nothing.
std::map<DongleId, DeviceMatch> match_devices(std::span<const DongleConfig> dongles, std::span<const Link> links,
                                              const UsbTree& tree = {});

}  // namespace dongle
