#include "common/ipc_message.h"

#include <nlohmann/json.hpp>

#include "common/json.h"

namespace dongle {
namespace {

Json strings(const auto& values) {
  Json list = Json::array();
  for (const auto& v : values) list.push_back(v.to_string());
  return list;
}

Json encode(const Hello& m) {
  return {{"type", "hello"}, {"version", m.version}, {"id", m.id.value}, {"pid", m.pid}, {"ports", m.ports}};
}
Json encode(const Setup& m) {
  return {{"type", "setup"},
          {"device", m.device},
          {"ifindex", m.ifindex.value},
          {"source_v4", m.source_v4 ? Json(m.source_v4->to_string()) : Json()},
          {"source_v6", m.source_v6 ? Json(m.source_v6->to_string()) : Json()},
          {"dns_servers", strings(m.dns_servers)},
          {"ports", m.ports},
          {"clients", strings(m.clients)},
          {"allow_destinations", strings(m.allow_destinations)},
          {"denied_destinations", strings(m.denied_destinations)},
          {"refuse_clients", m.refuse_clients},
          {"max_connections", m.max_connections},
          {"max_connections_per_client", m.max_connections_per_client},
          {"connect_timeout_ms", m.connect_timeout.count()},
          {"handshake_timeout_ms", m.handshake_timeout.count()},
          {"idle_timeout_ms", m.idle_timeout.count()}};
}
Json encode(const ServeProbe&) {
  return {{"type", "serve_probe"}};
}
Json encode(const DropConnections& m) {
  return {{"type", "drop_connections"}, {"reason", m.reason}};
}
Json encode(const Stop& m) {
  return {{"type", "stop"}, {"drain_ms", m.drain.count()}};
}
Json encode(const LogFile&) {
  return {{"type", "log_file"}};
}
Json encode(const Report& m) {
  Json closed = Json::object();
  for (const auto& [reason, count] : m.closed) closed[reason] = count;
  Json counters = Json::object();
  for (const auto& [name, count] : m.counters) counters[name] = count;
  return {{"type", "report"},         {"connections", m.connections}, {"accepted", m.accepted},
          {"rx_bytes", m.rx_bytes},   {"tx_bytes", m.tx_bytes},       {"closed", closed},
          {"listening", m.listening}, {"counters", counters}};
}
Json encode(const DialResult& m) {
  return {{"type", "dial_result"}, {"ok", m.ok}, {"reason", m.reason}};
}
Json encode(const DeviceGone& m) {
  return {{"type", "device_gone"}, {"ifindex", m.ifindex.value}};
}

// Readers throw std::exception kinds on a wrong type or value; decode_ipc turns them into one Result.
std::vector<std::uint16_t> read_ports(const Json& j) {
  return j.at("ports").get<std::vector<std::uint16_t>>();
}

template <class T>
std::vector<T> read_list(const Json& j, const char* key) {
  std::vector<T> out;
  for (const auto& item : j.at(key)) {
    auto parsed = T::parse(item.template get_ref<const std::string&>());
    if (!parsed) throw std::invalid_argument(parsed.error().message());
    out.push_back(*parsed);
  }
  return out;
}

std::optional<Address> read_address(const Json& j, const char* key) {
  auto it = j.find(key);
  if (it == j.end() || it->is_null()) return std::nullopt;
  auto parsed = Address::parse(it->get_ref<const std::string&>());
  if (!parsed) throw std::invalid_argument(parsed.error().message());
  return *parsed;
}

Millis read_millis(const Json& j, const char* key) {
  return Millis{j.at(key).get<std::int64_t>()};
}

IpcMessage decode(const Json& j) {
  const auto& type = j.at("type").get_ref<const std::string&>();
  if (type == "hello") {
    unsigned id = j.at("id").get<unsigned>();
    if (id < kMinDongleId || id > kMaxDongleId) throw std::invalid_argument("id out of range");
    return Hello{j.at("version").get<int>(), DongleId{id}, j.at("pid").get<int>(), read_ports(j)};
  }
  if (type == "setup") {
    Setup m;
    m.device = j.at("device").get<std::string>();
    m.ifindex = IfIndex{j.at("ifindex").get<int>()};
    m.source_v4 = read_address(j, "source_v4");
    m.source_v6 = read_address(j, "source_v6");
    m.dns_servers = read_list<Address>(j, "dns_servers");
    m.ports = read_ports(j);
    m.clients = read_list<Prefix>(j, "clients");
    m.allow_destinations = read_list<Prefix>(j, "allow_destinations");
    m.denied_destinations = read_list<Address>(j, "denied_destinations");
    m.refuse_clients = j.at("refuse_clients").get<bool>();
    m.max_connections = j.at("max_connections").get<int>();
    m.max_connections_per_client = j.at("max_connections_per_client").get<int>();
    m.connect_timeout = read_millis(j, "connect_timeout_ms");
    m.handshake_timeout = read_millis(j, "handshake_timeout_ms");
    m.idle_timeout = read_millis(j, "idle_timeout_ms");
    return m;
  }
  if (type == "serve_probe") return ServeProbe{};
  if (type == "drop_connections") return DropConnections{j.at("reason").get<std::string>()};
  if (type == "stop") return Stop{read_millis(j, "drain_ms")};
  if (type == "log_file") return LogFile{};
  if (type == "report") {
    Report m;
    m.connections = j.at("connections").get<std::uint64_t>();
    m.accepted = j.at("accepted").get<std::uint64_t>();
    m.rx_bytes = j.at("rx_bytes").get<std::uint64_t>();
    m.tx_bytes = j.at("tx_bytes").get<std::uint64_t>();
    for (const auto& [reason, count] : j.at("closed").items())
      m.closed.emplace_back(reason, count.get<std::uint64_t>());
    m.listening = j.at("listening").get<bool>();
    if (auto counters = j.find("counters"); counters != j.end())
      for (const auto& [name, count] : counters->items()) m.counters.emplace_back(name, count.get<std::uint64_t>());
    return m;
  }
  if (type == "dial_result") return DialResult{j.at("ok").get<bool>(), j.at("reason").get<std::string>()};
  if (type == "device_gone") return DeviceGone{IfIndex{j.at("ifindex").get<int>()}};
  throw std::invalid_argument("unknown type \"" + type + "\"");
}

}  // namespace

std::string encode_ipc(const IpcMessage& message) {
  return dump_json(std::visit([](const auto& m) { return encode(m); }, message));
}

Result<IpcMessage> decode_ipc(std::string_view packet) {
  auto json = parse_json(packet);
  if (!json) return wrap(std::move(json).error(), "worker message");
  try {
    return decode(*json);
  } catch (const std::exception& e) {
    return fail(Errc::Protocol, "worker message: {}", e.what());
  }
}

}  // namespace dongle
