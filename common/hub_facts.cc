#include "common/hub_facts.h"

#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace dongle {
namespace {

constexpr int kMaxPorts = 255;  // bNbrPorts is a byte

std::uint16_t parse_hex(const std::string& text) {
  std::uint16_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return error == std::errc{} && end == text.data() + text.size() ? value : 0;
}

Json or_null(const std::optional<bool>& value) {
  return value ? Json(*value) : Json();
}
std::optional<bool> bool_of(const Json& object, const char* key) {
  auto it = object.find(key);
  return it != object.end() && it->is_boolean() ? std::optional(it->get<bool>()) : std::nullopt;
}

PowerSwitching switching_from(const std::string& name) {
  for (auto s : {PowerSwitching::None, PowerSwitching::Ganged, PowerSwitching::PerPort})
    if (name == to_string(s)) return s;
  return PowerSwitching::Unknown;
}

PortFacts port_from_json(const Json& j) {
  PortFacts port;
  port.has_disable = json_bool(j, "has_disable");
  port.hub_behind = json_bool(j, "hub_behind");
  port.disabled = bool_of(j, "disabled");
  port.powered = bool_of(j, "powered");
  port.connected = bool_of(j, "connected");
  if (auto peer = j.find("peer"); peer != j.end() && peer->is_object()) {
    auto number = json_int(*peer, "port");
    if (number > 0 && number <= kMaxPorts) port.peer = {json_string(*peer, "hub"), static_cast<int>(number)};
  }
  return port;
}

}  // namespace

std::string to_string(const PortRef& port) {
  return fmt::format("port {} of hub {}", port.port, port.hub);
}

const char* to_string(PowerSwitching switching) {
  switch (switching) {
    case PowerSwitching::Unknown: return "unknown";
    case PowerSwitching::None: return "none";
    case PowerSwitching::Ganged: return "ganged";
    case PowerSwitching::PerPort: return "per_port";
  }
  return "unknown";
}

Json to_json(const HubFacts& facts) {
  Json ports = Json::array();
  for (const auto& [number, port] : facts.ports)
    ports.push_back({{"port", number},
                     {"has_disable", port.has_disable},
                     {"hub_behind", port.hub_behind},
                     {"disabled", or_null(port.disabled)},
                     {"powered", or_null(port.powered)},
                     {"connected", or_null(port.connected)},
                     {"peer", port.peer ? Json{{"hub", port.peer.hub}, {"port", port.peer.port}} : Json()}});
  return {{"location", facts.location},
          {"vendor", fmt::format("{:04x}", facts.vendor)},
          {"product", fmt::format("{:04x}", facts.product)},
          {"product_name", facts.product_name},
          {"switching", to_string(facts.switching)},
          {"error", facts.error.empty() ? Json() : Json(facts.error)},
          {"ports", ports}};
}

HubFactsMap hub_facts_from_json(const Json& report) {
  HubFactsMap all;
  auto hubs = report.is_object() ? report.find("hubs") : report.end();
  if (!report.is_object() || hubs == report.end() || !hubs->is_array()) return all;
  for (const Json& j : *hubs) {
    HubFacts facts;
    facts.location = json_string(j, "location");
    if (facts.location.empty()) continue;
    facts.vendor = parse_hex(json_string(j, "vendor"));
    facts.product = parse_hex(json_string(j, "product"));
    facts.product_name = json_string(j, "product_name");
    facts.switching = switching_from(json_string(j, "switching"));
    facts.error = json_string(j, "error");
    if (auto ports = j.find("ports"); ports != j.end() && ports->is_array())
      for (const Json& port : *ports)
        if (auto number = json_int(port, "port"); number > 0 && number <= kMaxPorts)
          facts.ports[static_cast<int>(number)] = port_from_json(port);
    all[facts.location] = std::move(facts);
  }
  return all;
}

}  // namespace dongle
