#include "common/config_schema.h"

#include <algorithm>
#include <type_traits>

#include <nlohmann/json.hpp>

#include "common/config_parse.h"
#include "common/json.h"

namespace dongle {
namespace {

constexpr const char* REQUIRED = nullptr;

std::string_view kind_text(const ConfigKey& key) {
  switch (key.kind) {
    case ConfigKind::AbsolutePath: return "absolute path";
    case ConfigKind::Boolean: return "true | false";
    case ConfigKind::Choice: return key.choices;
    case ConfigKind::DongleAddress: return "ADDRESS/LENGTH | dhcp | auto";
    case ConfigKind::Duration: return "duration";
    case ConfigKind::HttpUrl: return "http(s) URL";
    case ConfigKind::Integer: return "number";
    case ConfigKind::Interface: return "interface name";
    case ConfigKind::IpAddress: return "IP address";
    case ConfigKind::Ipv4Address: return "IPv4 address";
    case ConfigKind::ListenAddress: return "ADDRESS:PORT";
    case ConfigKind::Mac: return "MAC address";
    case ConfigKind::MapList: return "list of maps";
    case ConfigKind::ModemUrl: return "http(s)://ADDRESS[:PORT]";
    case ConfigKind::OptionalHttpUrl: return "http(s) URL | null";
    case ConfigKind::OptionalInteger: return "number | null";
    case ConfigKind::OptionalPath: return "absolute path | null";
    case ConfigKind::PrefixList: return "list of addresses and prefixes";
    case ConfigKind::StageList: return "list of stages";
    case ConfigKind::Target: return "HOST:PORT";
    case ConfigKind::TargetList: return "list of targets";
    case ConfigKind::Text: return "text";
    case ConfigKind::UsbPath: return "USB port path";
  }
  return {};
}

std::string range_text(const ConfigKey& key) {
  if (key.min == 0 && key.max == 0) return "";
  if (key.kind == ConfigKind::Duration)
    return fmt::format("{} to {}", format_duration(Millis{key.min}), format_duration(Millis{key.max}));
  return fmt::format("{} to {}", key.min, key.max);
}

std::string default_text(const ConfigKey& key) {
  if (key.default_text == nullptr) return "(required)";
  std::string_view text = key.default_text;
  return text.starts_with('=') ? fmt::format("({})", text.substr(1)) : std::string(text);
}

}  // namespace

std::span<const ConfigKey> config_keys() {
  [[maybe_unused]] static Config c;
  [[maybe_unused]] static HubConfig h;
  [[maybe_unused]] static DongleConfig d;
  [[maybe_unused]] static ListenerConfig l;
#define ROW(path, member, kind, min, max, fallback, effect, help) \
  ConfigKey{path,     ConfigKind::kind,     min,  max,            \
            fallback, ConfigEffect::effect, help, kChoices<std::remove_cvref_t<decltype(member)>>},
#define KEY ROW
#define HUB_KEY(path, ...) ROW("hubs[]." path, __VA_ARGS__)
#define DONGLE_KEY(path, ...) ROW("dongles[]." path, __VA_ARGS__)
#define LISTENER_KEY(path, ...) ROW("dongles[].listeners[]." path, __VA_ARGS__)
  static constexpr ConfigKey kKeys[] = {
#include "common/config_schema.def"
  };
#undef ROW
  return kKeys;
}

std::string describe_config_schema() {
  std::string text;
  for (const ConfigKey& key : config_keys()) {
    std::string range = range_text(key);
    text += fmt::format("{}\n    {}{}{}; default {}\n    {}.{}\n", key.path, kind_text(key), range.empty() ? "" : ", ",
                        range, default_text(key), key.help,
                        key.effect == ConfigEffect::NotYet        ? " Without effect in this version."
                        : key.effect == ConfigEffect::OnlyDefault ? " Only the default works in this version."
                                                                  : "");
  }
  return text;
}

std::string config_schema_json() {
  Json keys = Json::array();
  for (const ConfigKey& key : config_keys()) {
    bool derived = key.default_text != nullptr && key.default_text[0] == '=';
    Json row{
        {"key", key.path}, {"type", kind_text(key)}, {"help", key.help}, {"required", key.default_text == nullptr}};
    if (key.default_text != nullptr)
      row[derived ? "derived_default" : "default"] = key.default_text + (derived ? 1 : 0);
    if (key.min != 0 || key.max != 0) {
      std::string unit = key.kind == ConfigKind::Duration ? "_ms" : "";
      row["min" + unit] = key.min;
      row["max" + unit] = key.max;
    }
    row["works"] = key.effect == ConfigEffect::Works    ? "yes"
                   : key.effect == ConfigEffect::NotYet ? "not_yet"
                                                        : "only_default";
    keys.push_back(std::move(row));
  }
  return dump_json_pretty({{"schema", 1}, {"keys", std::move(keys)}});
}

}  // namespace dongle
