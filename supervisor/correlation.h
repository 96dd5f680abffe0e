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
  std::string hub;            ///< port path of its hub (of the USB 2 half, if it has two); empty: not known
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
/// An outage of a carrier or of everything, once recognised, lasts until all of its sticks are well; or until what they
/// share is seen to work: one that is back has stayed so for kAftermath and no other has come back since, or one has
/// been well for kDisproof all along. What is still failing then has a fault of its own, or its carrier has: that is
/// kept as an outage of its own. A carrier's is believed for kLongestOutage at most; with nobody well at all there is
/// no end.
class Correlation {
 public:
  static constexpr Seconds kWindow{60};
  static constexpr Seconds kWeakOutage{600};
  static constexpr Seconds kAftermath{300};
  static constexpr Seconds kDisproof{1800};
  static constexpr std::chrono::hours kLongestOutage{6};
  static constexpr std::size_t kStrong = 3;  ///< from so many sticks on it isn't weak

  /// What became of a dongle. True: an outage has ended, or one of its sticks is well again.
  bool note(DongleId id, const Condition& condition, TimePoint now);
  bool remove(DongleId id);
  /// Outages may end by time alone; true: one did.
  bool tick(TimePoint now);

  Scope scope(DongleId id) const;
  /// Everything fails: no power is to be cut anywhere.
  bool is_everything_out() const { return outages_.contains(std::string()); }
  /// One of the hub's sticks fails with its carrier's or with everything, and not by itself.
  bool hub_is_hit_by_outage(const std::string& hub) const;
  /// The outage that a dongle is in: "" for all that fail, else its carrier; nothing: in none.
  std::optional<std::string> outage_of(DongleId id) const;
  bool has_outage(const std::string& key) const { return outages_.contains(key); }
  /// Other sticks of its hub have failed with it, but nobody has looked yet at what is wrong with them.
  bool awaits_neighbours(DongleId id) const;
  const Condition* find(DongleId id) const;
  /// When it failed; nothing while it doesn't.
  std::optional<TimePoint> failed_at(DongleId id) const;
  /// What is wrong with it can be seen on the bus.
  bool fails_on_the_bus(DongleId id) const;

 private:
  struct Entry {
    Condition condition;
    std::optional<TimePoint> failed_at;  ///< since it was well; kept while nothing can be said of it
    TimePoint well_since{};              ///< while it is well
  };
  struct Outage {
    std::set<DongleId> members;    ///< that still fail
    std::set<DongleId> recovered;  ///< that are well again; who fails once more is a member once more
    bool is_strong = false;
    TimePoint began{};
    TimePoint last_recovery{};
    std::string evidence;
  };
  struct Count {
    std::set<DongleId> failed;  ///< within the window
    std::size_t well = 0;
    TimePoint first{};
  };
  template <class Filter>
  Count count(TimePoint now, Filter belongs) const;
  void look_for_outage(DongleId id, TimePoint now);
  void join_outages(DongleId id);
  void open(const std::string& key, const Count& seen, const std::string& evidence);
  bool is_over(const std::string& carrier, const Outage& outage, TimePoint now) const;
  void keep_by_carrier(const Outage& outage);
  bool leave_outages(DongleId id, bool recovered, TimePoint now);
  template <class Same>
  std::string failed_together(DongleId id, Same same) const;

  std::map<DongleId, Entry> entries_;      // at most one for each DongleId
  std::map<std::string, Outage> outages_;  // by carrier; "": of everything
};

}  // namespace dongle
