#include "common/usb_modes.h"

#include <algorithm>

#include "common/stick_ids.h"

namespace dongle {
namespace {

constexpr std::uint8_t kConfigurationDescriptor = 2, kInterfaceDescriptor = 4, kEndpointDescriptor = 5;

}  // namespace

bool is_mode_switchable(const UsbDevice& device) {
  return is_zero_cd_id(id_of(device)) &&
         std::ranges::all_of(device.interfaces, [](const UsbInterface& i) { return i.net_devices.empty(); });
}

const std::array<std::uint8_t, 31>& mode_switch_message() {
  static constexpr std::array<std::uint8_t, 31> kMessage{
      0x55, 0x53, 0x42, 0x43,  // "USBC": a command block wrapper
      0x12, 0x34, 0x56, 0x78,  // its tag
      0,    0,    0,    0,     // no data follows
      0,    0,    0,           // no flags, unit 0, length left at 0 as Huawei's own tool does
      0x11, 0x06, 0x20, 0,    0, 0x01, 0x01, 0, 0x01, 0, 0, 0, 0, 0, 0, 0};
  return kMessage;
}

UsbFunction usb_function(int interface_class, int subclass, int protocol) {
  if (interface_class == 0x08) return UsbFunction::MassStorage;
  if (interface_class == 0x02 && subclass == 0x06) return UsbFunction::Ecm;
  if (interface_class == 0x02 && subclass == 0x0d) return UsbFunction::Ncm;
  if (interface_class == 0x02 && subclass == 0x0e) return UsbFunction::Mbim;
  // The three ways in which devices announce RNDIS (Linux rndis_host, products[]).
  if ((interface_class == 0xe0 && subclass == 0x01 && protocol == 0x03) ||
      (interface_class == 0x02 && subclass == 0x02 && protocol == 0xff) ||
      (interface_class == 0xef && subclass == 0x04 && protocol == 0x01))
    return UsbFunction::Rndis;
  return UsbFunction::Other;
}

bool UsbConfiguration::has(UsbFunction function) const {
  return std::ranges::any_of(interfaces, [function](const UsbConfigurationInterface& i) {
    return usb_function(i.interface_class, i.subclass, i.protocol) == function;
  });
}

std::vector<UsbConfiguration> parse_configurations(std::string_view descriptors) {
  std::vector<UsbConfiguration> found;
  bool counted_interface = false;  // the endpoints that follow belong to an alternate setting that is kept
  while (descriptors.size() >= 2) {
    auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(descriptors[i]); };
    std::size_t length = byte(0);
    if (length < 2 || length > descriptors.size()) break;
    if (byte(1) == kConfigurationDescriptor && length >= 9) {
      found.push_back({byte(5), {}});
      counted_interface = false;
    } else if (byte(1) == kInterfaceDescriptor && length >= 9 && !found.empty()) {
      counted_interface = byte(3) == 0;
      if (counted_interface) found.back().interfaces.push_back({byte(2), byte(5), byte(6), byte(7), {}});
    } else if (byte(1) == kEndpointDescriptor && length >= 7 && counted_interface) {
      found.back().interfaces.back().endpoints.push_back({byte(2), (byte(3) & 0x03) == 0x02});
    }
    descriptors.remove_prefix(length);
  }
  return found;
}

std::optional<int> network_configuration(const std::vector<UsbConfiguration>& configurations) {
  for (UsbFunction wanted : {UsbFunction::Ecm, UsbFunction::Rndis})
    for (const UsbConfiguration& c : configurations)
      if (c.has(wanted)) return c.value;
  return std::nullopt;
}

}  // namespace dongle
