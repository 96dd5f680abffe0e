#include "supervisor/recovery_board.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace dongle {
namespace {

bool takes_the_hub(Action action) {
  return stage_of(action) >= Stage::Usb;
}

bool cuts_power(Action action) {
  return stage_of(action) >= Stage::PortPower;
}

/// It mends what the stick shows by itself, whatever else is wrong around it.
bool is_a_sticks_own(Action action) {
  return action == Action::RouteReset || action == Action::ModeSwitch || action == Action::UsbConfiguration;
}

Obstacle later(std::string text, TimePoint until) {
  return {Obstacle::Kind::Later, std::move(text), until};
}

Obstacle correlated(std::string text, TimePoint until) {
  return {Obstacle::Kind::Correlated, std::move(text), until};
}

std::string ago(TimePoint began, TimePoint now) {
  return format_duration(std::chrono::duration_cast<Millis>(now - began));
}

}  // namespace

// ---------------------------------------------------------------------------------------------------- what comes in

bool RecoveryBoard::note(DongleId id, const Condition& condition, TimePoint now) {
  bool news = correlation_.note(id, condition, now);
  if (condition.kind == Condition::Kind::Healthy)
    for (auto& [outage, trial] : trials_) {
      if (trial.id != id || trial.in_vain == 0) continue;
      trial.in_vain = 0;  // it helps: the next one may, at once
      trial.next_at = now;
      news = true;
    }
  return forget_trials(news);
}

bool RecoveryBoard::remove(DongleId id) {
  bool news = running_.erase(id) > 0;
  return forget_trials(correlation_.remove(id) || news);
}

bool RecoveryBoard::tick(TimePoint now) {
  budget_.prune(now);
  return forget_trials(correlation_.tick(now));
}

bool RecoveryBoard::forget_trials(bool news) {
  std::erase_if(trials_, [this](const auto& entry) { return !correlation_.has_outage(entry.first); });
  return news;
}

void RecoveryBoard::begin(DongleId id, Action action, TimePoint now) {
  std::string hub = hub_of(id);
  running_[id] = {action, hub, now};
  budget_.spend(id, action, hub, now);
  auto outage = correlation_.outage_of(id);
  if (!outage || is_a_sticks_own(action)) return;
  Trial& trial = trials_[*outage];
  Seconds pause = kTrialPause;
  for (int i = 0; i < trial.in_vain && pause < kMaxTrialPause; ++i) pause *= 2;
  trial = {id, now + std::min(pause, kMaxTrialPause), trial.in_vain + 1};
}

bool RecoveryBoard::end(DongleId id, TimePoint) {
  return running_.erase(id) > 0;
}

Json RecoveryBoard::to_json(TimePoint now, WallTime wall_now) const {
  return budget_.to_json(now, wall_now);
}

void RecoveryBoard::load(const Json& json, TimePoint now, WallTime wall_now) {
  budget_.load(json, now, wall_now);
}

std::string RecoveryBoard::hub_of(DongleId id) const {
  const Condition* condition = correlation_.find(id);
  return condition ? condition->hub : std::string();
}

// ------------------------------------------------------------------------------------------------------ the answers

void RecoveryBoard::add_obstacles(DongleId id, const std::vector<Stage>& stages, Obstacles& obstacles,
                                  TimePoint now) const {
  auto is_ruled_out = [&](Action action) {
    auto it = obstacles.find(action);
    return it != obstacles.end() &&
           (it->second.kind == Obstacle::Kind::NotApplicable || it->second.kind == Obstacle::Kind::Skip);
  };
  bool hub_power_is_possible = std::ranges::find(stages, Stage::HubPower) != stages.end() &&
                               !is_ruled_out(Action::HubPower) &&
                               !budget_.refuse(id, Action::HubPower, hub_of(id), now);
  // Who fails at the same moment isn't known to be down yet, and so seems to be hurt by a cut.
  if (is_ruled_out(Action::HubPower) && obstacles.at(Action::HubPower).kind == Obstacle::Kind::Skip)
    if (auto wait = before_a_cut(id, Action::PortPower, now)) obstacles[Action::HubPower] = *wait;
  for (Action action : kActions) {
    if (obstacles.contains(action)) continue;
    if (auto obstacle = refuse(id, action, hub_power_is_possible, now)) obstacles.emplace(action, *obstacle);
  }
}

/// Are others about to fail, too?
std::optional<Obstacle> RecoveryBoard::before_a_cut(DongleId id, Action action, TimePoint now) const {
  auto failed_at = correlation_.failed_at(id);
  if (!failed_at) return std::nullopt;
  if (correlation_.awaits_neighbours(id) && now < *failed_at + Correlation::kWindow)
    return later("others on its hub fail, too; what is wrong with them isn't known yet", now + kGather);
  if (now < *failed_at + kGather) return later("others on its hub may fail with it", *failed_at + kGather);
  bool is_seen_on_the_bus = correlation_.fails_on_the_bus(id) || correlation_.scope(id).kind != Scope::Kind::Stick;
  if (action == Action::HubPower && !is_seen_on_the_bus && now < *failed_at + Correlation::kWindow)
    return later("others may fail with it", *failed_at + Correlation::kWindow);
  return std::nullopt;
}

std::optional<Obstacle> RecoveryBoard::refuse(DongleId id, Action action, bool hub_power_is_possible,
                                              TimePoint now) const {
  if (action == Action::RouteReset) return by_company(id, action, now);
  if (auto scope = by_scope(id, action, hub_power_is_possible)) return scope;
  if (auto company = by_company(id, action, now)) return company;
  if (auto spent = budget_.refuse(id, action, hub_of(id), now)) return later(spent->text, spent->until);
  // Behind those, since an operator's run goes past it.
  if (auto outage = by_outage(id, action, now)) return outage;
  return cuts_power(action) ? before_a_cut(id, action, now) : std::nullopt;
}

std::optional<Obstacle> RecoveryBoard::by_outage(DongleId id, Action action, TimePoint now) const {
  if (is_a_sticks_own(action)) return std::nullopt;
  if (cuts_power(action)) {
    if (correlation_.is_everything_out())
      return correlated("most of the rack fails at once: no power is cut", now + kLookAtOutage);
    if (action == Action::HubPower && correlation_.hub_is_hit_by_outage(hub_of(id)))
      return correlated("sticks of the hub fail with their carrier: no power is cut under them", now + kLookAtOutage);
  }
  auto outage = correlation_.outage_of(id);
  if (!outage) return std::nullopt;
  std::string evidence = correlation_.scope(id).evidence;
  if (cuts_power(action)) return correlated(evidence, now + kLookAtOutage);
  // One at a time may show whether it helps.
  auto trial = trials_.find(*outage);
  if (trial == trials_.end() || trial->second.next_at <= now) return std::nullopt;
  return correlated(fmt::format("{}; tried on dongle {} in the name of all", evidence, trial->second.id),
                    std::min(trial->second.next_at, now + kLookAtOutage));
}

std::optional<Obstacle> RecoveryBoard::by_scope(DongleId id, Action action, bool hub_power_is_possible) const {
  if (!takes_the_hub(action) || is_a_sticks_own(action) || action == Action::HubPower) return std::nullopt;
  Scope scope = correlation_.scope(id);
  bool is_shared = scope.kind == Scope::Kind::Hub || scope.kind == Scope::Kind::Controller;
  if (!is_shared || !hub_power_is_possible) return std::nullopt;
  return Obstacle{Obstacle::Kind::Skip, scope.evidence + "; that is for hub_power to mend", {}};
}

std::optional<Obstacle> RecoveryBoard::by_company(DongleId id, Action action, TimePoint now) const {
  std::string hub = hub_of(id);
  int modems = 0;
  std::set<std::string> hubs;
  for (const auto& [other, r] : running_) {
    std::string what = fmt::format("{} of dongle {} for {}", to_string(r.action), other, ago(r.began, now));
    if (other == id) return later("its own action hasn't ended: " + what, now + kLookAgain);
    // A hub's power hits what its other sticks are doing, a modem's action included.
    bool shares_hub = r.hub == hub && !hub.empty();
    bool both_take_it = takes_the_hub(action) && takes_the_hub(r.action);
    bool one_cuts_all = action == Action::HubPower || r.action == Action::HubPower;
    if (shares_hub && r.action != Action::RouteReset && (both_take_it || one_cuts_all))
      return later(fmt::format("hub {} is busy: {}", hub, what), now + kLookAgain);
    if (now - r.began >= kStuck) continue;
    if (action == Action::HubPower && r.action == Action::HubPower)
      return later("one hub at a time: " + what, now + kLookAgain);
    if (stage_of(r.action) == Stage::Modem) ++modems;
    if (takes_the_hub(r.action)) hubs.insert(r.hub);
  }
  if (stage_of(action) == Stage::Modem && modems >= kMaxModemActions)
    return later(fmt::format("{} modems are being acted upon, as many as may", modems), now + kLookAgain);
  if (takes_the_hub(action) && hubs.size() >= kMaxBusyHubs)
    return later(fmt::format("{} hubs are being acted upon, as many as may", hubs.size()), now + kLookAgain);
  return std::nullopt;
}

}  // namespace dongle
