#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/hub_facts.h"

namespace dongle::usb {

/// Where the kernel shows USB. Tests put a folder of their own there.
struct Roots {
  std::string devices = "/sys/bus/usb";  ///< with devices/, drivers/ and drivers_probe
  std::string nodes = "/dev/bus/usb";    ///< with BUS/DEVICE
};

/// Whether the text is a port path ("2-1.3") or a root hub ("usb2"); nothing else is ever made a part of a file name.
bool is_device_path(std::string_view path);

/// The folder of a device. NotFound: nothing is plugged in there; InvalidArgument: no port path.
Result<std::string> device_folder(const Roots& roots, const std::string& path);
/// Names of the interfaces of the active configuration, "2-1.3:1.0", in order.
std::vector<std::string> interface_names(const Roots& roots, const std::string& path);
/// The folder of a port of a hub. NotFound: no such hub, or it has no such port.
Result<std::string> port_folder(const Roots& roots, const PortRef& port);
/// The numbers of a hub's ports, in order.
std::vector<int> hub_ports(const Roots& roots, const std::string& hub);
/// The same socket's port on the other bus; port 0: none.
PortRef peer_of(const Roots& roots, const PortRef& port);
bool has_hub_behind(const Roots& roots, const PortRef& port);
/// Names of the network devices of all interfaces.
std::vector<std::string> net_devices(const Roots& roots, const std::string& path);
/// The file for usbfs: BUS/DEVICE by busnum and devnum.
Result<std::string> device_node(const Roots& roots, const std::string& path);

/// An attribute's text without the newline; nothing if it can't be read.
std::optional<std::string> read_attribute(const std::string& file);
int read_number(const std::string& file, int base = 10);  ///< 0 if it isn't one
/// One write() of the text, as sysfs wants it. NotFound: no such attribute.
Result<void> write_attribute(const std::string& file, std::string_view text);
bool exists(const std::string& file);
/// The last part of what a symbolic link points to; empty if it isn't one.
std::string link_name(const std::string& file);

}  // namespace dongle::usb
