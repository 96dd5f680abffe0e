#pragma once
#include <string>

#include "common/error.h"
#include "common/usb_tree.h"

namespace dongle {

/// Whether product name and serial number are read, too. The kernel hands them out under the device's lock, which a
/// driver that hangs in its probe holds for as long as it hangs; nothing else in a UsbTree needs a lock.
enum class UsbStrings { Skip, Read };

/// What is plugged in now. Needs neither udevd nor privileges. A device that goes while it is read is left out or lacks
/// what was read too late; the kernel announces its end, so whoever watches events reads again. Network devices are
/// those of the network namespace that /sys was mounted in.
/// Blocks: a few file reads a device (below a millisecond each); with UsbStrings::Read as long as a driver does.
/// Fails only for want of memory or descriptors.
Result<UsbTree> scan_usb(UsbStrings strings);

/// Product name and serial number of a device, empty where it has none. Blocks as UsbStrings::Read does.
struct UsbNames {
  std::string product_name, serial;
  bool operator==(const UsbNames&) const = default;
};
UsbNames read_usb_names(const std::string& path);

}  // namespace dongle
