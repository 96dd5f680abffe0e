#pragma once
// What can be seen of one stick on the bus, as the diagnosis and the ladder want it. Pure.
#include <string>
#include <string_view>

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

}  // namespace dongle
