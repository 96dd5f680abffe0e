#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"
#include "common/ids.h"
#include "common/net_address.h"

namespace dongle {

/// Our nftables table, in the family inet. Nothing outside it is ever touched.
inline constexpr std::string_view kFirewallTable = "dongle_supervisor";
/// Counts connections to a proxy port that came from outside `clients`.
inline constexpr std::string_view kRefusedClientsCounter = "refused_clients";
/// Counts packets of a dongle's worker that tried to leave by another device.
std::string leak_counter(DongleId id);  // "leak_11"

struct FirewallDongle {
  DongleId id;
  std::uint32_t uid = 0;  ///< its worker's; 0 is refused, root must never be cut off
  std::string device;     ///< empty: it has never been seen, so its worker may use loopback alone
  bool operator==(const FirewallDongle&) const = default;
};

struct FirewallPlan {
  std::vector<FirewallDongle> dongles;
  std::vector<Prefix> clients;  ///< who may connect to the ports; empty: everybody
  std::vector<std::uint16_t> proxy_ports;
  bool operator==(const FirewallPlan&) const = default;
};

/// An nft script that puts our table there, or replaces it, in one transaction. Fails if a device's name could mean
/// more than a name to nft, if two dongles share a uid, or if a uid is root's.
Result<std::string> firewall_script(const FirewallPlan& plan);
/// Removes our table; does nothing if there is none.
std::string firewall_removal_script();

struct CounterValue {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  bool operator==(const CounterValue&) const = default;
};
using Counters = std::map<std::string, CounterValue>;

/// The counters in what `nft -j list counters table inet dongle_supervisor` prints.
Result<Counters> parse_counters(std::string_view nft_json);

/// Totals that go on where the kernel's counters begin anew, because the table was replaced.
class CounterTotals {
 public:
  void update(const Counters& read);
  /// The table is about to be replaced, or was: its counters begin at 0.
  void on_replaced();
  Counters totals() const;

 private:
  Counters base_;
  Counters last_;
};

}  // namespace dongle
