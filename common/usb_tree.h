#pragma once
// What is plugged into this host's USB, as a value. Read by usb_scan; decided upon by pure code. Pure.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace dongle {

/// One interface of a device's active configuration. Numbers as the USB descriptors have them.
struct UsbInterface {
  int number = 0;
  int interface_class = 0, subclass = 0, protocol = 0;
  std::string driver;                    ///< kernel driver bound to it; empty: none
  std::vector<std::string> net_devices;  ///< names of its network devices: mostly none or one
  bool operator==(const UsbInterface&) const = default;
};

struct UsbDevice {
  std::string path;        ///< port path, "1-4.2"; "usb1" for the root hub of bus 1
  std::string controller;  ///< the host controller's own device, "0000:00:14.0"
  int devnum = 0;          ///< counts up: another number is another enumeration
  std::uint16_t vendor = 0, product = 0, bcd_device = 0;
  std::string product_name, serial;
  bool authorized = true;
  int configuration = 0;  ///< bConfigurationValue; 0: none is active
  int configuration_count = 1;
  bool is_hub = false;
  int port_count = 0;  ///< of a hub
  std::vector<UsbInterface> interfaces;
  bool operator==(const UsbDevice&) const = default;
};

/// By port path. The path is a stick's identity: it stays when the stick re-enumerates.
struct UsbTree {
  std::map<std::string, UsbDevice> devices;
  bool host_has_usb = true;  ///< false: this kernel has no USB at all, so an empty tree says nothing about a stick

  const UsbDevice* find(std::string_view path) const;
  /// What is plugged directly into the hub, in the order of its ports.
  std::vector<const UsbDevice*> children(std::string_view hub) const;
  bool operator==(const UsbTree&) const = default;
};

/// The hub that a device is plugged into: "1-4.2" → "1-4", "1-4" → "usb1"; empty for a root hub or what is no path.
std::string usb_parent(std::string_view path);
/// The port of that hub: "1-4.2" → 2; 0 for a root hub or what is no path.
int usb_port(std::string_view path);
/// The port path in the tree for one as it stands in a configuration: itself, or for udev's form with the controller in
/// front ("pci-0000:00:14.0-usb-0:4.2", which stays when bus numbers change) that of the controller's bus where
/// something is plugged in there, else of its first bus. Empty: no such controller.
std::string resolve_usb_path(const UsbTree& tree, std::string_view configured);
/// The port path in a kernel name or in a path below /sys/devices, of whatever hangs on that port: "2-1.4",
/// "2-1.4:1.0",
/// "/devices/…/2-1.4/2-1.4:1.0/net/eth1" → "2-1.4"; empty: there is none in it.
std::string usb_path_in(std::string_view name);
/// Sorts port paths as people count: bus, then each port as a number. "2-1.2" < "2-1.10".
bool usb_path_less(std::string_view a, std::string_view b);
/// The path of what is plugged into a port: ("1-4", 2) → "1-4.2", ("usb1", 4) → "1-4".
std::string usb_child(std::string_view hub, int port);

}  // namespace dongle
