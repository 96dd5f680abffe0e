#include "supervisor/usb_sight.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common/stick_ids.h"

namespace dongle {
namespace {

bool is_wwan_name(const std::string& name) {
  return name.starts_with("ww");  // wwan0, and wwx…, wwp… as udev renames it
}

/// The interface has a network device through which Ethernet frames go. Of drivers that we don't know the device's
/// name tells; NCM does as well as Ethernet where the stick has nothing else to offer.
bool is_network_card(const UsbInterface& interface, bool has_choice) {
  if (interface.net_devices.empty()) return false;
  if (is_ethernet_style(interface)) return true;
  for (const char* driver : {"cdc_mbim", "huawei_cdc_ncm", "qmi_wwan"})
    if (interface.driver == driver) return false;
  if (interface.driver == "cdc_ncm" && has_choice) return false;
  return std::ranges::none_of(interface.net_devices, is_wwan_name);
}

/// ": configuration 1 of 3, cdc_ncm makes wwan0, interface 2 (class ff) has no driver"
std::string describe(const UsbDevice& stick) {
  if (stick.configuration == 0) return ": no configuration is active";
  std::string text = stick.configuration_count > 1
                         ? fmt::format(": configuration {} of {}", stick.configuration, stick.configuration_count)
                         : fmt::format(": configuration {}", stick.configuration);
  for (const UsbInterface& i : stick.interfaces) {
    if (i.driver.empty())
      text += fmt::format(", interface {} (class {:02x}) has no driver", i.number, i.interface_class);
    else if (i.net_devices.empty())
      text += fmt::format(", {}", i.driver);
    else
      text += fmt::format(", {} makes {}", i.driver, fmt::join(i.net_devices, " and "));
  }
  return text;
}

UsbMode mode_of(const UsbDevice& stick) {
  if (stick.is_hub) return UsbMode::Unknown;
  if (!stick.authorized) return UsbMode::NotAuthorized;
  bool has_choice = stick.configuration_count > 1;
  bool has_card =
      std::ranges::any_of(stick.interfaces, [&](const UsbInterface& i) { return is_network_card(i, has_choice); });
  if (has_card) return UsbMode::Ethernet;
  UsbId id = id_of(stick);
  if (is_zero_cd_id(id) || (id.vendor == kHuaweiVendor && is_mass_storage_only(stick))) return UsbMode::MassStorage;
  if (stick.configuration == 0) return UsbMode::WrongConfiguration;
  bool should_have_card = std::ranges::any_of(stick.interfaces, is_ethernet_style);
  return has_choice && !should_have_card ? UsbMode::WrongConfiguration : UsbMode::NoInterface;
}

std::string evidence_of(const UsbDevice& stick, UsbMode mode) {
  std::string what = fmt::format("{} is {}", stick.path, to_string(id_of(stick)));
  switch (mode) {
    case UsbMode::Unknown: return what + ", a hub and no stick";
    case UsbMode::NotAuthorized: return what + ", which the kernel was told not to use (authorized is 0)";
    case UsbMode::MassStorage: return what + ", mass storage";
    case UsbMode::WrongConfiguration:
    case UsbMode::NoInterface:
    case UsbMode::Missing:
    case UsbMode::Ethernet: return what + describe(stick);
  }
  return what;
}

std::string evidence_of_missing(const UsbTree& tree, std::string_view path) {
  std::string hub = usb_parent(path);
  if (tree.find(hub) != nullptr) return fmt::format("nothing is at {}; its hub {} is there", path, hub);
  return fmt::format("nothing is at {}, and its hub {} is gone, too", path, hub);
}

/// By the nearest hub that is there.
std::string controller_for(const UsbTree& tree, std::string_view path) {
  for (std::string at(path); !at.empty(); at = usb_parent(at))
    if (const UsbDevice* device = tree.find(at)) return device->controller;
  return {};
}

}  // namespace

UsbSight sight_of(const UsbTree& tree, std::string_view configured) {
  UsbSight sight;
  if (configured.empty()) {
    sight.evidence = "no usb_path is configured";
    return sight;
  }
  if (!tree.host_has_usb) {
    sight.evidence = "this host has no USB";
    return sight;
  }
  std::string usb_path = resolve_usb_path(tree, configured);
  if (usb_path.empty()) {
    sight.evidence = fmt::format("this host has no USB controller as in {}", configured);
    return sight;
  }
  sight.hub = usb_parent(usb_path);
  sight.controller = controller_for(tree, usb_path);
  const UsbDevice* stick = tree.find(usb_path);
  if (stick == nullptr) {
    sight.mode = UsbMode::Missing;
    sight.evidence = evidence_of_missing(tree, usb_path);
    return sight;
  }
  sight.mode = mode_of(*stick);
  sight.evidence = evidence_of(*stick, sight.mode);
  sight.devnum = stick->devnum;
  return sight;
}

}  // namespace dongle
