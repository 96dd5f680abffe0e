#pragma once
// What a USB hub can do and how its ports stand, as `dongle-usb hubs` reports it. Pure.
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "common/json.h"

namespace dongle {

/// One port of one hub. hub: port path, "2-1"; "usb2" for a root hub.
struct PortRef {
  std::string hub;
  int port = 0;
  auto operator<=>(const PortRef&) const = default;
  explicit operator bool() const { return port > 0; }
};
std::string to_string(const PortRef& port);  ///< "port 3 of hub 2-1"

/// What the hub's descriptor says about the power of its ports (USB 2.0 11.23.2.1, wHubCharacteristics bits 1..0). A
/// hub with a single port counts as PerPort even if its descriptor says ganged.
enum class PowerSwitching { Unknown, None, Ganged, PerPort };
const char* to_string(PowerSwitching switching);  ///< "unknown", "none", "ganged", "per_port"

struct PortFacts {
  bool has_disable = false;                          ///< the kernel (6.0 and later) offers portN/disable
  bool hub_behind = false;                           ///< a hub is plugged in there: never to be switched
  std::optional<bool> disabled, powered, connected;  ///< absent: not known
  PortRef peer;  ///< the same socket's port on the USB 3 or USB 2 side, as the kernel pairs them; port 0: none
  bool operator==(const PortFacts&) const = default;
};

struct HubFacts {
  std::string location;
  std::uint16_t vendor = 0, product = 0;
  std::string product_name;
  PowerSwitching switching = PowerSwitching::Unknown;
  std::map<int, PortFacts> ports;
  std::string error;  ///< why it told nothing or only a part; empty: it answered
  bool operator==(const HubFacts&) const = default;
};
using HubFactsMap = std::map<std::string, HubFacts>;  ///< by location

/// {"location":"2-1","vendor":"2109","product":"3431","product_name":"…","switching":"per_port","error":null,
///  "ports":[{"port":1,"has_disable":true,"hub_behind":false,"disabled":false,"powered":true,"connected":true,
///            "peer":{"hub":"3-1","port":1}|null},…]}
Json to_json(const HubFacts& facts);
/// Of `dongle-usb hubs`: {"hubs":[…]}. What isn't of the form is left out.
HubFactsMap hub_facts_from_json(const Json& report);

}  // namespace dongle
