#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/ids.h"
#include "supervisor/diagnosis.h"

namespace dongle {

/// What is known of one dongle, as the rest of the rack needs it.
struct Condition {
  enum class Kind {
    Unknown,    ///< starting, or disturbed on purpose (rotating, its hub's power is being cycled): says nothing
    Absent,     ///< nobody has plugged it in, or its own absence is no failure
    Stopped,    ///< by the operator
    Healthy,    ///< traffic flows
    Suspect,    ///< failing, not yet judged down
    Down,       ///< judged down, whatever the ladder does about it
    NoService,  ///< a person's work; `fault` says which
  };
  Kind kind = Kind::Unknown;
  Fault fault = Fault::None;  ///< of the last diagnosis since it failed; None: not diagnosed yet
  std::string hub;            ///< port path of its hub; empty: not known
  std::string controller;     ///< empty: not known
  std::string carrier;        ///< operator's name or PLMN as last known; empty: not known
  bool operator==(const Condition&) const = default;
};

/// Whose failure it is.
struct Scope {
  enum class Kind {
    Stick,       ///< its own
    Hub,         ///< all sticks of its hub, others are well
    Controller,  ///< all sticks of its controller, on several hubs, others are well
    Carrier,     ///< the sticks of its carrier, those of others are well
    Upstream,    ///< most of the rack though the hubs are well: the probe targets, the host, the way there
  };
  Kind kind = Kind::Stick;
  std::string evidence;  ///< "5 of 5 sticks of carrier \"blau\" failed within 12s; 20 of others are well"
};
const char* to_string(Scope::Kind kind);

/// Tells one stick's failure from one that it shares. Pure. Failures within kWindow of each other belong together.
///
/// What can be seen on the bus (stick missing, no interface, dead API) speaks of hubs and controllers: all sticks of a
/// hub, two at least. What can't (not connected, nothing passes) speaks of carriers and of what all share: more than
/// half of those that were well. A fault that names its own cure (installation disk, wrong configuration, no SIM, our
/// own routes) is always the stick's own. One stick alone can't be correlated; two that fail together are believed for
/// kWeakOutage only.
///
/// An outage of a carrier or of everything, once recognised, lasts until all of its sticks are well, or until a
/// quarter is and kAftermath has passed since the last came back: what is still failing then has a fault of its own.
class Correlation {
 public:
  static constexpr Seconds kWindow{60};
  static constexpr Seconds kWeakOutage{600};
  static constexpr Seconds kAftermath{300};
  static constexpr std::size_t kStrong = 3;  ///< from so many sticks on it isn't weak

  /// What became of a dongle; from being well (or unknown) to failing is when it failed.
  void note(DongleId id, const Condition& condition, TimePoint now);
  void remove(DongleId id, TimePoint now);
  /// Outages may end by time alone.
  void tick(TimePoint now);

  Scope scope(DongleId id, TimePoint now) const;
  /// Everything fails: no power is to be cut anywhere.
  bool is_everything_out() const { return outages_.contains(std::string()); }
  /// One of the hub's sticks fails with its carrier's or with everything, and not by itself.
  bool hub_is_hit_by_outage(const std::string& hub) const;
  /// The outage that a dongle is in: "" for all that fail, else its carrier; nothing: in none.
  std::optional<std::string> outage_of(DongleId id) const;
  const Condition* find(DongleId id) const;

 private:
  struct Entry {
    Condition condition;
    TimePoint failed_at{};  ///< while it fails
  };
  struct Outage {
    std::set<DongleId> members;  ///< that still fail
    std::size_t total = 0;       ///< that were ever in it
    TimePoint began{};
    TimePoint last_recovery{};
    std::string evidence;
  };
  void look_for_outage(const std::string& carrier, TimePoint now);
  void leave_outages(DongleId id, bool recovered, TimePoint now);

  std::map<DongleId, Entry> entries_;      // at most one for each DongleId
  std::map<std::string, Outage> outages_;  // by carrier; "": of everything
};

}  // namespace dongle
