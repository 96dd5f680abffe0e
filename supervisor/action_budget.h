#pragma once
#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/ids.h"
#include "common/json.h"
#include "supervisor/ladder.h"

namespace dongle {

/// How often what may be done: per stick, per hub, on the whole host. Pure. Survives a restart of the daemon as JSON.
class ActionBudget {
 public:
  /// No limit looks back further.
  static constexpr std::chrono::hours kLongestWindow{1};
  /// With more accounts than this (252 dongles have nine each, beside their hubs') the stalest is forgotten.
  static constexpr std::size_t kMaxAccounts = 4096;

  struct Refusal {
    std::string text;   ///< "hub 1-4: 1 hub_power in 10m is the limit"
    TimePoint until{};  ///< when there is room again
  };
  /// Why the action would go over a limit now; nothing: it may be done.
  std::optional<Refusal> refuse(DongleId id, Action action, const std::string& hub, TimePoint now) const;
  /// It is being done.
  void spend(DongleId id, Action action, const std::string& hub, TimePoint now);
  /// Forgets what no limit counts any more.
  void prune(TimePoint now);

  /// Wall-clock stamps, since the monotonic clock of the next boot is another one.
  Json to_json(TimePoint now, WallTime wall_now) const;
  /// Takes over what an earlier daemon has spent; what can't be read is left out. A stamp of the future (the wall clock
  /// was set back) counts as spent just now.
  void load(const Json& json, TimePoint now, WallTime wall_now);

  std::size_t accounts() const { return spent_.size(); }

 private:
  std::map<std::string, std::deque<TimePoint>>::iterator stalest();

  // "stick 11 port_power", "hub 1-4 hub_power", "host port_power" → when, oldest first, at most as many as the limit.
  std::map<std::string, std::deque<TimePoint>> spent_;
};

}  // namespace dongle
