#include "common/usb_tree.h"

#include <charconv>

#include <fmt/format.h>

namespace dongle {
namespace {

constexpr std::size_t kMaxPath = 64;

/// "2-1.4" and the like: numbers with a dash behind the first and dots behind the others.
bool is_port_path(std::string_view text) {
  auto dash = text.find('-');
  if (dash == std::string_view::npos || text.size() > kMaxPath) return false;
  bool wants_digit = true;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    bool is_digit = c >= '0' && c <= '9';
    bool is_separator = i == dash || (i > dash && c == '.');
    if (is_digit ? false : (!is_separator || wants_digit)) return false;
    wants_digit = !is_digit;
  }
  return !wants_digit;
}

}  // namespace

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

std::string resolve_usb_path(const UsbTree& tree, std::string_view configured) {
  constexpr std::string_view kMark = "-usb-0:";
  auto mark = configured.rfind(kMark);
  if (mark == std::string_view::npos) return std::string(configured);
  std::string_view controller = configured.substr(0, mark), ports = configured.substr(mark + kMark.size());
  std::string first;
  for (const auto& [path, device] : tree.devices) {
    if (!path.starts_with("usb") || device.controller.empty()) continue;
    if (!controller.ends_with("-" + device.controller)) continue;
    std::string candidate = fmt::format("{}-{}", path.substr(3), ports);
    if (tree.find(candidate) != nullptr) return candidate;
    if (first.empty() || usb_path_less(candidate, first)) first = candidate;
  }
  return first;
}

std::string usb_path_in(std::string_view name) {
  for (;;) {
    auto slash = name.rfind('/');
    std::string_view part = name.substr(slash == std::string_view::npos ? 0 : slash + 1);
    part = part.substr(0, part.find(':'));
    if (is_port_path(part)) return std::string(part);
    if (slash == std::string_view::npos) return {};
    name = name.substr(0, slash);
  }
}

bool usb_path_less(std::string_view a, std::string_view b) {
  auto numbers = [](std::string_view path) {
    std::vector<int> found;
    int number = 0;
    const char* end = path.data() + path.size();
    for (const char* at = path.data(); at < end;) {
      auto [next, error] = std::from_chars(at, end, number);
      if (error == std::errc{}) found.push_back(number);
      at = error == std::errc{} ? next : at + 1;
      if (at < end && (*at == '-' || *at == '.')) ++at;
    }
    return found;
  };
  auto left = numbers(a), right = numbers(b);
  return left != right ? left < right : a < b;
}

std::string usb_child(std::string_view hub, int port) {
  if (hub.starts_with("usb")) return fmt::format("{}-{}", hub.substr(3), port);
  return fmt::format("{}.{}", hub, port);
}

}  // namespace dongle
