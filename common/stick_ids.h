#pragma once
// Which USB devices are sticks of the kind that this product is for, as far as their ids tell. Pure.
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/usb_tree.h"

namespace dongle {

inline constexpr std::uint16_t kHuaweiVendor = 0x12d1;

struct UsbId {
  std::uint16_t vendor = 0, product = 0;
  auto operator<=>(const UsbId&) const = default;
};
/// "12d1:14dc"; nullopt if it isn't one.
std::optional<UsbId> parse_usb_id(std::string_view text);
std::string to_string(UsbId id);
inline UsbId id_of(const UsbDevice& device) {
  return {device.vendor, device.product};
}

/// A Huawei stick as a network card with a HiLink API (12d1:14db, 14dc).
bool is_hilink_id(UsbId id);
/// A Huawei stick that shows the disk with its Windows drivers, and nothing else, until it is told to switch.
bool is_zero_cd_id(UsbId id);

/// Its interfaces are mass storage and nothing else; false without any interface.
bool is_mass_storage_only(const UsbDevice& device);
/// The interface carries Ethernet frames (CDC ECM or EEM, RNDIS): as its driver says or, without one, its class. What
/// speaks NCM or MBIM doesn't: it wants to be told over another channel to connect.
bool is_ethernet_style(const UsbInterface& interface);

}  // namespace dongle
