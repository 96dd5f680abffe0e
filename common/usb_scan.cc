#include "common/usb_scan.h"

#include <libudev.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>

namespace dongle {
namespace {

constexpr const char* kSysBusUsb = "/sys/bus/usb";
constexpr int kHubClass = 9;

struct Unref {
  void operator()(udev* context) const { udev_unref(context); }
  void operator()(udev_enumerate* list) const { udev_enumerate_unref(list); }
  void operator()(udev_device* device) const { udev_device_unref(device); }
};
using Context = std::unique_ptr<udev, Unref>;
using Enumeration = std::unique_ptr<udev_enumerate, Unref>;
using Device = std::unique_ptr<udev_device, Unref>;

/// An attribute's text; nullopt if it can't be read, mostly because the device has gone.
std::optional<std::string> text_of(udev_device* device, const char* attribute) {
  const char* value = udev_device_get_sysattr_value(device, attribute);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

std::optional<int> number_of(udev_device* device, const char* attribute, int base) {
  auto text = text_of(device, attribute);
  if (!text) return std::nullopt;
  const char* begin = text->data() + std::min(text->find_first_not_of(' '), text->size());
  int number = 0;
  auto [end, error] = std::from_chars(begin, text->data() + text->size(), number, base);
  return error == std::errc{} ? std::optional(number) : std::nullopt;
}

/// A device may call itself what it likes; in logs and files its name is one line of plain text.
std::string name_of(udev_device* device, const char* attribute) {
  std::string name = text_of(device, attribute).value_or("");
  for (char& c : name)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  name.erase(0, std::min(name.find_first_not_of(' '), name.size()));
  name.erase(name.find_last_not_of(' ') + 1);
  return name;
}

UsbNames names_of(udev_device* device) {
  return {name_of(device, "product"), name_of(device, "serial")};
}

/// "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-4" → "0000:00:14.0"
std::string controller_of(const std::filesystem::path& syspath) {
  for (auto at = syspath; at.has_relative_path(); at = at.parent_path())
    if (at.filename().string().starts_with("usb")) return at.parent_path().filename();
  return {};
}

std::vector<std::string> net_devices_below(const std::filesystem::path& syspath) {
  std::vector<std::string> names;
  std::error_code gone;
  for (std::filesystem::directory_iterator it(syspath / "net", gone), end; !gone && it != end; it.increment(gone))
    names.push_back(it->path().filename());
  std::ranges::sort(names);
  return names;
}

// What is read here takes no lock of the device (drivers/usb/core/sysfs.c, Linux 6.1 to 6.12). bConfigurationValue,
// bNumInterfaces, product and serial would, and so might the uevent file.
std::optional<UsbDevice> read_device(udev_device* udev, UsbStrings strings) {
  auto vendor = number_of(udev, "idVendor", 16), product = number_of(udev, "idProduct", 16);
  auto devnum = number_of(udev, "devnum", 10);
  if (!vendor || !product || !devnum) return std::nullopt;
  UsbDevice device;
  device.path = udev_device_get_sysname(udev);
  device.controller = controller_of(udev_device_get_syspath(udev));
  device.devnum = *devnum;
  device.vendor = static_cast<std::uint16_t>(*vendor);
  device.product = static_cast<std::uint16_t>(*product);
  device.bcd_device = static_cast<std::uint16_t>(number_of(udev, "bcdDevice", 16).value_or(0));
  device.authorized = number_of(udev, "authorized", 10).value_or(1) != 0;
  device.configuration_count = number_of(udev, "bNumConfigurations", 10).value_or(1);
  device.is_hub = number_of(udev, "bDeviceClass", 16) == kHubClass;
  device.port_count = device.is_hub ? number_of(udev, "maxchild", 10).value_or(0) : 0;
  if (strings == UsbStrings::Read) {
    auto names = names_of(udev);
    device.product_name = std::move(names.product_name);
    device.serial = std::move(names.serial);
  }
  return device;
}

std::optional<UsbInterface> read_interface(udev_device* udev) {
  auto number = number_of(udev, "bInterfaceNumber", 16), interface_class = number_of(udev, "bInterfaceClass", 16);
  if (!number || !interface_class) return std::nullopt;
  UsbInterface interface;
  interface.number = *number;
  interface.interface_class = *interface_class;
  interface.subclass = number_of(udev, "bInterfaceSubClass", 16).value_or(0);
  interface.protocol = number_of(udev, "bInterfaceProtocol", 16).value_or(0);
  if (const char* driver = udev_device_get_driver(udev)) interface.driver = driver;
  interface.net_devices = net_devices_below(udev_device_get_syspath(udev));
  return interface;
}

/// Where "1-4.2:1.0" belongs: device "1-4.2", configuration 1. Root hubs' interfaces are called "1-0:1.0".
struct InterfaceName {
  std::string device;
  int configuration = 0;
};
InterfaceName parse_interface_name(std::string_view name) {
  auto colon = name.find(':');
  std::string device(name.substr(0, colon));
  if (device.ends_with("-0")) device = "usb" + device.substr(0, device.size() - 2);
  int configuration = 0;
  std::from_chars(name.data() + colon + 1, name.data() + name.size(), configuration);
  return {std::move(device), configuration};
}

Result<Enumeration> enumerate(udev* context) {
  Enumeration list(udev_enumerate_new(context));
  if (!list) return fail_errno(errno, "list USB devices");
  udev_enumerate_add_match_subsystem(list.get(), "usb");
  if (int r = udev_enumerate_scan_devices(list.get()); r < 0) return fail_errno(-r, "list USB devices");
  return list;
}

}  // namespace

Result<UsbTree> scan_usb(UsbStrings strings) {
  UsbTree tree;
  tree.host_has_usb = access(kSysBusUsb, F_OK) == 0;
  if (!tree.host_has_usb) return tree;
  Context context(udev_new());
  if (!context) return fail_errno(errno, "libudev");
  auto list = enumerate(context.get());
  if (!list) return std::unexpected(std::move(list).error());

  std::vector<std::pair<InterfaceName, UsbInterface>> interfaces;
  udev_list_entry* entry = nullptr;
  udev_list_entry_foreach(entry, udev_enumerate_get_list_entry(list->get())) {
    Device device(udev_device_new_from_syspath(context.get(), udev_list_entry_get_name(entry)));
    if (!device) continue;
    std::string name = udev_device_get_sysname(device.get());
    if (name.find(':') != std::string::npos) {
      if (auto found = read_interface(device.get())) interfaces.emplace_back(parse_interface_name(name), *found);
    } else if (auto found = read_device(device.get(), strings)) {
      tree.devices[name] = std::move(*found);
    }
  }
  for (auto& [name, interface] : interfaces) {
    auto device = tree.devices.find(name.device);
    if (device == tree.devices.end()) continue;
    device->second.configuration = name.configuration;
    device->second.interfaces.push_back(std::move(interface));
  }
  for (auto& [path, device] : tree.devices) std::ranges::sort(device.interfaces, {}, &UsbInterface::number);
  return tree;
}

UsbNames read_usb_names(const std::string& path) {
  Context context(udev_new());
  Device device(context ? udev_device_new_from_subsystem_sysname(context.get(), "usb", path.c_str()) : nullptr);
  return device ? names_of(device.get()) : UsbNames{};
}

}  // namespace dongle
