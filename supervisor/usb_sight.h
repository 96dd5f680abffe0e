#pragma once
// What can be seen of one stick on the bus, as the diagnosis and the ladder want it. Pure.
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "common/json.h"
#include "common/usb_tree.h"

namespace dongle {

/// From "nothing can be said" over what keeps a stick from being a network device to "it is one".
enum class UsbMode {
  Unknown,             ///< no usb_path is configured, or this host shows no USB: nothing can be said
  Missing,             ///< nothing is at the port
  NotAuthorized,       ///< there, but the kernel was told not to use it
  MassStorage,         ///< shows its installation disk; wants the mode switch
  WrongConfiguration,  ///< an active configuration (NCM, MBIM) that makes no usable network device
  NoInterface,         ///< the right configuration, but no network device
  Ethernet,            ///< a network device, as it should be
};

struct UsbSight {
  UsbMode mode = UsbMode::Unknown;
  std::string evidence;    ///< for a person: "1-4.2 is 12d1:1f01, mass storage"; of Unknown: why nothing can be said
  std::string hub;         ///< port path of the hub that it hangs on ("1-4", "usb1"); known also while it is missing
  std::string controller;  ///< the host controller's device, "0000:00:14.0"; empty: not known
  int devnum = 0;          ///< another number is another enumeration; 0 while it is missing
  bool operator==(const UsbSight&) const = default;
};

/// configured: the dongle's usb_path; empty: the dongle isn't known by one.
UsbSight sight_of(const UsbTree& tree, std::string_view configured);

/// Which value of bConfigurationValue turns a stick in UsbMode::WrongConfiguration into a network card: learnt from
/// what has worked, by vendor, product and firmware (bcdDevice). Bound: 64 of them.
class ConfigurationMemory {
 public:
  static constexpr std::size_t kMaxEntries = 64;

  /// The value to try next: the one that has worked before, else each other in turn; nullopt: all were tried.
  std::optional<int> next(const UsbDevice& stick, const std::set<int>& tried) const;
  /// The stick's active configuration made it a network card.
  void learn(const UsbDevice& stick);

  Json to_json() const;
  /// Entries that make no sense are left out.
  static ConfigurationMemory from_json(const Json& json);
  bool operator==(const ConfigurationMemory&) const = default;

 private:
  std::map<std::string, int> by_model_;  // "12d1:155e:0102" -> bConfigurationValue
};

}  // namespace dongle
