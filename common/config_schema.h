#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/config.h"

namespace dongle {

/// The forms of a value; config_parse.cc reads them.
enum class ConfigKind {
  AbsolutePath,
  Boolean,
  Choice,
  DongleAddress,
  Duration,
  HttpUrl,
  Integer,
  Interface,
  IpAddress,
  Ipv4Address,
  ListenAddress,
  Mac,
  MapList,
  ModemUrl,
  OptionalHttpUrl,
  OptionalInteger,
  OptionalPath,
  PrefixList,
  StageList,
  Target,
  TargetList,
  Text,
  UsbPath,
};

enum class ConfigEffect { Works, NotYet, OnlyDefault };

/// A row of config_schema.def.
struct ConfigKey {
  std::string_view path;  ///< "proxy.port_base", "dongles[].modem.url"
  ConfigKind kind;
  std::int64_t min, max;
  const char* default_text;  ///< null: the key is required; "=…": worked out, not YAML
  ConfigEffect effect;
  std::string_view help;
  std::string_view choices;  ///< of ConfigKind::Choice: "fork | systemd"
};

std::span<const ConfigKey> config_keys();

/// A choice's names, in the order of the enum's values.
template <class E>
inline constexpr std::string_view kChoices = {};
template <>
inline constexpr std::string_view kChoices<LauncherKind> = "fork | systemd";
template <>
inline constexpr std::string_view kChoices<HubPowerPolicy> = "never | when_all_down | always";
template <>
inline constexpr std::string_view kChoices<HubSwitching> = "auto | per_port | ganged | none";
template <>
inline constexpr std::string_view kChoices<ModemType> = "none | hilink";
template <>
inline constexpr std::string_view kChoices<ListenerType> = "forward";

}  // namespace dongle
