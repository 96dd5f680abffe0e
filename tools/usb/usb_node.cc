#include "tools/usb/usb_node.h"

#include <fcntl.h>
#include <linux/usbdevice_fs.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <utility>

namespace dongle::usb {
namespace {

// A hub answers within milliseconds; USB's own limit for a request without data is 50 ms, with data 500 ms.
constexpr Millis kControlTimeout{1000};

constexpr std::uint8_t kSetFeature = 3, kClearFeature = 1, kGetStatus = 0, kGetDescriptor = 6;
constexpr std::uint16_t kPortPower = 8;
constexpr std::uint8_t kToPort = 0x23, kFromPort = 0xa3, kFromHub = 0xa0;
constexpr std::uint8_t kHubDescriptor = 0x29, kSuperspeedHubDescriptor = 0x2a;

}  // namespace

Result<UsbNode> UsbNode::open(const Roots& roots, const std::string& path) {
  auto file = device_node(roots, path);
  if (!file) return std::unexpected(std::move(file).error());
  UniqueFd fd(::open(file->c_str(), O_RDWR | O_CLOEXEC));
  if (fd) return UsbNode(std::move(fd), *file);
  if (errno == ENOENT && device_folder(roots, path)) return fail(Errc::Unsupported, "there is no {}", *file);
  return fail_errno(errno, "{}", *file);
}

Result<int> UsbNode::transfer(const Control& what, std::span<std::uint8_t> data) {
  usbdevfs_ctrltransfer request{};
  request.bRequestType = what.request_type;
  request.bRequest = what.request;
  request.wValue = what.value;
  request.wIndex = what.index;
  request.wLength = static_cast<std::uint16_t>(data.size());
  request.timeout = static_cast<std::uint32_t>(kControlTimeout.count());
  request.data = data.data();
  int size = ioctl(fd_.get(), USBDEVFS_CONTROL, &request);
  if (size >= 0) return size;
  if (errno == EPIPE) return fail(Errc::Unsupported, "{}: the device refused request {}", file_, what.request);
  return fail_errno(errno, "{}: request {}", file_, what.request);
}

Result<void> UsbNode::control(const Control& what) {
  auto size = transfer(what, {});
  if (!size) return std::unexpected(std::move(size).error());
  return {};
}

Result<std::vector<std::uint8_t>> UsbNode::read_control(const Control& what, std::uint16_t size) {
  std::vector<std::uint8_t> data(size);
  auto got = transfer(what, data);
  if (!got) return std::unexpected(std::move(got).error());
  data.resize(static_cast<std::size_t>(*got));
  return data;
}

Result<void> UsbNode::claim(int interface) {
  usbdevfs_ioctl disconnect{interface, USBDEVFS_DISCONNECT, nullptr};
  // ENODATA: no driver has it.
  if (ioctl(fd_.get(), USBDEVFS_IOCTL, &disconnect) < 0 && errno != ENODATA)
    return fail_errno(errno, "{}: take interface {} from its driver", file_, interface);
  unsigned number = static_cast<unsigned>(interface);
  if (ioctl(fd_.get(), USBDEVFS_CLAIMINTERFACE, &number) < 0)
    return fail_errno(errno, "{}: claim interface {}", file_, interface);
  return {};
}

Result<void> UsbNode::bulk_out(std::uint8_t endpoint, std::span<const std::uint8_t> bytes, Millis timeout) {
  usbdevfs_bulktransfer request{};
  request.ep = endpoint;
  request.len = static_cast<unsigned>(bytes.size());
  request.timeout = static_cast<unsigned>(timeout.count());
  request.data = const_cast<std::uint8_t*>(bytes.data());  // only read, for an OUT endpoint
  if (ioctl(fd_.get(), USBDEVFS_BULK, &request) < 0) return fail_errno(errno, "{}: bulk transfer", file_);
  return {};
}

Result<PowerSwitching> HubNode::switching() {
  auto type = is_superspeed_ ? kSuperspeedHubDescriptor : kHubDescriptor;
  auto bytes = node_.read_control({kFromHub, kGetDescriptor, static_cast<std::uint16_t>(type << 8), 0}, 71);
  if (!bytes) return std::unexpected(std::move(bytes).error());
  if (bytes->size() < 5) return fail(Errc::Protocol, "the hub's descriptor has {} bytes", bytes->size());
  int ports = (*bytes)[2];
  switch ((*bytes)[3] & 0x03) {  // wHubCharacteristics, little-endian
    case 0: return ports == 1 ? PowerSwitching::PerPort : PowerSwitching::Ganged;
    case 1: return PowerSwitching::PerPort;
    default: return PowerSwitching::None;
  }
}

Result<HubNode::Status> HubNode::status(int port) {
  auto bytes = node_.read_control({kFromPort, kGetStatus, 0, static_cast<std::uint16_t>(port)}, 4);
  if (!bytes) return std::unexpected(std::move(bytes).error());
  if (bytes->size() < 4) return fail(Errc::Protocol, "the status of port {} has {} bytes", port, bytes->size());
  unsigned bits = (*bytes)[0] | static_cast<unsigned>((*bytes)[1]) << 8;
  return Status{(bits & (is_superspeed_ ? 0x0200u : 0x0100u)) != 0, (bits & 0x0001u) != 0};
}

Result<void> HubNode::set_power(int port, bool on) {
  return node_.control({kToPort, on ? kSetFeature : kClearFeature, kPortPower, static_cast<std::uint16_t>(port)});
}

}  // namespace dongle::usb
