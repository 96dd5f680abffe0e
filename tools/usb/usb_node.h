#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/hub_facts.h"
#include "common/unique_fd.h"
#include "tools/usb/usb_paths.h"

namespace dongle::usb {

/// A device's file in usbfs: transfers straight to the device, past its drivers. libusb isn't used: it looks at every
/// device before it opens one, and one that hangs would hold up the work on all others.
class UsbNode {
 public:
  /// Permission; NotFound: it isn't on the bus; Unsupported: it is, but there is no usbfs (in a container).
  static Result<UsbNode> open(const Roots& roots, const std::string& path);

  struct Control {
    std::uint8_t request_type = 0, request = 0;
    std::uint16_t value = 0, index = 0;
  };
  /// For requests without data. Unsupported: the device refused it (a stall).
  Result<void> control(const Control& what);
  /// For requests that read up to `size` bytes.
  Result<std::vector<std::uint8_t>> read_control(const Control& what, std::uint16_t size);

  /// Takes the interface from whatever kernel driver has it.
  Result<void> claim(int interface);
  /// Error::sys tells how it failed.
  Result<void> bulk_out(std::uint8_t endpoint, std::span<const std::uint8_t> bytes, Millis timeout);

 private:
  explicit UsbNode(UniqueFd fd, std::string file) : fd_(std::move(fd)), file_(std::move(file)) {}
  Result<int> transfer(const Control& what, std::span<std::uint8_t> data);
  UniqueFd fd_;
  std::string file_;
};

/// A hub's own requests (USB 2.0 11.24, USB 3 10.16).
class HubNode {
 public:
  explicit HubNode(UsbNode node, bool is_superspeed) : node_(std::move(node)), is_superspeed_(is_superspeed) {}
  Result<PowerSwitching> switching();
  struct Status {
    bool powered = false, connected = false;
  };
  Result<Status> status(int port);
  Result<void> set_power(int port, bool on);

 private:
  UsbNode node_;
  bool is_superspeed_;
};

}  // namespace dongle::usb
