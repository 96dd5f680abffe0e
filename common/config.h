#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/ids.h"
#include "common/net_address.h"

namespace dongle {

/// A recovery stage, cheapest first. The order is the ladder's order.
enum class Stage { Route, Modem, Usb, PortPower, HubPower };
inline constexpr std::array kStages{Stage::Route, Stage::Modem, Stage::Usb, Stage::PortPower, Stage::HubPower};
const char* to_string(Stage stage);  ///< "route", "modem", "usb", "port_power", "hub_power"
std::optional<Stage> stage_from_string(std::string_view name);

enum class LauncherKind { Fork, Systemd };
enum class HubPowerPolicy { Never, WhenAllDown, Always };
/// What a hub's power switching is taken for: Auto is what its descriptor says.
enum class HubSwitching { Auto, PerPort, Ganged, None };
enum class ModemType { None, HiLink };
enum class AddressMode { Static, Dhcp, Auto };
enum class ListenerType { Forward };

// Defaults, limits and meaning of every key stand in config_schema.def; these structs only carry the values.

struct UplinkConfig {
  std::string interface;  ///< "auto" or a device name
  int metric = 0;
  bool operator==(const UplinkConfig&) const = default;
};

struct ApiConfig {
  std::string listen;      ///< ADDRESS:PORT
  std::string token_file;  ///< empty: none
  bool operator==(const ApiConfig&) const = default;
};

struct ProxyConfig {
  Address listen_address;
  std::vector<Prefix> clients;
  std::string clients_url;  ///< empty: none
  Millis clients_refresh{0};
  int port_base = 0;
  std::string users_file;  ///< empty: no authentication
  std::vector<Prefix> allow_destinations;
  int max_connections = 0;
  int max_connections_per_client = 0;
  int max_new_connections_per_client = 0;  ///< a minute
  Millis connect_timeout{0};
  Millis handshake_timeout{0};
  Millis idle_timeout{0};
  bool operator==(const ProxyConfig&) const = default;
};

/// One probe target. url: as configured. For tcp:// host and port say where.
struct ProbeTarget {
  enum class Kind { Http, Tcp };
  Kind kind = Kind::Http;
  std::string url;
  HostPort tcp;
  bool operator==(const ProbeTarget&) const = default;
};

struct ProbeConfig {
  std::vector<ProbeTarget> targets;
  std::string public_ip_url;
  Millis interval{0};
  Millis timeout{0};
  int down_after = 0;
  int up_after = 0;
  bool operator==(const ProbeConfig&) const = default;
};

struct RotationConfig {
  Millis cooldown{0};
  Millis off_time{0};
  Millis timeout{0};
  int max_concurrent = 0;
  bool operator==(const RotationConfig&) const = default;
};

struct RecoveryConfig {
  bool enabled = true;
  std::vector<Stage> stages;
  std::map<Stage, Millis> settle;  ///< has every stage
  Millis retry_after{0};
  HubPowerPolicy hub_power = HubPowerPolicy::WhenAllDown;
  bool operator==(const RecoveryConfig&) const = default;
};

struct HubConfig {
  std::string name;
  std::string location;  ///< USB port path, "2-1"
  HubSwitching power = HubSwitching::Auto;
  bool operator==(const HubConfig&) const = default;
};

struct ModemConfig {
  ModemType type = ModemType::HiLink;
  std::string url;  ///< empty: http://GATEWAY
  std::string username;
  std::string password_file;  ///< empty: no password
  bool operator==(const ModemConfig&) const = default;
};

struct ListenerConfig {
  ListenerType type = ListenerType::Forward;
  int port = 0;
  HostPort target;
  bool operator==(const ListenerConfig&) const = default;
};

struct DongleConfig {
  DongleId id;
  std::string interface;  ///< device name; empty: not identified by it
  std::string mac;        ///< lower case with colons; empty: not identified by it
  std::string usb_path;   ///< "2-1.1"; empty: not identified by it
  AddressMode address_mode = AddressMode::Auto;
  std::optional<Prefix> address;   ///< with AddressMode::Static
  std::optional<Address> gateway;  ///< absent: from the lease, from the routes found, else the subnet's .1
  int socks5_port = 0;
  std::optional<int> ttl;
  ModemConfig modem;
  std::vector<ListenerConfig> listeners;
  bool operator==(const DongleConfig&) const = default;
};

/// The whole configuration, checked. Code takes the small struct that it needs, never this.
struct Config {
  std::string file;  ///< where it was read from
  UplinkConfig uplink;
  std::string runtime_dir;
  std::string state_dir;
  LauncherKind launcher = LauncherKind::Fork;
  std::uint32_t worker_uid_base = 0;
  ApiConfig api;
  ProxyConfig proxy;
  ProbeConfig probe;
  RotationConfig rotation;
  RecoveryConfig recovery;
  std::vector<HubConfig> hubs;
  std::vector<DongleConfig> dongles;
  /// Keys that were set but whose feature isn't there yet, as paths ("dongles[0].ttl"); the daemon logs each once.
  std::vector<std::string> keys_without_effect;

  std::uint32_t worker_uid(DongleId id) const { return worker_uid_base + id.value; }
};

}  // namespace dongle
