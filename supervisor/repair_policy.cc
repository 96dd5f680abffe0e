#include "supervisor/repair_policy.h"

#include <algorithm>

namespace dongle {

RepairPolicy::Verdict RepairPolicy::on_repair_needed(DongleId id, TimePoint now) {
  State& state = states_[id];
  if (state.contested_until && now < *state.contested_until) return Verdict::Contested;
  if (state.repairs > 0 && now - std::max(state.last, state.contested_until.value_or(state.last)) >= kCalm)
    state.next_backoff = kFirstBackoff;
  state.contested_until.reset();

  if (state.repairs > 0 && now - state.last < kBurst) return Verdict::Repair;
  state.last = now;
  ++state.repairs;
  ++total_;
  while (!state.recent.empty() && now - state.recent.front() >= kWindow) state.recent.pop_front();
  state.recent.push_back(now);
  if (state.recent.size() < static_cast<std::size_t>(kMaxRepairs)) return Verdict::Repair;

  state.recent.clear();
  state.contested_until = now + state.next_backoff;
  state.next_backoff = std::min(state.next_backoff * 2, kMaxBackoff);
  return Verdict::BecameContested;
}

std::optional<TimePoint> RepairPolicy::contested_until(DongleId id, TimePoint now) const {
  auto it = states_.find(id);
  if (it == states_.end() || !it->second.contested_until || *it->second.contested_until <= now) return std::nullopt;
  return it->second.contested_until;
}

std::uint64_t RepairPolicy::repairs(DongleId id) const {
  auto it = states_.find(id);
  return it == states_.end() ? 0 : it->second.repairs;
}

}  // namespace dongle
