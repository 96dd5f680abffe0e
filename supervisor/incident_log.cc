#include "supervisor/incident_log.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "common/log.h"

namespace dongle {
namespace {

// Times are kept in milliseconds beside their text, so that reading them back needs no date parser.
std::int64_t to_ms(WallTime t) {
  return std::chrono::floor<Millis>(t).time_since_epoch().count();
}
// Clamped to what WallTime holds (nanoseconds, until 2262), whatever the file says.
Millis duration_from(std::int64_t ms) {
  return Millis(std::clamp<std::int64_t>(ms, 0, 9'000'000'000'000));
}
WallTime from_ms(std::int64_t ms) {
  return WallTime(duration_from(ms));
}

}  // namespace

Json to_json(const Incident& incident) {
  Json steps = Json::array();
  for (const auto& s : incident.steps)
    steps.push_back({{"at", to_rfc3339(s.at)},
                     {"at_ms", to_ms(s.at)},
                     {"stage", s.stage},
                     {"action", s.action},
                     {"reason", s.reason},
                     {"outcome", s.outcome},
                     {"detail", s.detail},
                     {"took_ms", s.took.count()}});
  return {{"number", incident.number},
          {"id", incident.id.value},
          {"began", to_rfc3339(incident.began)},
          {"began_ms", to_ms(incident.began)},
          {"ended", incident.ended ? Json(to_rfc3339(*incident.ended)) : Json()},
          {"ended_ms", incident.ended ? Json(to_ms(*incident.ended)) : Json()},
          {"took_ms", incident.took.count()},
          {"fault", incident.fault},
          {"evidence", incident.evidence},
          {"seen", incident.seen},
          {"steps", steps},
          {"outcome", incident.outcome}};
}

std::optional<Incident> incident_from_json(const Json& j) {
  auto id = json_int(j, "id");
  if (id < kMinDongleId || id > kMaxDongleId || json_int(j, "number") <= 0) return std::nullopt;
  Incident incident;
  incident.number = static_cast<std::uint64_t>(json_int(j, "number"));
  incident.id = DongleId{static_cast<unsigned>(id)};
  incident.began = from_ms(json_int(j, "began_ms"));
  if (json_int(j, "ended_ms") > 0) incident.ended = from_ms(json_int(j, "ended_ms"));
  incident.took = duration_from(json_int(j, "took_ms"));
  incident.fault = json_string(j, "fault");
  incident.evidence = json_string(j, "evidence");
  incident.seen = json_string(j, "seen");
  incident.outcome = json_string(j, "outcome");
  if (auto steps = j.find("steps"); steps != j.end() && steps->is_array())
    for (const auto& s : *steps)
      incident.steps.push_back({from_ms(json_int(s, "at_ms")), json_string(s, "stage"), json_string(s, "action"),
                                json_string(s, "reason"), json_string(s, "outcome"), json_string(s, "detail"),
                                duration_from(json_int(s, "took_ms"))});
  return incident;
}

IncidentLog::IncidentLog(UvLoop& loop, std::string path) : writer_(loop, path) {
  auto file = read_state_file(path);
  if (!file) {
    if (file.error().code != Errc::NotFound)
      log_event(LogEvent::state_read_failed, {{"reason", file.error().message()}});
    return;
  }
  auto list = file->find("incidents");
  if (list == file->end() || !list->is_array()) return;
  for (const auto& entry : *list) {
    auto incident = incident_from_json(entry);
    if (!incident) continue;
    if (incident->outcome == "ongoing") incident->outcome = "interrupted";
    next_number_ = std::max(next_number_, incident->number + 1);
    incidents_.push_back(std::move(*incident));
    if (incidents_.size() > kMaxIncidents) incidents_.pop_front();
  }
}

Incident& IncidentLog::open(DongleId id, const std::string& seen) {
  if (incidents_.size() >= kMaxIncidents) incidents_.pop_front();
  Incident& incident = incidents_.emplace_back();
  incident.number = next_number_++;
  incident.id = id;
  incident.began = std::chrono::system_clock::now();
  incident.seen = seen;
  return incident;
}

Incident* IncidentLog::ongoing(DongleId id) {
  for (auto it = incidents_.rbegin(); it != incidents_.rend(); ++it)
    if (it->id == id) return it->outcome == "ongoing" ? &*it : nullptr;
  return nullptr;
}

void IncidentLog::save() {
  writer_.write(to_json(std::nullopt, kMaxIncidents));
}

Json IncidentLog::to_json(std::optional<DongleId> id, std::size_t limit) const {
  Json list = Json::array();
  for (auto it = incidents_.rbegin(); it != incidents_.rend() && list.size() < limit; ++it)
    if (!id || it->id == *id) list.push_back(dongle::to_json(*it));
  std::reverse(list.begin(), list.end());
  return {{"incidents", list}};
}

}  // namespace dongle
