#pragma once
#include <map>
#include <vector>

#include "supervisor/netlink.h"
#include "supervisor/repair_policy.h"
#include "supervisor/route_plan.h"

namespace dongle {

/// Keeps the kernel's rules, routes and addresses as the plan wants them, against anybody who removes them.
/// Logs what it repairs, what fails and when it stops fighting. Both references outlive it.
class RouteApply {
 public:
  RouteApply(UvLoop& loop, Netlink& netlink);

  /// Makes it so at once, and from now on. Cheap when nothing differs.
  void set_wanted(RoutePlan wanted);
  /// Compares and mends. To be called whenever netlink's picture has changed (set_wanted includes it).
  void reconcile();
  /// Removes all that is ours from the kernel. For a stop: later plans are ignored. A restart for an
  /// upgrade doesn't call this and leaves everything in place.
  void withdraw();

  /// What could not be done at the last try, for this dongle: nothing, if all is as wanted.
  std::optional<Error> failure(DongleId id) const;
  /// Whether rules, routes and addresses are in the kernel as planned (an absent device needs none but the closing
  /// ones).
  bool is_settled(DongleId id) const;
  /// How often something of ours was put back after somebody else had removed it.
  std::uint64_t repairs(DongleId id) const { return policy_.repairs(id); }
  /// Set while another program keeps removing what we add, and we have stopped repairing until then.
  std::optional<TimePoint> contested_until(DongleId id) const { return policy_.contested_until(id, UvLoop::now()); }

 private:
  /// The plan and the link at the last look, and whether the kernel had all of it. If it had and no longer has, with
  /// the same plan and link, then somebody else has changed it.
  struct Look {
    DonglePlan plan;
    std::optional<Link> link;
    bool complete = false;
  };
  bool mend();
  bool may_mend(DongleId id);
  void take_look();
  std::optional<Link> link_of(const DonglePlan& plan) const;
  Result<void> carry_out(const RouteOp& op);

  Netlink& netlink_;
  Timer retry_timer_;
  RoutePlan wanted_;
  bool withdrawn_ = false;
  RepairPolicy policy_;
  std::map<DongleId, Look> looks_;
  std::map<DongleId, Error> failures_;
};

}  // namespace dongle
