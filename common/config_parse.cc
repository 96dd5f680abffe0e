#include "common/config_parse.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "common/config_schema.h"
#include "common/config_values.h"
#include "common/nearest.h"
#include "common/read_file.h"
#include "common/yaml_tree.h"

namespace dongle {
namespace {

constexpr std::size_t kMaxFileBytes = 4 * 1024 * 1024;
constexpr std::size_t kMaxProblems = 100;
[[maybe_unused]] constexpr const char* REQUIRED = nullptr;  // a default in config_schema.def

struct Problem {
  int line;
  std::string text;
  int column = 0;  // 0: the whole line
};

/// A file that the configuration names, for load_config to look at.
struct NamedFile {
  int line;
  std::string key;
  std::string path;
};

// "dongles[3].modem.url" -> "dongles[].modem.url", as the schema's rows have it.
std::string pattern_of(std::string_view path) {
  std::string pattern;
  bool inside = false;
  for (char c : path) {
    if (c == ']') inside = false;
    if (!inside) pattern += c;
    if (c == '[') inside = true;
  }
  return pattern;
}

const ConfigKey* find_key(std::string_view pattern) {
  auto keys = config_keys();
  auto it = std::ranges::find(keys, pattern, &ConfigKey::path);
  return it == keys.end() ? nullptr : &*it;
}

// The keys that may stand in the map `pattern`, empty if it isn't one.
std::vector<std::string> keys_within(const std::string& pattern) {
  std::string prefix = pattern.empty() ? "" : pattern + ".";
  std::vector<std::string> names;
  for (const ConfigKey& key : config_keys()) {
    if (!key.path.starts_with(prefix)) continue;
    auto rest = key.path.substr(prefix.size());
    std::string name(rest.substr(0, rest.find_first_of(".[")));
    if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
  }
  return names;
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kShown = 60;
  return fmt::format("\"{}{}\"", text.substr(0, kShown), text.size() > kShown ? "…" : "");
}

bool looks_like_number(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return text.find_first_of("0123456789") != text.npos && text.find_first_not_of("0123456789._") == text.npos &&
         std::ranges::count(text, '.') <= 1;
}
bool is_boolean_word(std::string_view text) {
  return text == "true" || text == "false";
}

std::string describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::Null: return "nothing";
    case YamlNode::Kind::Scalar: return node.quoted ? "the text " + in_quotes(node.text) : in_quotes(node.text);
    case YamlNode::Kind::List: return "a list";
    case YamlNode::Kind::Map: return "a map";
  }
  return {};
}

// Fills the structs from the tree, row by row of the schema, and collects what is wrong.
class Reader {
 public:
  explicit Reader(const YamlNode& root) {
    index(root, "");
    read_rows(config_);
  }

  Config& config() { return config_; }
  const std::vector<NamedFile>& files() const { return files_; }
  std::vector<Problem>& problems() { return problems_; }

  bool is_set(const std::string& path) const { return nodes_.contains(path); }
  bool is_map(const std::string& path) const { return is_set(path) && nodes_.at(path)->is_map(); }
  // The line of a key, or of the innermost map around it that the file has.
  int line_of(std::string path) const {
    for (;;) {
      if (auto it = nodes_.find(path); it != nodes_.end()) return it->second->line;
      auto end = path.find_last_of(".[");
      if (end == path.npos) return 1;
      path.resize(end);
    }
  }
  void report(const std::string& path, std::string text) {
    problems_.push_back({line_of(path), fmt::format("{}: {}", path, text)});
  }

 private:
  // Notes where every key is; reports keys that are unknown, doubled, or maps and lists where the schema has none.
  void index(const YamlNode& node, const std::string& path) {
    nodes_[path] = &node;
    std::string pattern = pattern_of(path);
    if (const ConfigKey* key = find_key(pattern)) {
      if (key->kind != ConfigKind::MapList || !node.is_list()) return;
      for (std::size_t i = 0; i < node.items.size(); ++i) index(node.items[i], fmt::format("{}[{}]", path, i));
      return;
    }
    if (!node.is_map()) return report(path, fmt::format("expected a map of keys, got {}", describe(node)));
    auto known = keys_within(pattern);
    std::map<std::string_view, int> seen;
    for (const auto& [name, line, value] : node.entries) {
      std::string inner = path.empty() ? name : path + "." + name;
      if (auto [first, is_new] = seen.try_emplace(name, line); !is_new) {
        problems_.push_back({line, fmt::format("{}: is set twice, first on line {}", inner, first->second)});
      } else if (std::ranges::find(known, name) == known.end()) {
        problems_.push_back({line, unknown_key(path, name, known)});
      } else {
        index(value, inner);
      }
    }
  }

  static std::string unknown_key(const std::string& path, const std::string& name,
                                 const std::vector<std::string>& known) {
    std::string where = fmt::format("{}{}{}: unknown key", path, path.empty() ? "" : ".", in_quotes(name));
    if (std::string near = nearest(name, known); !near.empty()) return fmt::format("{}; did you mean {}?", where, near);
    for (const ConfigKey& key : config_keys())
      if (key.path.ends_with("." + name)) return fmt::format("{}; there is {}", where, key.path);
    return fmt::format("{}; the keys here are {}", where, fmt::join(known, ", "));
  }

  template <ConfigKind K, class T>
  void read(const std::string& path, T& out) {
    const ConfigKey& key = *find_key(pattern_of(path));
    auto found = nodes_.find(path);
    if (found == nodes_.end()) return read_default<K>(path, key, out);
    const YamlNode& node = *found->second;
    if (auto problem = read_value<K>(path, key, node, out)) {
      report(path, *problem);
      if (key.default_text != nullptr) read_default<K>(path, key, out);  // so that later checks see something sensible
      return;
    }
    bool empty = node.is_null() || (node.is_list() && node.items.empty());
    bool is_default = node.is_scalar() && key.default_text != nullptr && node.text == key.default_text;
    if ((key.effect == ConfigEffect::NotYet && !empty) || (key.effect == ConfigEffect::OnlyDefault && !is_default))
      config_.keys_without_effect.push_back(path);
    if (K == ConfigKind::OptionalPath && node.is_scalar()) files_.push_back({node.line, path, node.text});
  }

  template <ConfigKind K, class T>
  void read_default(const std::string& path, const ConfigKey& key, T& out) {
    if (key.default_text == nullptr) return report(path, fmt::format("is missing: {}", key.help));
    std::string_view text = key.default_text;
    if (text.starts_with('=')) return;
    YamlNode node;
    if (text.starts_with('[')) {
      node = parse_yaml(text).value();
    } else if (text != "null") {
      node.kind = YamlNode::Kind::Scalar;
      node.text = text;
    }
    CHECK(!read_value<K>(path, key, node, out));
  }

  // A scalar that `parse` understands, for a person who expects `wanted`.
  template <class Parse, class T>
  static std::optional<std::string> read_scalar(const YamlNode& node, std::string_view wanted, Parse parse, T& out) {
    if (!node.is_scalar()) return fmt::format("expected {}, got {}", wanted, describe(node));
    auto value = parse(node.text);
    if (!value) return value.error().message();
    out = std::move(*value);
    return std::nullopt;
  }

  // A list whose items `parse` understands; a bad item is reported in its own line and left out.
  template <class Parse, class T>
  std::optional<std::string> read_list(const std::string& path, const ConfigKey& key, const YamlNode& node,
                                       std::string_view item, Parse parse, std::vector<T>& out) {
    if (auto problem = check_list(key, node)) return problem;
    out.clear();
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      T value{};
      if (auto problem = read_scalar(node.items[i], item, parse, value)) {
        problems_.push_back({node.items[i].line, fmt::format("{}[{}]: {}", path, i, *problem)});
      } else {
        out.push_back(std::move(value));
      }
    }
    return std::nullopt;
  }

  static std::optional<std::string> check_list(const ConfigKey& key, const YamlNode& node) {
    if (node.is_scalar())
      return fmt::format("expected a list, got {}; put it in brackets, as in [{}]", describe(node), node.text);
    if (!node.is_list()) return fmt::format("expected a list, got {}; write [] for none", describe(node));
    auto size = static_cast<std::int64_t>(node.items.size());
    if (size < key.min || size > key.max)
      return fmt::format("has {} items, not within {} to {}", size, key.min, key.max);
    return std::nullopt;
  }

  static std::optional<std::string> read_integer(const ConfigKey& key, const YamlNode& node, std::int64_t& out) {
    std::string range = fmt::format("within {} to {}", key.min, key.max);
    if (!node.is_scalar()) return fmt::format("expected a whole number {}, got {}", range, describe(node));
    bool negative = node.text.starts_with('-');
    auto digits = std::string_view(node.text).substr(negative ? 1 : 0);
    bool is_whole = !digits.empty() && digits.find_first_not_of("0123456789") == digits.npos;
    if (node.quoted && is_whole)
      return fmt::format("expected a whole number, got text; write {} without quotes", node.text);
    if (!is_whole || node.quoted) return fmt::format("expected a whole number {}, got {}", range, describe(node));
    if (digits.size() > 1 && digits[0] == '0')
      return fmt::format("{} starts with a zero; write it without", in_quotes(node.text));
    auto value = parse_decimal(digits, 0, INT64_MAX);
    if (value) out = negative ? -static_cast<std::int64_t>(*value) : static_cast<std::int64_t>(*value);
    if (!value || out < key.min || out > key.max) return fmt::format("{} is not {}", node.text, range);
    return std::nullopt;
  }

  // Text that YAML would take for something else has to be quoted, so that a slip isn't silently a name.
  static std::optional<std::string> check_text(const YamlNode& node) {
    if (!node.is_scalar()) return fmt::format("expected text, got {}", describe(node));
    if (!node.quoted && (looks_like_number(node.text) || is_boolean_word(node.text)))
      return fmt::format("expected text, got {}; quote it if it is meant so", node.text);
    return std::nullopt;
  }

  template <class T>
  std::optional<std::string> read_maps(const std::string& path, const ConfigKey& key, const YamlNode& node,
                                       std::vector<T>& out) {
    if (auto problem = check_list(key, node)) return problem;
    out.clear();
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      out.emplace_back();
      if (node.items[i].is_map()) read_rows(out.back(), fmt::format("{}[{}].", path, i));
    }
    return std::nullopt;
  }

  // One value of any kind. Returns what is wrong with it.
  template <ConfigKind K, class T>
  std::optional<std::string> read_value(const std::string& path, const ConfigKey& key, const YamlNode& node, T& out) {
    using enum ConfigKind;
    constexpr bool kOptional = K == OptionalHttpUrl || K == OptionalInteger || K == OptionalPath;
    if (kOptional && node.is_null()) {
      out = {};
      return std::nullopt;
    }
    if constexpr (K == Boolean) {
      if (!node.is_scalar() || node.quoted || !is_boolean_word(node.text))
        return fmt::format("expected true or false, got {}", describe(node));
      out = node.text == "true";
      return std::nullopt;
    } else if constexpr (K == Integer || K == OptionalInteger) {
      std::int64_t number = 0;
      if (auto problem = read_integer(key, node, number)) return problem;
      if constexpr (std::is_same_v<T, DongleId>)
        out = DongleId{static_cast<unsigned>(number)};
      else if constexpr (K == OptionalInteger)
        out = static_cast<int>(number);
      else
        out = static_cast<T>(number);
      return std::nullopt;
    } else if constexpr (K == Duration) {
      if (auto problem = read_scalar(node, "a duration such as 10s", parse_duration, out)) return problem;
      if (out >= Millis{key.min} && out <= Millis{key.max}) return std::nullopt;
      return fmt::format("{} is not within {} to {}", node.text, format_duration(Millis{key.min}),
                         format_duration(Millis{key.max}));
    } else if constexpr (K == Choice) {
      return read_choice(key, node, out);
    } else if constexpr (K == MapList) {
      return read_maps(path, key, node, out);
    } else if constexpr (K == PrefixList) {
      return read_list(path, key, node, "an address or prefix", parse_network, out);
    } else if constexpr (K == TargetList) {
      return read_list(path, key, node, "a URL", parse_probe_target, out);
    } else if constexpr (K == StageList) {
      if (auto problem = read_list(path, key, node, "a stage", parse_stage, out)) return problem;
      if (std::ranges::adjacent_find(out, std::ranges::greater_equal{}) == out.end()) return std::nullopt;
      return "each stage stands once, in the order route, modem, usb, port_power, hub_power";
    } else if constexpr (K == DongleAddress) {
      return read_scalar(
          node, "dhcp, auto or ADDRESS/LENGTH", [&](const std::string& text) { return parse_address(text, out); },
          out.address_mode);
    } else {
      if (auto problem = check_text(node)) return problem;
      return read_scalar(
          node, "text", [&](const std::string& text) { return parse_text<K>(key, text); }, out);
    }
  }

  template <ConfigKind K>
  static auto parse_text(const ConfigKey& key, const std::string& text) {
    using enum ConfigKind;
    if constexpr (K == AbsolutePath || K == OptionalPath) return parse_path(text);
    if constexpr (K == HttpUrl || K == OptionalHttpUrl) return parse_http_url(text);
    if constexpr (K == Interface) return parse_interface_name(text);
    if constexpr (K == IpAddress) return Address::parse(text);
    if constexpr (K == Ipv4Address) return parse_ipv4(text);
    if constexpr (K == ListenAddress) return parse_listen(text);
    if constexpr (K == Mac) return parse_mac(text);
    if constexpr (K == ModemUrl) return parse_modem_url(text);
    if constexpr (K == Target) return parse_target(text);
    if constexpr (K == Text) return parse_words(key, text);
    if constexpr (K == UsbPath) return parse_usb_path(text);
  }

  template <class E>
  static std::optional<std::string> read_choice(const ConfigKey& key, const YamlNode& node, E& out) {
    int value = 0;
    for (std::string_view rest = key.choices; node.is_scalar() && !rest.empty(); ++value) {
      auto bar = rest.find(" | ");
      if (node.text == rest.substr(0, bar)) {
        out = static_cast<E>(value);
        return std::nullopt;
      }
      rest = bar == rest.npos ? "" : rest.substr(bar + 3);
    }
    return fmt::format("expected {}, got {}", key.choices, describe(node));
  }

  static Result<std::string> parse_path(const std::string& text) {
    if (text.starts_with('/') && text.size() < 4096) return text;
    return fail(Errc::InvalidArgument, "expected an absolute path, got {}", in_quotes(text));
  }
  static Result<Address> parse_ipv4(const std::string& text) {
    auto address = Address::parse(text);
    if (address && address->is_v4() && !address->is_unspecified()) return address;
    return fail(Errc::InvalidArgument, "expected an IPv4 address, got {}", in_quotes(text));
  }
  static Result<std::string> parse_listen(const std::string& text) {
    auto endpoint = Endpoint::parse(text);
    if (endpoint) return text;
    return fail(Errc::InvalidArgument, "expected ADDRESS:PORT such as 127.0.0.1:8080, got {}", in_quotes(text));
  }
  static Result<HostPort> parse_target(const std::string& text) {
    auto target = HostPort::parse(text);
    if (target && target->host.find_first_of(" \t/@") == std::string::npos) return target;
    return fail(Errc::InvalidArgument, "expected HOST:PORT, got {}", in_quotes(text));
  }
  static Result<std::string> parse_words(const ConfigKey& key, const std::string& text) {
    auto size = static_cast<std::int64_t>(text.size());
    if (size >= key.min && size <= key.max && text.find_first_of("\n\r\t") == std::string::npos) return text;
    return fail(Errc::InvalidArgument, "expected {} to {} characters in one line, got {}", key.min, key.max,
                in_quotes(text));
  }
  static Result<Prefix> parse_network(const std::string& text) {
    auto prefix = Prefix::parse(text);
    if (!prefix)
      return fail(Errc::InvalidArgument, "{} is not an address or prefix such as 10.0.0.0/8", in_quotes(text));
    if (prefix->network() == *prefix) return prefix;
    return fail(Errc::InvalidArgument, "{} has bits set behind its prefix length; write {}", in_quotes(text),
                prefix->network().to_string());
  }
  static Result<Stage> parse_stage(const std::string& text) {
    if (auto stage = stage_from_string(text)) return *stage;
    std::vector<std::string> names;
    for (Stage stage : kStages) names.emplace_back(to_string(stage));
    std::string near = nearest(text, names);
    return fail(Errc::InvalidArgument, "{} is not a stage; {}", in_quotes(text),
                near.empty() ? fmt::format("the stages are {}", fmt::join(names, ", ")) : "did you mean " + near + "?");
  }
  static Result<AddressMode> parse_address(const std::string& text, DongleConfig& d) {
    if (text == "dhcp") return AddressMode::Dhcp;
    if (text == "auto") return AddressMode::Auto;
    auto prefix = parse_host_prefix(text);
    if (!prefix) return std::unexpected(std::move(prefix).error());
    d.address = *prefix;
    return AddressMode::Static;
  }

#define READ_ROW(path, member, kind, min, max, fallback, effect, help) read<ConfigKind::kind>(prefix + path, member);
  void read_rows(Config& c) {
    const std::string prefix;
#define KEY READ_ROW
#include "common/config_schema.def"
  }
  void read_rows(HubConfig& h, const std::string& prefix) {
#define HUB_KEY READ_ROW
#include "common/config_schema.def"
  }
  void read_rows(DongleConfig& d, const std::string& prefix) {
#define DONGLE_KEY READ_ROW
#include "common/config_schema.def"
  }
  void read_rows(ListenerConfig& l, const std::string& prefix){
#define LISTENER_KEY READ_ROW
#include "common/config_schema.def"
  }
#undef READ_ROW

  Config config_;
  std::map<std::string, const YamlNode*> nodes_;  // by path; of the keys that the schema has
  std::vector<NamedFile> files_;
  std::vector<Problem> problems_;
};

// Refuses the second use of what may be used once.
class Uses {
 public:
  explicit Uses(Reader& reader) : reader_(reader) {}
  void add(const std::string& what, const std::string& path) {
    auto [first, is_new] = owners_.try_emplace(what, path);
    if (is_new) return;
    // The one that stands in the file is to blame, not a default.
    bool later = reader_.is_set(path) || !reader_.is_set(first->second);
    const auto& [blamed, other] = later ? std::pair(path, first->second) : std::pair(first->second, path);
    reader_.report(blamed, fmt::format("{} is already used by {}{}{}", what, other,
                                       reader_.is_set(other) ? " in line " : ", by default",
                                       reader_.is_set(other) ? std::to_string(reader_.line_of(other)) : ""));
  }

 private:
  Reader& reader_;
  std::map<std::string, std::string> owners_;
};

void complete_dongle(Reader& reader, const std::string& path, DongleConfig& d) {
  const Config& c = reader.config();
  if (!reader.is_set(path + ".interface") && !reader.is_set(path + ".mac") && !reader.is_set(path + ".usb_path"))
    reader.report(path, "says nowhere which modem it is; set usb_path, interface or mac");
  if (!reader.is_set(path + ".socks5") && d.id.value != 0) {
    d.socks5_port = c.proxy.port_base + d.id.value;
    if (d.socks5_port > 65535)
      reader.report(path,
                    fmt::format("proxy.port_base {} + id {} = {} is not a port; set socks5 or lower proxy.port_base",
                                c.proxy.port_base, d.id, d.socks5_port));
  }
  if (d.address_mode != AddressMode::Static) return;
  if (!reader.is_set(path + ".gateway")) {
    d.gateway = first_host(*d.address);
    if (*d.gateway == d.address->address)
      reader.report(path + ".address", "is the subnet's first host, where the modem is expected; set gateway");
  } else if (d.gateway && *d.gateway == d.address->address) {
    reader.report(path + ".gateway", fmt::format("{} is the dongle's own address", d.gateway->to_string()));
  } else if (d.gateway && !is_host_of(*d.address, *d.gateway)) {
    reader.report(path + ".gateway", fmt::format("{} is not a host of the subnet {}", d.gateway->to_string(),
                                                 d.address->network().to_string()));
  }
}

// What no single key can tell.
void check_together(Reader& reader) {
  Config& c = reader.config();
  Uses uses(reader);
  auto port = [&](int number, const std::string& path) {
    if (number > 0 && number <= 65535) uses.add(fmt::format("port {}", number), path);
  };
  port(Endpoint::parse(c.api.listen)->port, "api.listen");
  for (std::size_t i = 0; i < c.dongles.size(); ++i) {
    DongleConfig& d = c.dongles[i];
    std::string path = fmt::format("dongles[{}]", i);
    if (!reader.is_map(path)) continue;
    complete_dongle(reader, path, d);
    if (d.id.value != 0) uses.add(fmt::format("id {}", d.id), path + ".id");
    if (!d.interface.empty()) uses.add("interface " + d.interface, path + ".interface");
    if (!d.mac.empty()) uses.add("mac " + d.mac, path + ".mac");
    if (!d.usb_path.empty()) uses.add("usb_path " + d.usb_path, path + ".usb_path");
    port(d.socks5_port, path + ".socks5");
    for (std::size_t k = 0; k < d.listeners.size(); ++k)
      port(d.listeners[k].port, fmt::format("{}.listeners[{}].port", path, k));
  }
  for (std::size_t i = 0; i < c.hubs.size(); ++i) {
    std::string path = fmt::format("hubs[{}]", i);
    if (!c.hubs[i].name.empty()) uses.add("hub " + c.hubs[i].name, path + ".name");
    if (!c.hubs[i].location.empty()) uses.add("hub location " + c.hubs[i].location, path + ".location");
  }

  bool is_guarded = !c.proxy.clients.empty() || !c.proxy.clients_url.empty() || !c.proxy.users_file.empty();
  if (!c.proxy.listen_address.is_loopback() && !is_guarded)
    reader.report(
        "proxy.listen_address",
        fmt::format("{} is beyond loopback; say who may come in with proxy.clients, clients_url or users_file",
                    c.proxy.listen_address.to_string()));
  if (!Endpoint::parse(c.api.listen)->address.is_loopback() && c.api.token_file.empty())
    reader.report("api.listen", fmt::format("{} is beyond loopback; that needs api.token_file", c.api.listen));
}

struct Parsed {
  Config config;
  std::vector<NamedFile> files;
  std::vector<Problem> problems;
};

Parsed parse(std::string_view yaml, const std::string& file) {
  Parsed parsed;
  if (yaml.size() > kMaxFileBytes) {
    parsed.problems = {{1, fmt::format("is larger than {} KiB", kMaxFileBytes / 1024)}};
    return parsed;
  }
  auto root = parse_yaml(yaml);
  if (!root) {
    parsed.problems = {{root.error().line, root.error().text, root.error().column}};
    return parsed;
  }
  if (!root->is_map()) {
    std::string what = root->is_null() ? "is empty" : "expected a map of keys, got " + describe(*root);
    parsed.problems = {{root->line, what + "; the least that is needed is \"dongles: []\""}};
    return parsed;
  }
  Reader reader(*root);
  check_together(reader);
  parsed.problems = std::move(reader.problems());
  std::ranges::stable_sort(parsed.problems, {}, &Problem::line);
  parsed.config = std::move(reader.config());
  parsed.config.file = file;
  parsed.files = reader.files();
  return parsed;
}

ConfigProblems to_messages(const std::vector<Problem>& problems, const std::string& file) {
  ConfigProblems messages;
  for (const Problem& problem : problems) {
    if (messages.size() == kMaxProblems) {
      messages.push_back(fmt::format("{}: and {} more", file, problems.size() - kMaxProblems));
      break;
    }
    std::string column = problem.column == 0 ? "" : fmt::format("{}:", problem.column);
    messages.push_back(fmt::format("{}:{}:{} {}", file, problem.line, column, problem.text));
  }
  return messages;
}

}  // namespace

std::expected<Config, ConfigProblems> parse_config(std::string_view yaml, const std::string& file) {
  Parsed parsed = parse(yaml, file);
  if (!parsed.problems.empty()) return std::unexpected(to_messages(parsed.problems, file));
  return std::move(parsed.config);
}

std::expected<Config, ConfigProblems> load_config(const std::string& path) {
  auto text = read_file(path, kMaxFileBytes);
  if (!text) return std::unexpected(ConfigProblems{fmt::format("{}: {}", path, text.error().message())});
  Parsed parsed = parse(*text, path);
  for (const NamedFile& file : parsed.files) {
    if (::access(file.path.c_str(), R_OK) == 0) continue;
    parsed.problems.push_back({file.line, fmt::format("{}: {}: {}", file.key, file.path, std::strerror(errno))});
  }
  std::ranges::stable_sort(parsed.problems, {}, &Problem::line);
  if (!parsed.problems.empty()) return std::unexpected(to_messages(parsed.problems, path));
  return std::move(parsed.config);
}

}  // namespace dongle
