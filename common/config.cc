#include "common/config.h"

namespace dongle {

const char* to_string(Stage stage) {
  switch (stage) {
    case Stage::Route: return "route";
    case Stage::Modem: return "modem";
    case Stage::Usb: return "usb";
    case Stage::PortPower: return "port_power";
    case Stage::HubPower: return "hub_power";
  }
  return "unknown";
}

std::optional<Stage> stage_from_string(std::string_view name) {
  for (Stage stage : kStages)
    if (name == to_string(stage)) return stage;
  return std::nullopt;
}

}  // namespace dongle
