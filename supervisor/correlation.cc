#include "supervisor/correlation.h"

#include <algorithm>

#include <fmt/format.h>

namespace dongle {
namespace {

/// What a fault speaks of.
enum class Sort {
  Unknown,  ///< not diagnosed yet
  Own,      ///< the stick itself or its SIM: it names its own cure
  Bus,      ///< seen on the bus
  Api,      ///< seen on the bus, too, but if it is so everywhere it may be us
  Air,      ///< beyond the stick
};

Sort sort_of(Fault fault) {
  switch (fault) {
    case Fault::None: return Sort::Unknown;
    case Fault::StickMissing:
    case Fault::InterfaceGone:
    case Fault::LinkDown: return Sort::Bus;
    case Fault::ApiDead: return Sort::Api;
    case Fault::NotConnected:
    case Fault::NoEgress:
    case Fault::NotRegistered: return Sort::Air;
    case Fault::NotAuthorized:
    case Fault::MassStorage:
    case Fault::WrongConfiguration:
    case Fault::NoAddress:
    case Fault::NoRoute:
    case Fault::DataSwitchedOff:
    case Fault::SimMissing:
    case Fault::PinRequired:
    case Fault::DataLimit:
    case Fault::ProfileInvalid: return Sort::Own;
  }
  return Sort::Own;
}

bool is_failing(const Condition& c) {
  switch (c.kind) {
    case Condition::Kind::Suspect:
    case Condition::Kind::Down:
    case Condition::Kind::NoService: return true;
    case Condition::Kind::Unknown:
    case Condition::Kind::Absent:
    case Condition::Kind::Stopped:
    case Condition::Kind::Healthy: return false;
  }
  return false;
}

bool is_well(const Condition& c) {
  return c.kind == Condition::Kind::Healthy;
}

bool on_the_bus(const Condition& c) {
  return sort_of(c.fault) == Sort::Bus || sort_of(c.fault) == Sort::Api;
}

/// It may be in an outage of its carrier or of everything.
bool may_share(const Condition& c) {
  return is_failing(c) && sort_of(c.fault) != Sort::Own && sort_of(c.fault) != Sort::Bus;
}

std::string span(TimePoint from, TimePoint to) {
  return format_duration(std::chrono::duration_cast<Millis>(to - from));
}

}  // namespace

const char* to_string(Scope::Kind kind) {
  switch (kind) {
    case Scope::Kind::Stick: return "stick";
    case Scope::Kind::Hub: return "hub";
    case Scope::Kind::Controller: return "controller";
    case Scope::Kind::Carrier: return "carrier";
    case Scope::Kind::Upstream: return "upstream";
  }
  return "unknown";
}

// ---------------------------------------------------------------------------------------------------- what comes in

bool Correlation::note(DongleId id, const Condition& condition, TimePoint now) {
  Entry& entry = entries_[id];
  if (is_well(condition) && !is_well(entry.condition)) entry.well_since = now;
  entry.condition = condition;
  switch (condition.kind) {
    case Condition::Kind::Unknown: break;
    case Condition::Kind::Absent:
    case Condition::Kind::Stopped:
    case Condition::Kind::Healthy: entry.failed_at.reset(); break;
    case Condition::Kind::Suspect:
    case Condition::Kind::Down:
    case Condition::Kind::NoService:
      if (!entry.failed_at) entry.failed_at = now;
      break;
  }
  bool news = tick(now);
  if (may_share(condition)) {
    join_outages(id);
    look_for_outage(id, now);
    return news;
  }
  // Disturbed on purpose, it keeps its place.
  if (condition.kind == Condition::Kind::Unknown) return news;
  return leave_outages(id, is_well(condition), now) || news;
}

bool Correlation::remove(DongleId id) {
  bool news = leave_outages(id, false, {});
  entries_.erase(id);
  return news;
}

bool Correlation::tick(TimePoint now) {
  std::vector<Outage> over;
  bool some = std::erase_if(outages_, [&](const auto& entry) {
                if (!is_over(entry.first, entry.second, now)) return false;
                if (entry.first.empty()) over.push_back(entry.second);
                return true;
              }) > 0;
  for (const Outage& outage : over) keep_by_carrier(outage);
  return some;
}

bool Correlation::is_over(const std::string& carrier, const Outage& outage, TimePoint now) const {
  if (outage.members.empty()) return true;
  if (!outage.is_strong && now >= outage.began + kWeakOutage) return true;
  if (!carrier.empty() && now >= outage.began + kLongestOutage) return true;
  if (!outage.recovered.empty() && now >= outage.last_recovery + kAftermath) return true;
  return std::ranges::any_of(entries_, [&](const auto& other) {
    const Entry& entry = other.second;
    bool shares = carrier.empty() || entry.condition.carrier == carrier;
    return shares && is_well(entry.condition) && now >= std::max(entry.well_since, outage.began) + kDisproof;
  });
}

/// Everything was out and isn't any more; but a carrier of which nobody is well still is.
void Correlation::keep_by_carrier(const Outage& outage) {
  std::map<std::string, Outage> kept;
  for (DongleId id : outage.members)
    if (const std::string& carrier = entries_.at(id).condition.carrier; !carrier.empty())
      kept[carrier].members.insert(id);
  for (auto& [carrier, rest] : kept) {
    bool nobody_is_well = std::ranges::none_of(entries_, [&](const auto& other) {
      return other.second.condition.carrier == carrier && is_well(other.second.condition);
    });
    if (!nobody_is_well || rest.members.size() < kStrong) continue;
    rest.is_strong = true;
    rest.began = outage.began;
    rest.evidence =
        fmt::format("all {} sticks of carrier \"{}\" still fail; others are well again", rest.members.size(), carrier);
    outages_[carrier] = std::move(rest);
  }
}

// ----------------------------------------------------------------------------------- outages: carriers, and everything

template <class Filter>
Correlation::Count Correlation::count(TimePoint now, Filter belongs) const {
  Count found;
  found.first = now;
  for (const auto& [id, entry] : entries_) {
    if (!belongs(entry.condition)) continue;
    if (is_well(entry.condition)) ++found.well;
    if (!may_share(entry.condition) || *entry.failed_at + kWindow < now) continue;
    found.failed.insert(id);
    found.first = std::min(found.first, *entry.failed_at);
  }
  return found;
}

void Correlation::look_for_outage(DongleId id, TimePoint now) {
  if (is_everything_out() || *entries_.at(id).failed_at + kWindow < now) return;
  const std::string& carrier = entries_.at(id).condition.carrier;
  auto here = [&](const Condition& c) { return !carrier.empty() && c.carrier == carrier; };
  Count own = count(now, here);
  Count others = count(now, [&](const Condition& c) { return !here(c); });
  std::size_t failed = own.failed.size() + others.failed.size();
  TimePoint first = std::min(own.first, others.first);

  // One in five of the others may fail by chance.
  bool others_are_well = others.well > 0 && others.failed.size() * 5 <= others.well;
  if (!carrier.empty() && others_are_well) {
    if (own.failed.size() < 2 || own.failed.size() <= own.well || outages_.contains(carrier)) return;
    return open(carrier, own,
                fmt::format("{} of {} sticks of carrier \"{}\" failed within {}; {} of others are well",
                            own.failed.size(), own.failed.size() + own.well, carrier, span(first, now), others.well));
  }
  std::size_t well = own.well + others.well;
  if (failed < 2 || failed <= well) return;
  Count all = count(now, [](const Condition&) { return true; });
  outages_.clear();  // what looked like one carrier's
  open(std::string(), all,
       fmt::format("{} of {} sticks that worked failed within {}: it isn't the sticks", failed, failed + well,
                   span(first, now)));
}

void Correlation::open(const std::string& key, const Count& seen, const std::string& evidence) {
  Outage outage;
  outage.members = seen.failed;
  outage.is_strong = seen.failed.size() >= kStrong;
  outage.began = seen.first;
  outage.evidence = evidence;
  outages_[key] = std::move(outage);
}

/// One more that fails while its carrier or everything is out.
void Correlation::join_outages(DongleId id) {
  const Entry& entry = entries_.at(id);
  for (auto& [carrier, outage] : outages_) {
    if (!carrier.empty() && carrier != entry.condition.carrier) continue;
    // It failed long before: by itself.
    if (*entry.failed_at + kWindow < outage.began) continue;
    outage.members.insert(id);
    outage.recovered.erase(id);
    outage.is_strong = outage.is_strong || outage.members.size() >= kStrong;
  }
}

bool Correlation::leave_outages(DongleId id, bool recovered, TimePoint now) {
  bool news = false;
  for (auto& [carrier, outage] : outages_) {
    bool was_member = outage.members.erase(id) > 0;
    if (!recovered) outage.recovered.erase(id);
    if (!was_member || !recovered) continue;
    outage.recovered.insert(id);
    outage.last_recovery = now;
    news = true;
  }
  return std::erase_if(outages_, [](const auto& entry) { return entry.second.members.empty(); }) > 0 || news;
}

std::optional<std::string> Correlation::outage_of(DongleId id) const {
  for (const auto& [carrier, outage] : outages_)
    if (outage.members.contains(id)) return carrier;
  return std::nullopt;
}

bool Correlation::hub_is_hit_by_outage(const std::string& hub) const {
  for (const auto& [carrier, outage] : outages_)
    for (DongleId id : outage.members)
      if (const Condition* c = find(id); c && c->hub == hub) return true;
  return false;
}

// ------------------------------------------------------------------------------------------------- hubs, controllers

/// "" unless all sticks for which same() holds failed with this one and can be seen to on the bus, two at least.
template <class Same>
std::string Correlation::failed_together(DongleId id, Same same) const {
  const Entry& me = entries_.at(id);
  std::size_t failed = 0, well_elsewhere = 0;
  TimePoint first = *me.failed_at, last = *me.failed_at;
  for (const auto& [other, entry] : entries_) {
    bool is_same = same(entry.condition);
    if (is_well(entry.condition)) {
      if (is_same) return {};
      ++well_elsewhere;
    }
    if (!is_same || !is_failing(entry.condition)) continue;
    if (std::chrono::abs(*entry.failed_at - *me.failed_at) > kWindow) continue;  // another story
    if (!on_the_bus(entry.condition)) return {};
    ++failed;
    first = std::min(first, *entry.failed_at);
    last = std::max(last, *entry.failed_at);
  }
  if (failed < 2) return {};
  return fmt::format("all {} sticks failed within {}; {} elsewhere are well", failed, span(first, last),
                     well_elsewhere);
}

Scope Correlation::scope(DongleId id) const {
  auto it = entries_.find(id);
  if (it == entries_.end() || !is_failing(it->second.condition)) return {};
  if (auto carrier = outage_of(id))
    return {carrier->empty() ? Scope::Kind::Upstream : Scope::Kind::Carrier, outages_.at(*carrier).evidence};
  const Condition& me = it->second.condition;
  if (!on_the_bus(me)) return {Scope::Kind::Stick, "others are well or failed at other times"};
  if (!me.controller.empty()) {
    auto same = [&](const Condition& c) { return c.controller == me.controller; };
    bool several_hubs = std::ranges::any_of(entries_, [&](const auto& entry) {
      return same(entry.second.condition) && entry.second.condition.hub != me.hub;
    });
    if (std::string seen = several_hubs ? failed_together(id, same) : ""; !seen.empty())
      return {Scope::Kind::Controller, "controller " + me.controller + ": " + seen};
  }
  if (!me.hub.empty()) {
    auto same = [&](const Condition& c) { return c.hub == me.hub; };
    if (std::string seen = failed_together(id, same); !seen.empty())
      return {Scope::Kind::Hub, "hub " + me.hub + ": " + seen};
  }
  return {Scope::Kind::Stick, "others are well or failed at other times"};
}

bool Correlation::awaits_neighbours(DongleId id) const {
  auto it = entries_.find(id);
  if (it == entries_.end() || !it->second.failed_at || it->second.condition.hub.empty()) return false;
  const Entry& me = it->second;
  return std::ranges::any_of(entries_, [&](const auto& other) {
    const Entry& entry = other.second;
    return other.first != id && entry.condition.hub == me.condition.hub && is_failing(entry.condition) &&
           sort_of(entry.condition.fault) == Sort::Unknown &&
           std::chrono::abs(*entry.failed_at - *me.failed_at) <= kWindow;
  });
}

// ---------------------------------------------------------------------------------------------------- plain look-ups

const Condition* Correlation::find(DongleId id) const {
  auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : &it->second.condition;
}

std::optional<TimePoint> Correlation::failed_at(DongleId id) const {
  auto it = entries_.find(id);
  return it == entries_.end() ? std::nullopt : it->second.failed_at;
}

bool Correlation::fails_on_the_bus(DongleId id) const {
  const Condition* c = find(id);
  return c && sort_of(c->fault) == Sort::Bus;
}

}  // namespace dongle
