// Verbs that change one device: mode switch, configuration, drivers, authorization.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include <nlohmann/json.hpp>

#include "common/net_address.h"
#include "common/stick_ids.h"
#include "common/usb_modes.h"
#include "tools/usb/usb_node.h"
#include "tools/usb/verbs.h"

namespace dongle::usb {
namespace {

// usb_modeswitch and OpenWrt's usbmode wait as long for the message to be taken.
constexpr Millis kMessageTimeout{3000};
// Between authorized 0 and 1: longer than a hub's 100 ms of debouncing, which a re-probing kernel may wait for.
constexpr Millis kUnauthorizedTime{200};

std::string ids_of(const std::string& folder) {
  return read_attribute(folder + "/idVendor").value_or("?") + ":" + read_attribute(folder + "/idProduct").value_or("?");
}

std::vector<UsbConfiguration> configurations_of(const std::string& folder) {
  std::ifstream in(folder + "/descriptors", std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  return parse_configurations(bytes);
}

Result<void> select_configuration(const std::string& folder, int value) {
  auto set = write_attribute(folder + "/bConfigurationValue", std::to_string(value));
  if (set || set.error().sys != EBUSY) return set;
  // A driver that won't let go at a direct change does at "none".
  if (auto none = write_attribute(folder + "/bConfigurationValue", "-1"); !none) return none;
  return write_attribute(folder + "/bConfigurationValue", std::to_string(value));
}

std::vector<std::string> drivers_that_make_network_devices() {
  return {"cdc_ether", "rndis_host", "cdc_ncm", "huawei_cdc_ncm", "cdc_mbim", "cdc_subset", "asix", "r8152"};
}

struct Interface {
  std::string name;    // "2-1.3:1.0"
  std::string driver;  // empty: none
};

// The interfaces to rebind: those with a network device; else those that could have one. Of a CDC pair the control
// interface comes first, and its driver takes the data interface (class 0a) along.
std::vector<Interface> network_interfaces(const Roots& roots, const std::string& path) {
  std::vector<Interface> with_device, likely;
  auto drivers = drivers_that_make_network_devices();
  for (const std::string& name : interface_names(roots, path)) {
    std::string folder = fmt::format("{}/devices/{}/{}", roots.devices, path, name);
    Interface interface { name, link_name(folder + "/driver") };
    int iclass = read_number(folder + "/bInterfaceClass", 16);
    if (iclass == 0x0a || iclass == 0x08) continue;
    UsbFunction function = usb_function(iclass, read_number(folder + "/bInterfaceSubClass", 16),
                                        read_number(folder + "/bInterfaceProtocol", 16));
    bool is_network_driver = std::ranges::find(drivers, interface.driver) != drivers.end();
    if (exists(folder + "/net"))
      with_device.push_back(interface);
    else if (function != UsbFunction::Other || is_network_driver || (iclass == 0xff && interface.driver.empty()))
      likely.push_back(interface);
  }
  return with_device.empty() ? likely : with_device;
}

Result<std::string> bind_anew(const Roots& roots, const std::string& path, const Interface& interface) {
  std::string driver = roots.devices + "/drivers/" + interface.driver;
  if (!interface.driver.empty()) {
    auto unbound = write_attribute(driver + "/unbind", interface.name);
    if (!unbound && unbound.error().sys != ENODEV) return std::unexpected(unbound.error());
    if (write_attribute(driver + "/bind", interface.name)) return interface.driver;
  }
  if (auto probed = write_attribute(roots.devices + "/drivers_probe", interface.name); !probed)
    return std::unexpected(probed.error());
  std::string bound = link_name(fmt::format("{}/devices/{}/{}/driver", roots.devices, path, interface.name));
  if (bound.empty()) return fail(Errc::Io, "{}: no driver takes it", interface.name);
  return bound;
}

}  // namespace

Result<Json> mode_switch(const Roots& roots, const std::string& path) {
  auto folder = device_folder(roots, path);
  if (!folder) return std::unexpected(std::move(folder).error());
  std::string ids = ids_of(*folder);
  int vendor = read_number(*folder + "/idVendor", 16), product = read_number(*folder + "/idProduct", 16);
  if (!is_zero_cd_id({static_cast<std::uint16_t>(vendor), static_cast<std::uint16_t>(product)}))
    return fail(Errc::Refused, "{} is {}, no stick in mass-storage mode that this message switches", path, ids);

  auto configurations = configurations_of(*folder);
  auto storage = [](const UsbConfiguration& c) { return c.has(UsbFunction::MassStorage); };
  int active = read_number(*folder + "/bConfigurationValue");
  auto chosen = std::ranges::find_if(configurations, [&](const auto& c) { return c.value == active && storage(c); });
  if (chosen == configurations.end()) chosen = std::ranges::find_if(configurations, storage);
  if (chosen == configurations.end())
    return fail(Errc::Unsupported, "{} ({}) has no configuration with mass storage", path, ids);
  if (chosen->value != active)
    if (auto set = select_configuration(*folder, chosen->value); !set)
      return wrap(set.error(), "{}: configuration {}", path, chosen->value);

  auto first = std::ranges::find(chosen->interfaces, 0, &UsbConfigurationInterface::number);
  if (first == chosen->interfaces.end()) return fail(Errc::Unsupported, "{} ({}) has no interface 0", path, ids);
  auto out = std::ranges::find_if(first->endpoints, [](const UsbEndpoint& e) { return e.is_bulk && e.is_out(); });
  if (out == first->endpoints.end())
    return fail(Errc::Unsupported, "interface 0 of {} ({}) has no bulk OUT endpoint", path, ids);

  auto node = UsbNode::open(roots, path);
  if (!node) return std::unexpected(std::move(node).error());
  if (auto claimed = node->claim(0); !claimed) return std::unexpected(claimed.error());
  auto sent = node->bulk_out(out->address, mode_switch_message(), kMessageTimeout);
  // A stick that switches at once takes its endpoint away before it has acknowledged.
  bool went_away = !sent && (sent.error().sys == ENODEV || sent.error().sys == ESHUTDOWN ||
                             sent.error().sys == ETIMEDOUT || sent.error().sys == EPROTO);
  if (!sent && !went_away) return wrap(sent.error(), "{} ({}): the switch message", path, ids);
  return Json{{"was", ids}, {"configuration", chosen->value}};
}

Result<Json> set_configuration(const Roots& roots, const std::string& path, const std::string& value) {
  auto folder = device_folder(roots, path);
  if (!folder) return std::unexpected(std::move(folder).error());
  int wanted = 0;
  if (value == "network") {
    auto found = network_configuration(configurations_of(*folder));
    if (!found)
      return fail(Errc::Unsupported, "{} ({}) has no configuration with an ECM or RNDIS card", path, ids_of(*folder));
    wanted = *found;
  } else if (auto number = parse_decimal(value, 1, 255); number) {
    wanted = static_cast<int>(*number);
  } else {
    return fail(Errc::InvalidArgument, "\"{}\" is not 1 to 255 or network", value);
  }
  int was = read_number(*folder + "/bConfigurationValue");
  if (auto set = select_configuration(*folder, wanted); !set) {
    if (set.error().sys == EINVAL) return fail(Errc::Unsupported, "{} has no configuration {}", path, wanted);
    return wrap(set.error(), "{}: configuration {}", path, wanted);
  }
  return Json{{"configuration", wanted}, {"was", was}, {"net_devices", net_devices(roots, path)}};
}

Result<Json> rebind(const Roots& roots, const std::string& path) {
  auto folder = device_folder(roots, path);
  if (!folder) return std::unexpected(std::move(folder).error());
  auto interfaces = network_interfaces(roots, path);
  if (interfaces.empty())
    return fail(Errc::Unsupported, "{} ({}) has no network interface in its configuration", path, ids_of(*folder));
  Json bound = Json::array();
  std::optional<Error> error;
  for (const Interface& interface : interfaces) {
    auto driver = bind_anew(roots, path, interface);
    if (driver)
      bound.push_back({{"name", interface.name}, {"driver", *driver}});
    else
      error = driver.error();
  }
  if (bound.empty()) return std::unexpected(*error);
  return Json{{"interfaces", bound}, {"net_devices", net_devices(roots, path)}};
}

Result<Json> authorize(const Roots& roots, const std::string& path, bool on) {
  auto folder = device_folder(roots, path);
  if (!folder) return std::unexpected(std::move(folder).error());
  if (auto set = write_attribute(*folder + "/authorized", on ? "1" : "0"); !set) return std::unexpected(set.error());
  return Json{{"authorized", on}, {"net_devices", net_devices(roots, path)}};
}

Result<Json> reauthorize(const Roots& roots, const std::string& path) {
  if (auto off = authorize(roots, path, false); !off) return off;
  std::this_thread::sleep_for(kUnauthorizedTime);
  return authorize(roots, path, true);
}

}  // namespace dongle::usb
