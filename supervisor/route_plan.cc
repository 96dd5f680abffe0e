#include "supervisor/route_plan.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>

#include <fmt/core.h>

namespace dongle {
namespace {

constexpr std::array kBands{kOifLookupPriority, kOifProhibitPriority, kFromLookupPriority, kFromProhibitPriority};

Prefix any_address(int family) {
  static constexpr std::array<std::uint8_t, 16> kZero{};
  return family == AF_INET ? Prefix{Address::v4(0), 0} : Prefix{Address::v6(kZero), 0};
}

Prefix host_prefix(const Address& address) {
  return {address, address.is_v4() ? 32 : 128};
}

void add_rules(DonglePlan& plan, int family, const std::string& device, const std::optional<Prefix>& from,
               std::uint32_t lookup, std::uint32_t prohibit) {
  Rule rule{family, lookup + plan.id.value, device, from, RuleAction::Lookup, TableId::of(plan.id), kOurProtocol,
            false};
  plan.rules.push_back(rule);
  rule.priority = prohibit + plan.id.value;
  rule.action = RuleAction::Prohibit;
  rule.table = {};
  plan.rules.push_back(std::move(rule));
}

void add_routes(DonglePlan& plan, const Prefix& prefix, const std::optional<Address>& gateway) {
  bool v4 = prefix.address.is_v4();
  Route subnet;
  subnet.table = TableId::of(plan.id);
  subnet.destination = prefix.network();
  subnet.device = plan.ifindex;
  subnet.source = prefix.address;
  subnet.link_scope = v4;
  subnet.metric = v4 ? 0 : kIpv6Metric;
  subnet.protocol = kOurProtocol;

  Route way_out = subnet;
  way_out.destination = any_address(prefix.address.family());
  if (gateway) {
    way_out.gateway = gateway;
    way_out.link_scope = false;
    // A link-local IPv6 gateway is on the link by definition.
    bool link_local = !v4 && gateway->bytes()[0] == 0xfe && (gateway->bytes()[1] & 0xc0) == 0x80;
    way_out.onlink = !prefix.network().contains(*gateway) && !link_local;
  }
  plan.routes.push_back(subnet);
  plan.routes.push_back(way_out);
}

DonglePlan plan_dongle(const DongleRoute& dongle, std::span<const Address> host_addresses) {
  DonglePlan plan;
  plan.id = dongle.id;
  plan.device = dongle.device;
  plan.ifindex = dongle.ifindex;
  plan.set_up = dongle.set_up && dongle.ifindex;
  for (int family : {AF_INET, AF_INET6}) {
    if (!dongle.device.empty())
      add_rules(plan, family, dongle.device, std::nullopt, kOifLookupPriority, kOifProhibitPriority);
    Route closed;
    closed.table = TableId::of(dongle.id);
    closed.type = RouteType::Unreachable;
    closed.destination = any_address(family);
    closed.metric = kUnreachableMetric;
    closed.protocol = kOurProtocol;
    plan.routes.push_back(closed);

    const auto& prefix = family == AF_INET ? dongle.v4 : dongle.v6;
    if (!prefix || !dongle.ifindex) continue;
    if (dongle.own_address) plan.addresses.push_back({dongle.ifindex, *prefix, kOurProtocol, true});
    add_routes(plan, *prefix, family == AF_INET ? dongle.gateway_v4 : dongle.gateway_v6);
    if (std::ranges::find(host_addresses, prefix->address) != host_addresses.end()) {
      plan.shares_host_address = true;
    } else {
      add_rules(plan, family, {}, host_prefix(prefix->address), kFromLookupPriority, kFromProhibitPriority);
    }
  }
  return plan;
}

std::optional<DongleId> owner_of(const Rule& rule) {
  if (rule.protocol != kOurProtocol) return std::nullopt;
  for (std::uint32_t base : kBands)
    if (rule.priority >= base + kMinDongleId && rule.priority <= base + kMaxDongleId)
      return DongleId{rule.priority - base};
  return std::nullopt;
}

std::optional<DongleId> owner_of(const Route& route) {
  if (route.protocol != kOurProtocol || route.table.value < kMinDongleId || route.table.value > kMaxDongleId)
    return std::nullopt;
  return DongleId{route.table.value};
}

/// The kernel keeps one route for each of these, and a new one with the same takes its place.
bool same_key(const Route& a, const Route& b) {
  return a.table == b.table && a.destination == b.destination && a.metric == b.metric;
}

template <class T>
bool contains(const std::vector<T>& all, const T& one) {
  return std::ranges::find(all, one) != all.end();
}

/// An address counts as there whoever added it: only the address and its device matter to traffic.
bool has_address(const std::vector<LocalAddress>& all, const LocalAddress& one) {
  return std::ranges::any_of(all,
                             [&](const LocalAddress& a) { return a.index == one.index && a.prefix == one.prefix; });
}

/// Additions, in the order in which they are carried out.
struct Additions {
  std::vector<RouteOp> closing_rules, links, addresses, closing_routes, routes, opening_rules;
};

void collect_additions(const DonglePlan& plan, const NetState& seen, Additions& out) {
  auto add = [&](std::vector<RouteOp>& list, auto object) {
    list.push_back({RouteOp::Kind::Add, plan.id, std::move(object)});
  };
  for (const Rule& rule : plan.rules)
    if (!contains(seen.rules, rule))
      add(rule.action == RuleAction::Prohibit ? out.closing_rules : out.opening_rules, rule);
  const Link* link = seen.find_link(plan.ifindex);
  bool will_be_up = link != nullptr && (link->up || plan.set_up);
  if (link != nullptr && !link->up && plan.set_up) add(out.links, LinkUp{plan.ifindex});
  if (link != nullptr)
    for (const LocalAddress& address : plan.addresses)
      if (!has_address(seen.addresses, address)) add(out.addresses, address);
  for (const Route& route : plan.routes) {
    if (contains(seen.routes, route)) continue;
    // The kernel takes no route through a device that is down; it has removed those that were there.
    if (!route.device)
      add(out.closing_routes, route);
    else if (will_be_up)
      add(out.routes, route);
  }
}

}  // namespace

const DonglePlan* RoutePlan::find(DongleId id) const {
  auto it = std::ranges::find(dongles, id, &DonglePlan::id);
  return it == dongles.end() ? nullptr : &*it;
}

RoutePlan plan_routes(std::span<const DongleRoute> dongles, std::span<const Address> host_addresses) {
  RoutePlan plan;
  for (const DongleRoute& dongle : dongles) plan.dongles.push_back(plan_dongle(dongle, host_addresses));
  return plan;
}

std::vector<RouteOp> diff(const RoutePlan& wanted, const NetState& seen) {
  Additions added;
  for (const DonglePlan& plan : wanted.dongles) collect_additions(plan, seen, added);

  std::vector<RouteOp> opening_rules, routes, addresses, closing_rules;  // removals, in this order
  for (const Rule& rule : seen.rules) {
    auto id = owner_of(rule);
    const DonglePlan* plan = id ? wanted.find(*id) : nullptr;
    if (!id || (plan != nullptr && contains(plan->rules, rule))) continue;
    auto& list = rule.action == RuleAction::Prohibit ? closing_rules : opening_rules;
    list.push_back({RouteOp::Kind::Remove, *id, rule});
  }
  for (const Route& route : seen.routes) {
    auto id = owner_of(route);
    if (!id) continue;
    const DonglePlan* plan = wanted.find(*id);
    bool stays_or_is_replaced =
        plan != nullptr && std::ranges::any_of(plan->routes, [&](const Route& w) { return same_key(w, route); });
    if (!stays_or_is_replaced) routes.push_back({RouteOp::Kind::Remove, *id, route});
  }
  for (const LocalAddress& address : seen.addresses) {
    if (address.protocol != kOurProtocol) continue;
    auto plan = std::ranges::find(wanted.dongles, address.index, &DonglePlan::ifindex);
    if (plan != wanted.dongles.end() && has_address(plan->addresses, address)) continue;
    addresses.push_back({RouteOp::Kind::Remove, plan == wanted.dongles.end() ? DongleId{} : plan->id, address});
  }

  std::vector<RouteOp> ops;
  for (auto* list : {&added.closing_rules, &added.links, &added.addresses, &added.closing_routes, &added.routes,
                     &added.opening_rules, &opening_rules, &routes, &addresses, &closing_rules})
    ops.insert(ops.end(), std::make_move_iterator(list->begin()), std::make_move_iterator(list->end()));
  return ops;
}

std::string to_string(const RouteOp& op, const NetState& seen) {
  auto name = [&](IfIndex index) {
    const Link* link = seen.find_link(index);
    return link != nullptr ? link->name : fmt::format("#{}", index.value);
  };
  const char* verb = op.kind == RouteOp::Kind::Add ? "add" : "remove";
  if (auto* rule = std::get_if<Rule>(&op.object))
    return fmt::format("{} {}rule {}", verb, rule->family == AF_INET6 ? "IPv6 " : "", to_string(*rule));
  if (auto* route = std::get_if<Route>(&op.object))
    return fmt::format("{} {}route {} table {}", verb, route->family() == AF_INET6 ? "IPv6 " : "",
                       to_string(*route, name(route->device)), route->table.value);
  if (auto* address = std::get_if<LocalAddress>(&op.object))
    return fmt::format("{} address {}", verb, to_string(*address, name(address->index)));
  return fmt::format("set {} up", name(std::get<LinkUp>(op.object).index));
}

std::optional<Address> found_gateway(const NetState& seen, IfIndex device, int family) {
  const Route* best = nullptr;
  for (const Route& route : seen.routes)
    if (route.table == kMainTable && route.is_default() && route.device == device && route.family() == family &&
        route.gateway && (best == nullptr || route.metric < best->metric))
      best = &route;
  return best == nullptr ? std::nullopt : best->gateway;
}

std::optional<Address> likely_gateway(const Prefix& address) {
  if (!address.address.is_v4() || address.length > 30) return std::nullopt;
  std::uint32_t first = address.network().address.v4_host_order() + 1;
  return Address::v4(Address::v4(first) == address.address ? first + 1 : first);
}

std::vector<Route> foreign_defaults(const NetState& seen, std::span<const IfIndex> devices) {
  std::vector<Route> found;
  for (const Route& route : seen.routes)
    if (route.table == kMainTable && route.is_default() && route.protocol != kOurProtocol &&
        std::ranges::find(devices, route.device) != devices.end())
      found.push_back(route);
  return found;
}

}  // namespace dongle
