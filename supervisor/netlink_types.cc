#include "supervisor/netlink_types.h"

#include <net/if.h>

#include <algorithm>

#include <fmt/core.h>

namespace dongle {
namespace {

bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// `ip` leaves the length out for a single address.
std::string host_or_prefix(const Prefix& prefix) {
  int longest = prefix.address.is_v4() ? 32 : 128;
  return prefix.length == longest ? prefix.address.to_string() : prefix.to_string();
}

const char* type_text(RouteType type) {
  switch (type) {
    case RouteType::Unicast: return "";
    case RouteType::Unreachable: return "unreachable ";
    case RouteType::Prohibit: return "prohibit ";
    case RouteType::Blackhole: return "blackhole ";
  }
  return "";
}

}  // namespace

const Link* NetState::find_link(IfIndex index) const {
  auto it = std::ranges::find(links, index, &Link::index);
  return it == links.end() ? nullptr : &*it;
}

const Link* NetState::find_link(std::string_view name) const {
  auto it = std::ranges::find(links, name, &Link::name);
  return it == links.end() ? nullptr : &*it;
}

std::string to_string(const Rule& rule) {
  std::string text = fmt::format("{}: from {}", rule.priority, rule.from ? host_or_prefix(*rule.from) : "all");
  if (!rule.out_device.empty()) text += " oif " + rule.out_device;
  switch (rule.action) {
    case RuleAction::Lookup: text += fmt::format(" lookup {}", rule.table.value); break;
    case RuleAction::Prohibit: text += " prohibit"; break;
    case RuleAction::Other: text += " (other)"; break;
  }
  return text + fmt::format(" proto {}", rule.protocol);
}

std::string to_string(const Route& route, std::string_view device) {
  std::string text = type_text(route.type);
  text += route.is_default() ? "default" : host_or_prefix(route.destination);
  if (route.gateway) text += " via " + route.gateway->to_string();
  if (route.device) text += fmt::format(" dev {}", device);
  text += fmt::format(" proto {}", route.protocol);
  if (route.link_scope) text += " scope link";
  if (route.source) text += " src " + route.source->to_string();
  if (route.metric != 0) text += fmt::format(" metric {}", route.metric);
  if (route.onlink) text += " onlink";
  return text;
}

std::string to_string(const LocalAddress& address, std::string_view device) {
  return fmt::format("{} dev {}", address.prefix.to_string(), device);
}

bool is_plain_device_name(std::string_view name) {
  if (name.empty() || name.size() >= IFNAMSIZ || name == "." || name == "..") return false;
  return std::ranges::all_of(name, [](char c) { return is_alnum(c) || c == '_' || c == '.' || c == '-' || c == '@'; });
}

std::string usb_path_from_interface_name(std::string_view name) {
  std::string_view path = name.substr(0, name.find(':'));
  auto dash = path.find('-');
  if (path.size() == name.size() || dash == 0 || dash == path.npos || !is_digit(path.back())) return {};
  bool well_formed = std::ranges::all_of(path.substr(0, dash), is_digit) && is_digit(path[dash + 1]) &&
                     std::ranges::all_of(path.substr(dash + 1), [](char c) { return is_digit(c) || c == '.'; });
  return well_formed ? std::string(path) : std::string();
}

}  // namespace dongle
