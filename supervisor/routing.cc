#include "supervisor/routing.h"

#include <algorithm>
#include <set>

#include "common/log.h"

namespace dongle {
namespace {

// How often the settings that no event tells about are looked at.
constexpr Millis kHostCheckInterval = Seconds(30);

bool is_global(const Address& a) {
  if (a.is_loopback() || a.is_unspecified()) return false;
  auto bytes = a.bytes();
  bool link_local = a.is_v4() ? bytes[0] == 169 && bytes[1] == 254 : bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
  return !link_local;
}

}  // namespace

Result<std::unique_ptr<Routing>> Routing::open(UvLoop& loop, std::string dhcp_report, OnNetwork on_network) {
  std::unique_ptr<Routing> self(new Routing(loop, std::move(dhcp_report), std::move(on_network)));
  auto netlink = Netlink::open(loop, kOurProtocol);
  if (!netlink) return wrap(std::move(netlink).error(), "netlink");
  self->netlink_ = std::move(*netlink);
  self->routes_ = std::make_unique<RouteApply>(loop, *self->netlink_);
  auto firewall = FirewallApply::open(loop);
  if (!firewall) return wrap(std::move(firewall).error(), "nftables");
  self->firewall_ = std::move(*firewall);
  auto* raw = self.get();
  self->netlink_->on_change([raw] { raw->evaluate(); });
  return self;
}

Routing::Routing(UvLoop& loop, std::string dhcp_report, OnNetwork on_network)
    : loop_(loop),
      dhcp_report_(std::move(dhcp_report)),
      on_network_(std::move(on_network)),
      check_timer_(loop),
      evaluate_timer_(loop) {
  check_timer_.repeat(kHostCheckInterval, [this] { check_host(); });
}

Result<void> Routing::configure(const Config& config) {
  config_ = config;
  auto gone = [&](DongleId id) {
    return std::ranges::none_of(config_.dongles, [&](const auto& d) { return d.id == id; });
  };
  for (auto it = networks_.begin(); it != networks_.end();) {
    if (!gone(it->first)) {
      ++it;
      continue;
    }
    if (it->second.present()) sysctl_.restore(it->second.device, it->second.ifindex);
    dhcp_.erase(it->first);
    dhcp_device_.erase(it->first);
    last_device_.erase(it->first);
    it = networks_.erase(it);
  }
  for (const auto& d : config_.dongles) {
    networks_[d.id];
    if (d.address_mode != AddressMode::Dhcp) dhcp_.erase(d.id), dhcp_device_.erase(d.id);
    if (!d.interface.empty()) last_device_.try_emplace(d.id, d.interface);
  }
  if (auto read = netlink_->refresh(); !read) return read;
  evaluate();
  return {};
}

const DongleNetwork& Routing::network(DongleId id) const {
  auto it = networks_.find(id);
  CHECK(it != networks_.end());
  return it->second;
}

void Routing::set_usb(const UsbTree& tree) {
  usb_ = tree;
  evaluate();
}

void Routing::evaluate() {
  if (withdrawn_) return;
  const NetState& seen = netlink_->state();
  auto matches = match_devices(config_.dongles, seen.links, usb_);
  std::set<IfIndex> ours;
  for (const auto& [id, match] : matches)
    if (match.index) ours.insert(match.index);

  std::vector<Prefix> host_subnets;
  std::vector<Address> host_addresses;
  for (const LocalAddress& address : seen.addresses) {
    if (ours.contains(address.index)) continue;
    host_addresses.push_back(address.prefix.address);
    if (!address.prefix.address.is_loopback()) host_subnets.push_back(address.prefix);
  }

  std::vector<DongleRoute> wanted;
  for (const DongleConfig& config : config_.dongles) {
    const Link* link = matches[config.id].index ? seen.find_link(matches[config.id].index) : nullptr;
    if (link) last_device_[config.id] = link->name;
    if (config.address_mode == AddressMode::Dhcp) {
      ask_dhcp(config, link);
      if (auto it = dhcp_.find(config.id); it != dhcp_.end()) it->second->set_forbidden(host_subnets);
    }
    wanted.push_back(wanted_route(config, link));
  }
  routes_->set_wanted(plan_routes(wanted, host_addresses));

  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const DongleConfig& config = config_.dongles[i];
    const Link* link = netlink_->state().find_link(wanted[i].ifindex);
    DongleNetwork now = describe(config, link, wanted[i]);
    if (!link) now.trouble = matches[config.id].trouble;
    DongleNetwork& before = networks_[config.id];
    if (now.ifindex != before.ifindex && now.present())
      if (auto set = sysctl_.apply(now.device, now.ifindex); !set)
        log_event(LogEvent::sysctl_failed, {{"dongle", config.id}, {"reason", set.error().message()}});
    if (now == before) continue;
    before = now;
    log_event(LogEvent::network_changed, {{"dongle", config.id},
                                          {"device", now.device},
                                          {"ifindex", now.ifindex.value},
                                          {"link", now.link_up},
                                          {"address", now.v4 ? now.v4->to_string() : "-"},
                                          {"routes", now.routes_in_force},
                                          {"trouble", now.trouble}});
    on_network_(config.id, now);
  }

  auto defaults = foreign_defaults(netlink_->state(), std::vector<IfIndex>(ours.begin(), ours.end()));
  if (defaults != reported_defaults_) {
    reported_defaults_ = defaults;
    for (const Route& route : defaults) {
      const Link* link = netlink_->state().find_link(route.device);
      log_event(LogEvent::foreign_default_route, {{"device", link ? link->name : "?"}, {"metric", route.metric}});
    }
  }
  plan_firewall();
}

void Routing::ask_dhcp(const DongleConfig& config, const Link* link) {
  auto asked = dhcp_device_.find(config.id);
  bool same = asked != dhcp_device_.end() && link && asked->second == link->index;
  if (link && link->up && link->carrier && !same) {
    dhcp_device_[config.id] = link->index;
    // From the loop: a new lease changes what we are in the middle of working out.
    dhcp_[config.id] = std::make_unique<DhcpClient>(loop_, DhcpClient::Options{link->name, dhcp_report_}, [this] {
      evaluate_timer_.start(Millis{0}, [this] { evaluate(); });
    });
  } else if (!link) {
    dhcp_.erase(config.id);
    dhcp_device_.erase(config.id);
  }
}

DongleRoute Routing::wanted_route(const DongleConfig& config, const Link* link) const {
  DongleRoute route;
  route.id = config.id;
  if (auto it = last_device_.find(config.id); it != last_device_.end()) route.device = it->second;
  if (!link) return route;
  route.ifindex = link->index;

  std::optional<Prefix> v4, v6;
  std::optional<Address> gateway = config.gateway;
  switch (config.address_mode) {
    case AddressMode::Static:
      route.own_address = true;
      (config.address->address.is_v4() ? v4 : v6) = config.address;
      break;
    case AddressMode::Dhcp: {
      auto it = dhcp_.find(config.id);
      if (it == dhcp_.end() || !it->second->lease()) break;
      route.own_address = true;
      v4 = it->second->lease()->address;
      if (!gateway) gateway = it->second->lease()->gateway;
      break;
    }
    case AddressMode::Auto:
      for (const LocalAddress& a : netlink_->state().addresses) {
        if (a.index != link->index || !is_global(a.prefix.address)) continue;
        auto& slot = a.prefix.address.is_v4() ? v4 : v6;
        if (!slot) slot = a.prefix;
      }
      break;
  }
  if (v4) {
    route.v4 = v4;
    route.gateway_v4 = gateway && gateway->is_v4() ? gateway : found_gateway(netlink_->state(), link->index, AF_INET);
    if (!route.gateway_v4) route.gateway_v4 = likely_gateway(*v4);
  }
  if (v6) {
    route.v6 = v6;
    route.gateway_v6 = gateway && !gateway->is_v4() ? gateway : found_gateway(netlink_->state(), link->index, AF_INET6);
    // Without a router there is no IPv6 beyond the link, so the family stays closed.
    if (!route.gateway_v6) route.v6.reset();
  }
  return route;
}

DongleNetwork Routing::describe(const DongleConfig& config, const Link* link, const DongleRoute& route) const {
  DongleNetwork now;
  if (!link) return now;
  now.device = link->name;
  now.ifindex = link->index;
  now.usb_path = link->usb_path;
  now.link_up = link->up && link->carrier;
  now.v4 = route.v4;
  now.v6 = route.v6;
  now.gateway_v4 = route.gateway_v4;
  now.gateway_v6 = route.gateway_v6;
  now.routes_in_force = now.has_address() && routes_->is_settled(config.id);
  auto dhcp = dhcp_.find(config.id);
  if (dhcp != dhcp_.end() && dhcp->second->lease()) now.dns = dhcp->second->lease()->dns;

  if (auto until = routes_->contested_until(config.id))
    now.trouble = "contested: another program keeps removing our routes or rules; repairs are paused";
  else if (auto failure = routes_->failure(config.id))
    now.trouble = failure->message();
  else if (!now.link_up)
    now.trouble = "the link is down or has no carrier";
  else if (!now.has_address() && dhcp != dhcp_.end())
    now.trouble = dhcp->second->error() ? dhcp->second->error()->message()
                                        : std::string("no address by DHCP: ") + to_string(dhcp->second->state());
  else if (!now.has_address())
    now.trouble = "the device has no address";
  return now;
}

void Routing::plan_firewall() {
  FirewallPlan plan;
  for (const DongleConfig& d : config_.dongles) {
    auto device = last_device_.find(d.id);
    plan.dongles.push_back({d.id, config_.worker_uid(d.id), device == last_device_.end() ? "" : device->second});
    plan.proxy_ports.push_back(static_cast<std::uint16_t>(d.socks5_port));
  }
  plan.clients = config_.proxy.clients;
  if (auto planned = firewall_->set_wanted(plan); !planned)
    log_event(LogEvent::firewall_failed, {{"error", planned.error().message()}});
}

void Routing::check_host() {
  if (withdrawn_) return;
  for (const auto& deviation : sysctl_.check()) {
    log_event(LogEvent::sysctl_deviates, {{"device", deviation.device},
                                          {"key", deviation.key},
                                          {"value", deviation.value},
                                          {"wanted", deviation.wanted}});
    for (const auto& [id, network] : networks_)
      if (network.device == deviation.device) (void)sysctl_.apply(network.device, network.ifindex);  // logged above
  }
  // A lost event would otherwise never be noticed.
  (void)netlink_->refresh();
}

Result<void> Routing::reset(DongleId id) {
  if (auto read = netlink_->refresh(); !read)
    return wrap(std::move(read).error(), "dongle {}: reading the kernel's routes", id);
  dhcp_.erase(id);
  dhcp_device_.erase(id);
  evaluate();
  if (auto failure = routes_->failure(id)) return std::unexpected(*failure);
  return {};
}

void Routing::withdraw(std::function<void()> done) {
  withdrawn_ = true;
  dhcp_.clear();
  for (const auto& [id, network] : networks_)
    if (network.present()) sysctl_.restore(network.device, network.ifindex);
  routes_->withdraw();
  firewall_->remove([done = std::move(done)](Result<void> removed) {
    if (!removed) log_event(LogEvent::firewall_failed, {{"error", removed.error().message()}});
    done();
  });
}

}  // namespace dongle
