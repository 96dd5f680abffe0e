#include "supervisor/firewall_plan.h"

#include <set>

#include <fmt/format.h>

#include "common/json.h"
#include "supervisor/netlink_types.h"

namespace dongle {
namespace {

Result<void> check(const FirewallPlan& plan) {
  std::set<std::uint32_t> uids;
  for (const FirewallDongle& dongle : plan.dongles) {
    if (dongle.uid == 0) return fail(Errc::InvalidArgument, "dongle {}: its worker would run as root", dongle.id);
    if (!uids.insert(dongle.uid).second)
      return fail(Errc::InvalidArgument, "dongle {}: uid {} is another worker's, too", dongle.id, dongle.uid);
    if (!dongle.device.empty() && !is_plain_device_name(dongle.device))
      return fail(Errc::InvalidArgument, "dongle {}: can't write a firewall rule for this device name; rename it",
                  dongle.id);
  }
  return {};
}

/// What a worker may send: over loopback, by its modem, and answers to clients that came in by any device.
std::string kill_switch(const FirewallDongle& dongle) {
  std::string chain = fmt::format("  chain dongle_{} {{\n    oifname \"lo\" accept\n", dongle.id);
  if (!dongle.device.empty()) chain += fmt::format("    oifname \"{}\" accept\n", dongle.device);
  // A reset after the connection's end belongs to no connection any more: no leak, and nothing to send either.
  return chain +
         fmt::format("    ct direction reply accept\n    ct state invalid drop\n    counter name \"{}\" drop\n  }}\n",
                     leak_counter(dongle.id));
}

std::string client_set(std::string_view name, std::string_view type, const std::vector<std::string>& elements) {
  std::string set = fmt::format("  set {} {{\n    type {}; flags interval; auto-merge\n", name, type);
  if (!elements.empty()) set += fmt::format("    elements = {{ {} }}\n", fmt::join(elements, ", "));
  return set + "  }\n";
}

std::string client_filter(const FirewallPlan& plan) {
  std::vector<std::string> v4, v6;
  for (const Prefix& client : plan.clients) (client.address.is_v4() ? v4 : v6).push_back(client.network().to_string());
  return fmt::format("  counter {} {{}}\n", kRefusedClientsCounter) + client_set("clients4", "ipv4_addr", v4) +
         client_set("clients6", "ipv6_addr", v6) +
         fmt::format(
             "  chain strangers {{\n"
             "    ct state established,related accept\n"
             "    ip saddr @clients4 accept\n"
             "    ip6 saddr @clients6 accept\n"
             "    counter name \"{}\" drop\n"
             "  }}\n"
             "  chain input {{\n"
             "    type filter hook input priority filter - 10; policy accept;\n"
             "    iifname != \"lo\" tcp dport {{ {} }} goto strangers\n"
             "  }}\n",
             kRefusedClientsCounter, fmt::join(plan.proxy_ports, ", "));
}

}  // namespace

std::string leak_counter(DongleId id) {
  return fmt::format("leak_{}", id);
}

std::string firewall_removal_script() {
  return fmt::format("table inet {0} {{}}\ndelete table inet {0}\n", kFirewallTable);
}

Result<std::string> firewall_script(const FirewallPlan& plan) {
  if (auto r = check(plan); !r) return wrap(std::move(r).error(), "firewall");
  std::string script = firewall_removal_script() + fmt::format("table inet {} {{\n", kFirewallTable);
  if (!plan.dongles.empty()) {
    std::vector<std::string> jumps;
    for (const FirewallDongle& dongle : plan.dongles) {
      script += fmt::format("  counter {} {{}}\n", leak_counter(dongle.id));
      script += kill_switch(dongle);
      jumps.push_back(fmt::format("{} : goto dongle_{}", dongle.uid, dongle.id));
    }
    // One look-up for each packet, however many dongles there are.
    script += fmt::format(
        "  chain output {{\n"
        "    type filter hook output priority filter - 10; policy accept;\n"
        "    meta skuid vmap {{ {} }}\n"
        "  }}\n",
        fmt::join(jumps, ", "));
  }
  if (!plan.clients.empty() && !plan.proxy_ports.empty()) script += client_filter(plan);
  return script + "}\n";
}

Result<Counters> parse_counters(std::string_view nft_json) {
  auto document = parse_json(nft_json);
  if (!document) return wrap(std::move(document).error(), "nft's counters");
  auto list = document->find("nftables");
  if (list == document->end() || !list->is_array()) return fail(Errc::Protocol, "nft's counters: no \"nftables\" list");
  Counters counters;
  for (const auto& item : *list) {
    if (!item.is_object() || !item.contains("counter")) continue;
    const auto& counter = item["counter"];
    bool well_formed = counter.is_object() && counter.contains("name") && counter["name"].is_string() &&
                       counter.contains("packets") && counter["packets"].is_number_unsigned() &&
                       counter.contains("bytes") && counter["bytes"].is_number_unsigned();
    if (!well_formed) return fail(Errc::Protocol, "nft's counters: a counter without name, packets or bytes");
    counters[counter["name"].get<std::string>()] = {counter["packets"].get<std::uint64_t>(),
                                                    counter["bytes"].get<std::uint64_t>()};
  }
  return counters;
}

void CounterTotals::update(const Counters& read) {
  for (const auto& [name, value] : read) {
    auto last = last_.find(name);
    // Somebody else may have set it back.
    if (last != last_.end() && value.packets < last->second.packets) {
      base_[name].packets += last->second.packets;
      base_[name].bytes += last->second.bytes;
    }
    last_[name] = value;
  }
}

void CounterTotals::on_replaced() {
  base_ = totals();
  last_.clear();
}

Counters CounterTotals::totals() const {
  Counters sum = base_;
  for (const auto& [name, value] : last_) {
    sum[name].packets += value.packets;
    sum[name].bytes += value.bytes;
  }
  return sum;
}

}  // namespace dongle
