#include "common/stick_ids.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

namespace dongle {
namespace {

constexpr std::array<std::uint16_t, 2> kHiLink{0x14db, 0x14dc};
// usb_modeswitch's device data for 12d1: those that HuaweiNewMode switches.
constexpr std::array<std::uint16_t, 10> kZeroCd{0x1440, 0x1446, 0x157d, 0x1f01, 0x1f02,
                                                0x1f10, 0x1f11, 0x1f12, 0x1f13, 0x1f14};
constexpr int kMassStorage = 0x08;

std::optional<std::uint16_t> parse_hex4(std::string_view text) {
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.size() != 4 || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return static_cast<std::uint16_t>(value);
}

bool is_of(const UsbInterface& i, int interface_class, int subclass, int protocol) {
  return i.interface_class == interface_class && i.subclass == subclass && i.protocol == protocol;
}

}  // namespace

std::optional<UsbId> parse_usb_id(std::string_view text) {
  if (text.size() != 9 || text[4] != ':') return std::nullopt;
  auto vendor = parse_hex4(text.substr(0, 4)), product = parse_hex4(text.substr(5));
  return vendor && product ? std::optional(UsbId{*vendor, *product}) : std::nullopt;
}

std::string to_string(UsbId id) {
  return fmt::format("{:04x}:{:04x}", id.vendor, id.product);
}

bool is_hilink_id(UsbId id) {
  return id.vendor == kHuaweiVendor && std::ranges::find(kHiLink, id.product) != kHiLink.end();
}

bool is_zero_cd_id(UsbId id) {
  return id.vendor == kHuaweiVendor && std::ranges::find(kZeroCd, id.product) != kZeroCd.end();
}

bool is_mass_storage_only(const UsbDevice& device) {
  return !device.interfaces.empty() &&
         std::ranges::all_of(
             device.interfaces, [](int c) { return c == kMassStorage; }, &UsbInterface::interface_class);
}

bool is_ethernet_style(const UsbInterface& i) {
  constexpr std::array<std::string_view, 4> kEthernetDrivers{"cdc_ether", "rndis_host", "cdc_eem", "cdc_subset"};
  constexpr std::array<std::string_view, 5> kOtherDrivers{"cdc_ncm", "cdc_mbim", "huawei_cdc_ncm", "qmi_wwan",
                                                          "usb-storage"};
  if (std::ranges::find(kEthernetDrivers, i.driver) != kEthernetDrivers.end()) return true;
  if (std::ranges::find(kOtherDrivers, i.driver) != kOtherDrivers.end()) return false;
  bool is_cdc = i.interface_class == 0x02 && (i.subclass == 0x06 || i.subclass == 0x0c);                    // ECM, EEM
  return is_cdc || is_of(i, 0x02, 0x02, 0xff) || is_of(i, 0xe0, 0x01, 0x03) || is_of(i, 0xef, 0x04, 0x01);  // RNDIS
}

}  // namespace dongle
