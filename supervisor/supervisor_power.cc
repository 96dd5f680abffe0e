// The verbs power and hotplug: what an operator, and udev, want of the rack.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "common/log.h"
#include "supervisor/supervisor.h"

namespace dongle {
namespace {

const std::map<std::string, Rack::Power> kPowers{
    {"off", Rack::Power::Off}, {"on", Rack::Power::On}, {"cycle", Rack::Power::Cycle}};

/// Who of the bystanders would lose something and wasn't named by the operator himself.
std::vector<Bystander> victims(const PowerPlan& plan, const std::vector<DongleId>& named) {
  std::vector<Bystander> hurt;
  for (const Bystander& other : plan.bystanders)
    if (other.is_hurt && !(other.id && std::ranges::find(named, *other.id) != named.end())) hurt.push_back(other);
  return hurt;
}

}  // namespace

/// One `donglectl power on|off|cycle` under way.
struct Supervisor::PowerRequest {
  ControlServer::CallPtr call;
  std::string action;
  Rack::Power power = Rack::Power::Cycle;
  std::map<std::string, std::vector<DongleId>> waiting;  ///< by hub: one at a time on each, the hubs side by side
  std::map<DongleId, PowerPlan> plans;
  std::map<DongleId, Json> results;
  std::map<std::string, std::vector<DongleId>> stopped;   ///< by hub: for the switching off that is under way
  std::map<std::string, Result<std::string>> whole_hubs;  ///< done already for another dongle of the hub
};

void Supervisor::verb_hotplug(const Json&, ControlServer::CallPtr call) {
  rack_->rescan();
  call->reply(Json::object());
}

void Supervisor::verb_power(const Json& request, ControlServer::CallPtr call) {
  std::string action = json_string(request, "action");
  auto power = kPowers.find(action);
  if (action != "status" && power == kPowers.end())
    return call->reply_error("invalid_request", "power: on, off, cycle or status");
  auto ids = select(request, call, action == "status");
  if (!ids) return;
  // The hubs are asked first: what they can do decides whom it hurts.
  rack_->refresh_hub_facts([this, call, action, power, ids = *ids, dry_run = json_bool(request, "dry_run"),
                            yes = json_bool(request, "yes")] {
    Json list = Json::array(), hurt = Json::array();
    std::string names;
    auto work = std::make_shared<PowerRequest>();
    for (DongleId id : ids) {
      if (!dongles_.contains(id)) continue;  // a reload was faster
      list.push_back(rack_->power_status(id));
      PowerPlan plan = rack_->operator_plan(id);
      if (action != "status" && power->second != Rack::Power::On)
        for (const Bystander& other : victims(plan, ids)) {
          if (std::ranges::find(hurt, Json(other.text)) != hurt.end()) continue;
          hurt.push_back(other.text);
          names += (names.empty() ? "" : ", ") + other.text;
        }
      work->waiting[plan.hub].push_back(id);
      work->plans[id] = std::move(plan);
    }
    if (action == "status" || dry_run) return call->reply({{"dongles", list}, {"hurt", hurt}});
    if (!hurt.empty() && !yes)
      return call->reply_error(
          "would_hurt", fmt::format("power {}: would cut off {} as well; --yes does it all the same", action, names),
          {{"hurt", hurt}, {"dongles", list}});
    if (work->waiting.empty()) return call->reply({{"dongles", list}, {"hurt", hurt}});
    work->call = call;
    work->action = action;
    work->power = power->second;
    auto hubs = work->waiting;
    for (const auto& [hub, queue] : hubs) switch_power(work, hub);
  });
}

/// The next dongle that waits for this hub; answers when none waits for any.
void Supervisor::switch_power(const std::shared_ptr<PowerRequest>& work, const std::string& hub) {
  auto& queue = work->waiting[hub];
  if (queue.empty()) {
    work->waiting.erase(hub);
    if (!work->waiting.empty()) return;
    save_stopped();
    Json list = Json::array();
    for (auto& [id, result] : work->results) list.push_back(result);
    return work->call->reply({{"dongles", list}});
  }
  DongleId id = queue.front();
  queue.erase(queue.begin());
  const PowerPlan& plan = work->plans.at(id);
  auto done = [this, work, hub, id](const Result<std::string>& outcome) {
    log_event(LogEvent::power_switched, {{"dongle", id},
                                         {"action", work->action},
                                         {"hub", hub},
                                         {"outcome", outcome ? *outcome : "failed: " + outcome.error().message()}});
    if (work->plans.at(id).kind == PowerPlan::Kind::Hub) work->whole_hubs.insert_or_assign(hub, outcome);
    // What could not be switched off has its power again; what was switched on, all of the plan have.
    auto stopped = std::exchange(work->stopped[hub], {});
    if (!outcome)
      for (DongleId one : stopped) serve_again(one);
    if (outcome && work->power != Rack::Power::Off) {
      serve_again(id);
      for (const Bystander& other : work->plans.at(id).bystanders)
        if (other.id) serve_again(*other.id);
    }
    Json result = rack_->power_status(id);
    result["ok"] = outcome.has_value();
    result["detail"] = outcome ? *outcome : "";
    if (!outcome) result["error"] = {{"code", to_string(outcome.error().code)}, {"message", outcome.error().message()}};
    work->results[id] = std::move(result);
    if (outcome) work->call->progress(fmt::format("dongle {}: {}", id, *outcome));
    switch_power(work, hub);
  };
  if (!dongles_.contains(id)) return done(fail(Errc::NotFound, "dongle {} was removed meanwhile", id));
  if (auto already = work->whole_hubs.find(hub); already != work->whole_hubs.end()) return done(already->second);
  if (!plan.allowed()) return done(fail(Errc::Unsupported, "{}", plan.obstacle));
  if (work->power == Rack::Power::Off) {
    // Whoever is without power is out of service until `power on`; no ladder is to work on him.
    std::vector<DongleId> out{id};
    for (const Bystander& other : plan.bystanders)
      if (other.id) out.push_back(*other.id);
    for (DongleId one : out)
      if (auto it = dongles_.find(one); it != dongles_.end() && it->second->state() != DongleState::Stopped) {
        powered_off_.insert(one);
        work->stopped[hub].push_back(one);
        it->second->stop({});
      }
    save_stopped();  // a crash from here on finds them without power
  }
  rack_->power(id, work->power, done);
}

/// Starts a dongle that is stopped because an operator took its power.
void Supervisor::serve_again(DongleId id) {
  if (powered_off_.erase(id) == 0) return;
  if (auto it = dongles_.find(id); it != dongles_.end()) it->second->start();
}

}  // namespace dongle
