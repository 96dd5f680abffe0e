#include "tools/usb/usb_paths.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <system_error>

#include "common/unique_fd.h"
#include "common/usb_tree.h"

namespace dongle::usb {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxPathLength = 32;
constexpr std::string_view kDigits = "0123456789";

std::vector<std::string> entries_of(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code ec;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec))
    names.push_back(it->path().filename().string());
  std::ranges::sort(names);
  return names;
}

// The hub's only interface has its ports: "2-1:1.0", of a root hub "2-0:1.0". Its configuration's number is taken from
// the name, since the kernel hands the attribute out under the device's lock.
std::string hub_interface_folder(const Roots& roots, const std::string& hub) {
  std::string folder = roots.devices + "/devices/" + hub;
  std::string prefix = (hub.starts_with("usb") ? hub.substr(3) + "-0" : hub) + ":";
  for (const std::string& name : entries_of(folder))
    if (name.starts_with(prefix) && name.ends_with(".0")) return folder + "/" + name;
  return {};
}

int parse_number(std::string_view text, int base) {
  int value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc{} && end == text.data() + text.size() ? value : 0;
}

// "2-1-port3" and "usb2-port3".
PortRef port_from_name(const std::string& name) {
  auto mark = name.rfind("-port");
  if (mark == std::string::npos) return {};
  return {name.substr(0, mark), parse_number(name.substr(mark + 5), 10)};
}

}  // namespace

bool is_device_path(std::string_view path) {
  if (path.size() > kMaxPathLength) return false;
  if (path.starts_with("usb")) return path.size() > 3 && path.find_first_not_of(kDigits, 3) == std::string_view::npos;
  auto dash = path.find('-');
  if (dash == 0 || dash == std::string_view::npos) return false;
  if (path.find_first_not_of(kDigits) != dash) return false;
  std::string_view ports = path.substr(dash + 1);
  bool clean = !ports.empty() && ports.find_first_not_of("0123456789.") == std::string_view::npos;
  return clean && ports.front() != '.' && ports.back() != '.' && ports.find("..") == std::string_view::npos;
}

Result<std::string> device_folder(const Roots& roots, const std::string& path) {
  if (!is_device_path(path)) return fail(Errc::InvalidArgument, "\"{}\" is no USB port path such as 2-1.3", path);
  std::string folder = roots.devices + "/devices/" + path;
  if (!exists(folder)) return fail(Errc::NotFound, "nothing is plugged in at {}", path);
  return folder;
}

std::vector<std::string> interface_names(const Roots& roots, const std::string& path) {
  std::vector<std::string> names;
  for (std::string& name : entries_of(roots.devices + "/devices/" + path))
    if (name.starts_with(path + ":")) names.push_back(std::move(name));
  return names;
}

Result<std::string> port_folder(const Roots& roots, const PortRef& port) {
  if (auto hub = device_folder(roots, port.hub); !hub) return hub;
  std::string interface = hub_interface_folder(roots, port.hub);
  std::string folder = fmt::format("{}/{}-port{}", interface, port.hub, port.port);
  if (interface.empty() || !exists(folder)) return fail(Errc::NotFound, "there is no {}", to_string(port));
  return folder;
}

std::vector<int> hub_ports(const Roots& roots, const std::string& hub) {
  std::vector<int> ports;
  for (const std::string& name : entries_of(hub_interface_folder(roots, hub)))
    if (PortRef port = port_from_name(name); port && port.hub == hub) ports.push_back(port.port);
  std::ranges::sort(ports);
  return ports;
}

PortRef peer_of(const Roots& roots, const PortRef& port) {
  auto folder = port_folder(roots, port);
  return folder ? port_from_name(link_name(*folder + "/peer")) : PortRef{};
}

bool has_hub_behind(const Roots& roots, const PortRef& port) {
  return read_attribute(roots.devices + "/devices/" + usb_child(port.hub, port.port) + "/bDeviceClass") == "09";
}

std::vector<std::string> net_devices(const Roots& roots, const std::string& path) {
  std::vector<std::string> names;
  for (const std::string& interface : interface_names(roots, path))
    for (std::string& name : entries_of(fmt::format("{}/devices/{}/{}/net", roots.devices, path, interface)))
      names.push_back(std::move(name));
  return names;
}

Result<std::string> device_node(const Roots& roots, const std::string& path) {
  auto folder = device_folder(roots, path);
  if (!folder) return folder;
  int bus = read_number(*folder + "/busnum"), device = read_number(*folder + "/devnum");
  if (bus == 0 || device == 0) return fail(Errc::NotFound, "{} left the bus", path);
  return fmt::format("{}/{:03}/{:03}", roots.nodes, bus, device);
}

std::optional<std::string> read_attribute(const std::string& file) {
  UniqueFd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  char text[4096];
  ssize_t size = fd ? read(fd.get(), text, sizeof text) : -1;
  if (size < 0) return std::nullopt;
  std::string_view all(text, static_cast<std::size_t>(size));
  while (!all.empty() && all.back() == '\n') all.remove_suffix(1);
  return std::string(all);
}

int read_number(const std::string& file, int base) {
  return parse_number(read_attribute(file).value_or(""), base);
}

Result<void> write_attribute(const std::string& file, std::string_view text) {
  UniqueFd fd(open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "{}", file);
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return fail_errno(errno, "{}: write {}", file, text);
  return {};
}

bool exists(const std::string& file) {
  return access(file.c_str(), F_OK) == 0;
}

std::string link_name(const std::string& file) {
  std::error_code ec;
  return fs::read_symlink(file, ec).filename().string();
}

}  // namespace dongle::usb
