#include "supervisor/action_budget.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace dongle {
namespace {

enum class Payer { Stick, Hub, Host };

struct Limit {
  Payer payer;
  Action action;
  std::size_t most;
  Seconds window;
};

constexpr std::int64_t kLatestStamp = 9'000'000'000'000;  // the year 2255; beyond, the clock's type overflows
constexpr Seconds kTenMinutes{600};
constexpr Seconds kHour{3600};

// What a run of the ladder may try once may be tried again some runs later; what several tries within the hour have not
// mended won't be mended by one more, and costs the stick or the network something each time.
constexpr Limit kLimits[] = {
    // Each lets the SIM register anew; carriers take notice of SIMs that do so all the time.
    {Payer::Stick, Action::DataSwitch, 6, kHour},
    {Payer::Stick, Action::NetworkMode, 6, kHour},
    {Payer::Stick, Action::Reboot, 3, kHour},
    // A stick that falls back into its installation disk isn't switched for ever (F34: no loop).
    {Payer::Stick, Action::ModeSwitch, 6, kHour},
    {Payer::Stick, Action::UsbConfiguration, 6, kHour},
    {Payer::Stick, Action::UsbRebind, 6, kHour},
    {Payer::Stick, Action::UsbReauthorize, 6, kHour},
    {Payer::Stick, Action::PortPower, 3, kHour},
    {Payer::Stick, Action::HubPower, 2, kHour},
    // Every cut is an inrush on the hub's supply, and its other sticks feel it: at most one stick a minute.
    {Payer::Hub, Action::PortPower, 10, kTenMinutes},
    // F28.
    {Payer::Hub, Action::HubPower, 1, kTenMinutes},
    // A rack of forty that boots badly is through in twenty minutes; beyond that it isn't the sticks.
    {Payer::Host, Action::PortPower, 20, kTenMinutes},
    {Payer::Host, Action::HubPower, 3, kTenMinutes},
};

std::string payer_name(Payer payer, DongleId id, const std::string& hub) {
  switch (payer) {
    case Payer::Stick: return fmt::format("stick {}", id);
    case Payer::Hub: return "hub " + hub;
    case Payer::Host: return "host";
  }
  return {};
}

std::string account(const Limit& limit, DongleId id, const std::string& hub) {
  return payer_name(limit.payer, id, hub) + " " + to_string(limit.action);
}

bool applies(const Limit& limit, Action action, const std::string& hub) {
  return limit.action == action && (limit.payer != Payer::Hub || !hub.empty());
}

}  // namespace

std::optional<ActionBudget::Refusal> ActionBudget::refuse(DongleId id, Action action, const std::string& hub,
                                                          TimePoint now) const {
  std::optional<Refusal> refusal;
  for (const Limit& limit : kLimits) {
    if (!applies(limit, action, hub)) continue;
    auto it = spent_.find(account(limit, id, hub));
    if (it == spent_.end() || it->second.size() < limit.most) continue;
    TimePoint until = it->second[it->second.size() - limit.most] + limit.window;
    if (until <= now || (refusal && refusal->until >= until)) continue;
    refusal = {fmt::format("{}: {} times {} in {} is the limit", payer_name(limit.payer, id, hub), limit.most,
                           to_string(action), format_duration(limit.window)),
               until};
  }
  return refusal;
}

void ActionBudget::spend(DongleId id, Action action, const std::string& hub, TimePoint now) {
  for (const Limit& limit : kLimits) {
    if (!applies(limit, action, hub)) continue;
    if (spent_.size() >= kMaxAccounts) prune(now);
    if (spent_.size() >= kMaxAccounts) spent_.erase(stalest());
    auto& times = spent_[account(limit, id, hub)];
    times.push_back(now);
    while (times.size() > limit.most) times.pop_front();
  }
}

std::map<std::string, std::deque<TimePoint>>::iterator ActionBudget::stalest() {
  return std::ranges::min_element(spent_, {}, [](const auto& entry) { return entry.second.back(); });
}

void ActionBudget::prune(TimePoint now) {
  std::erase_if(spent_, [now](const auto& entry) { return now - entry.second.back() >= kLongestWindow; });
}

Json ActionBudget::to_json(TimePoint now, WallTime wall_now) const {
  Json spent = Json::object();
  for (const auto& [name, times] : spent_) {
    Json stamps = Json::array();
    for (TimePoint time : times) {
      auto at = wall_now - std::chrono::duration_cast<WallTime::duration>(now - time);
      stamps.push_back(std::chrono::duration_cast<Millis>(at.time_since_epoch()).count());
    }
    spent[name] = stamps;
  }
  return {{"schema", 1}, {"spent_unix_ms", spent}};
}

void ActionBudget::load(const Json& json, TimePoint now, WallTime wall_now) {
  auto spent = json.is_object() ? json.find("spent_unix_ms") : json.end();
  if (spent == json.end() || !spent->is_object()) return;
  std::size_t longest = std::ranges::max(kLimits, {}, &Limit::most).most;
  for (const auto& [name, stamps] : spent->items()) {
    if (!stamps.is_array() || spent_.size() >= kMaxAccounts) continue;
    std::deque<TimePoint> times;
    for (const auto& stamp : stamps) {
      if (!stamp.is_number_integer() || stamp.get<std::int64_t>() < 0 || stamp.get<std::int64_t>() > kLatestStamp)
        continue;
      auto at = WallTime(std::chrono::duration_cast<WallTime::duration>(Millis(stamp.get<std::int64_t>())));
      auto age = std::max(wall_now - at, WallTime::duration{0});
      if (age < kLongestWindow) times.push_back(now - std::chrono::duration_cast<TimePoint::duration>(age));
    }
    std::ranges::sort(times);
    while (times.size() > longest) times.pop_front();
    if (!times.empty()) spent_[name] = std::move(times);
  }
}

}  // namespace dongle
