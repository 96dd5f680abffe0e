#pragma once
// Which ports to switch to take the power from a dongle, who else would lose it, and whether that may be done. Pure.
//
// Rules that hold for every plan, an operator's included: a port with a hub behind it is never switched; a port and its
// USB 2 / USB 3 twin are switched together; a hub that switches all its ports together is never asked for one of them;
// a root hub is never switched as a whole, it feeds what the computer itself needs.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/config.h"
#include "common/hub_facts.h"
#include "common/usb_tree.h"
#include "supervisor/hub_memory.h"

namespace dongle {

/// A configured dongle, as a plan must know it.
struct DongleStanding {
  DongleId id;
  std::string usb_path;  ///< where it is, or was last; empty: not known
  /// Whether a cut would take something from somebody. True for online, degraded (it may only be slow), rotating and
  /// starting (both end well by themselves). False for absent, recovering and failed (nothing passes), for stopped (an
  /// operator has taken it out of service: nothing passes, and it boots as it was) and for no_service (SIM, PIN, data
  /// cap: nothing passes, and nothing that a person has to do is lost by a boot).
  bool serves = false;
  std::string state;  ///< the state's name, for the texts
  /// An operator has switched its power off: a ladder's plan leaves its port off.
  bool is_powered_off = false;
};

/// What a plan is made from. References are used during the call only.
struct PowerView {
  const UsbTree& tree;
  const HubFactsMap& facts;
  const std::vector<HubConfig>& hubs;  ///< names hubs and overrides what they say of themselves; may be empty
  const HubMemory& memory;
  const std::vector<DongleStanding>& dongles;      ///< all of them, the one in question included
  const std::map<std::string, std::string>& held;  ///< hubs that the kernel holds: location → what happened
  WallTime now{};
};

/// A port to switch, and its twin on the other bus (port 0: it has none).
struct PortCut {
  PortRef port;
  PortRef peer;
  bool operator==(const PortCut&) const = default;
};

/// Somebody else who would lose power.
struct Bystander {
  std::optional<DongleId> id;  ///< absent: not a dongle of ours
  std::string usb_path;
  std::string text;     ///< "dongle 12 (online)", "Logitech USB Keyboard (046d:c31c)"
  bool is_hurt = true;  ///< a dongle that doesn't serve isn't
  bool operator==(const Bystander&) const = default;
};

struct PowerPlan {
  enum class Kind { Port, Hub };
  Kind kind = Kind::Port;
  std::string hub;          ///< whose ports these are, "2-1": what the recovery board locks
  std::string hub_name;     ///< for people: "rack-a (2-1)"
  std::string device_path;  ///< the dongle's own
  std::vector<PortCut> cuts;
  std::vector<Bystander> bystanders;
  /// Why it can't or mustn't be done, for a person; empty: it may. cuts is empty if it can't be done at all.
  std::string obstacle;
  /// With an obstacle: the kernel holds the hub, so this ends by itself; try later.
  bool is_held = false;
  bool allowed() const { return obstacle.empty(); }
  bool hurts_others() const;  ///< an operator is asked first
};

/// Cutting the dongle's own port.
PowerPlan plan_port_power(const PowerView& view, DongleId id);
/// Cutting every port of its hub, save those with a hub behind them. WhenAllDown: allowed when no bystander is hurt.
/// Always: allowed, unless a bystander is a disk, which would lose data.
PowerPlan plan_hub_power(const PowerView& view, DongleId id, HubPowerPolicy policy);
/// For `donglectl power`: its own port if the hub can do that, else the whole hub. What was remembered of the hub and
/// the policy forbid nothing here, a person does (hurts_others()); only what can't be done is an obstacle.
PowerPlan plan_operator_power(const PowerView& view, DongleId id);

}  // namespace dongle
