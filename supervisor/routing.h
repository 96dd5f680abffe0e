#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/usb_tree.h"
#include "supervisor/dhcp_client.h"
#include "supervisor/dongle_network.h"
#include "supervisor/firewall_apply.h"
#include "supervisor/host_sysctl.h"
#include "supervisor/inventory.h"
#include "supervisor/netlink.h"
#include "supervisor/route_apply.h"

namespace dongle {

/// Everything of the host's network that is ours: finds the dongles' devices, gives them addresses, keeps their routes,
/// rules, kernel settings and the firewall as they have to be, and puts back what others remove.
class Routing {
 public:
  /// Something about a dongle's device changed.
  using OnNetwork = std::function<void(DongleId, const DongleNetwork&)>;
  /// Opens netlink and nftables; an error says what the host lacks. dhcp_report: the path of our udhcpc script.
  static Result<std::unique_ptr<Routing>> open(UvLoop& loop, std::string dhcp_report, OnNetwork on_network);

  /// Takes over which dongles there are and makes it so.
  Result<void> configure(const Config& config);
  const DongleNetwork& network(DongleId id) const;
  /// What is plugged in has changed; of use for dongles that are known by their controller's port.
  void set_usb(const UsbTree& tree);
  /// The route stage: reads the kernel anew and puts everything of this dongle in place; asks for a new lease.
  Result<void> reset(DongleId id);
  /// Removes all that is ours from the host; done when the firewall is gone as well.
  void withdraw(std::function<void()> done);

  bool firewall_applied() const { return firewall_->is_applied(); }
  std::optional<Error> firewall_failure() const { return firewall_->failure(); }
  std::uint64_t firewall_repairs() const { return firewall_->repairs(); }
  void read_counters(FirewallApply::CountersDone done) { firewall_->read_counters(std::move(done)); }
  std::uint64_t route_repairs(DongleId id) const { return routes_->repairs(id); }

 private:
  Routing(UvLoop& loop, std::string dhcp_report, OnNetwork on_network);
  void evaluate();
  void ask_dhcp(const DongleConfig& config, const Link* link);
  DongleRoute wanted_route(const DongleConfig& config, const Link* link) const;
  DongleNetwork describe(const DongleConfig& config, const Link* link, const DongleRoute& route) const;
  void plan_firewall();
  void check_host();

  UvLoop& loop_;
  std::string dhcp_report_;
  OnNetwork on_network_;
  std::unique_ptr<Netlink> netlink_;
  std::unique_ptr<RouteApply> routes_;
  std::unique_ptr<FirewallApply> firewall_;
  HostSysctl sysctl_;
  Config config_;
  UsbTree usb_;
  std::map<DongleId, DongleNetwork> networks_;
  std::map<DongleId, std::string> last_device_;  // by its name the closing rules hold while a device is away
  std::map<DongleId, std::unique_ptr<DhcpClient>> dhcp_;
  std::map<DongleId, IfIndex> dhcp_device_;
  std::vector<Route> reported_defaults_;
  bool withdrawn_ = false;
  Timer check_timer_;
  Timer evaluate_timer_;
};

}  // namespace dongle
