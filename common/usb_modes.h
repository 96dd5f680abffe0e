#pragma once
// Which sticks show a CD-ROM instead of their network card, how they are told to change, and which configuration of a
// device is the one with a plain network card. Pure.
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "common/usb_tree.h"

namespace dongle {

/// A zero-CD stick (stick_ids.h) that the switch message turns into a network card: by its ids, and no network device
/// already. Huawei's serial-mode sticks (14fe, 1505, 155a, 1c0b) are none: the message does them no good.
bool is_mode_switchable(const UsbDevice& device);

/// The SCSI command in a bulk-only wrapper, for the bulk OUT endpoint of interface 0: Huawei's "new mode".
const std::array<std::uint8_t, 31>& mode_switch_message();

/// What one interface of a configuration is for.
enum class UsbFunction { Other, MassStorage, Ecm, Rndis, Ncm, Mbim };
UsbFunction usb_function(int interface_class, int subclass, int protocol);

struct UsbEndpoint {
  std::uint8_t address = 0;
  bool is_bulk = false;
  bool is_out() const { return (address & 0x80) == 0; }
};
struct UsbConfigurationInterface {
  int number = 0, interface_class = 0, subclass = 0, protocol = 0;
  std::vector<UsbEndpoint> endpoints;  ///< of alternate setting 0
};
struct UsbConfiguration {
  int value = 0;
  std::vector<UsbConfigurationInterface> interfaces;
  bool has(UsbFunction function) const;
};
/// The configurations in a device's raw descriptors, as sysfs `descriptors` and usbfs have them. Whatever is cut off or
/// of impossible length ends the reading; what was read until then counts.
std::vector<UsbConfiguration> parse_configurations(std::string_view descriptors);
/// The configuration to choose for a plain Ethernet card: ECM before RNDIS; none if no configuration has one of them.
std::optional<int> network_configuration(const std::vector<UsbConfiguration>& configurations);

}  // namespace dongle
