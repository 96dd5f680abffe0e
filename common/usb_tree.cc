#include "common/usb_tree.h"

#include <charconv>

#include <fmt/format.h>

namespace dongle {

const UsbDevice* UsbTree::find(std::string_view path) const {
  auto it = devices.find(std::string(path));
  return it == devices.end() ? nullptr : &it->second;
}

std::vector<const UsbDevice*> UsbTree::children(std::string_view hub) const {
  std::map<int, const UsbDevice*> by_port;
  for (const auto& [path, device] : devices)
    if (usb_parent(path) == hub) by_port[usb_port(path)] = &device;
  std::vector<const UsbDevice*> found;
  for (const auto& [port, device] : by_port) found.push_back(device);
  return found;
}

std::string usb_parent(std::string_view path) {
  auto dash = path.find('-');
  if (dash == std::string_view::npos) return {};
  auto dot = path.rfind('.');
  return dot == std::string_view::npos ? fmt::format("usb{}", path.substr(0, dash)) : std::string(path.substr(0, dot));
}

int usb_port(std::string_view path) {
  auto separator = path.find_last_of("-.");
  if (separator == std::string_view::npos) return 0;
  std::string_view digits = path.substr(separator + 1);
  int port = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  return error == std::errc{} && end == digits.data() + digits.size() ? port : 0;
}

std::string usb_child(std::string_view hub, int port) {
  if (hub.starts_with("usb")) return fmt::format("{}-{}", hub.substr(3), port);
  return fmt::format("{}.{}", hub, port);
}

}  // namespace dongle
