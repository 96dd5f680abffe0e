#pragma once
#include <optional>
#include <string>
#include <vector>

#include "common/ids.h"
#include "common/net_address.h"

namespace dongle {

/// What one dongle's network device is like now, as the routing found and made it.
struct DongleNetwork {
  std::string device;  ///< empty: absent
  IfIndex ifindex;
  std::string usb_path;  ///< of the USB device behind it; empty: not one, or absent
  bool link_up = false;  ///< up and with carrier
  std::optional<Prefix> v4, v6;
  std::optional<Address> gateway_v4, gateway_v6;
  std::vector<Address> dns;  ///< from the lease; empty without one
  bool routes_in_force = false;
  std::string trouble;  ///< what keeps it from working, "" if nothing

  bool present() const { return static_cast<bool>(ifindex); }
  bool has_address() const { return v4 || v6; }
  /// Connections through it can be tried.
  bool usable() const { return present() && link_up && has_address() && routes_in_force; }
  bool operator==(const DongleNetwork&) const = default;
};

}  // namespace dongle
