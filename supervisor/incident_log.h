#pragma once
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/ids.h"
#include "common/json.h"
#include "supervisor/ladder.h"
#include "supervisor/state_file.h"

namespace dongle {

/// One step of an incident, as it is told afterwards.
struct IncidentStep {
  WallTime at{};
  std::string stage, action, reason, outcome, detail;
  Millis took{0};
};

/// What happened to one dongle from "it fails" to "it works again, or we gave up".
struct Incident {
  std::uint64_t number = 0;
  DongleId id;
  WallTime began{};
  std::optional<WallTime> ended;
  Millis took{0};  ///< by the monotonic clock
  std::string fault, evidence;
  std::string seen;  ///< what made us look: the failing probe or connect
  std::vector<IncidentStep> steps;
  std::string outcome = "ongoing";  ///< ongoing | recovered | failed | no_service | interrupted
};

/// The history of incidents, kept in a file. Bound: the newest 500.
class IncidentLog {
 public:
  static constexpr std::size_t kMaxIncidents = 500;

  /// Reads PATH if it is there. Incidents that were ongoing when we died come back as "interrupted".
  IncidentLog(UvLoop& loop, std::string path);

  /// Opens one; the reference is good until the next open().
  Incident& open(DongleId id, const std::string& seen);
  /// The ongoing incident of a dongle, null if there is none.
  Incident* ongoing(DongleId id);
  /// To be called after every change: brings it to disk.
  void save();

  /// Newest last; all dongles without id.
  Json to_json(std::optional<DongleId> id, std::size_t limit) const;

 private:
  std::deque<Incident> incidents_;
  std::uint64_t next_number_ = 1;
  StateFileWriter writer_;
};

Json to_json(const Incident& incident);
/// nullopt if it isn't one.
std::optional<Incident> incident_from_json(const Json& json);

}  // namespace dongle
