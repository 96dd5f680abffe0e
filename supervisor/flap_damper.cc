#include "supervisor/flap_damper.h"

#include <algorithm>

#include <fmt/format.h>

namespace dongle {
namespace {

void remember(std::deque<TimePoint>& times, TimePoint time, std::size_t most) {
  times.push_back(time);
  if (times.size() > most) times.pop_front();
}

}  // namespace

Seconds FlapDamper::hold_down() const {
  if (!is_flapping()) return Seconds(0);
  Seconds hold = kFirstHoldDown;
  for (int i = kFlapping; i < flaps_ && hold < kMaxHoldDown; ++i) hold *= 2;
  return std::min(hold, kMaxHoldDown);
}

/// Every kGoodTime of being up halves the hold-down.
void FlapDamper::decay(TimePoint now) {
  while (up_ && flaps_ > 0 && now >= decayed_ + kGoodTime) {
    --flaps_;
    decayed_ += kGoodTime;
  }
}

void FlapDamper::on_down(TimePoint now) {
  if (!up_) return;
  shows_up(now);  // what was due before this down
  up_ = false;
  if (up_since_ && now < *up_since_ + kShortLife) flaps_ = std::min(flaps_ + 1, kMaxFlaps);
  if (shown_) show(false, now);
}

void FlapDamper::on_up(TimePoint now) {
  if (up_) return;
  up_ = true;
  up_since_ = decayed_ = now;
  hold_at_up_ = hold_down();
  // The run that was to begin later isn't needed: traffic came first.
  if (!runs_.empty() && runs_.back() > now) runs_.pop_back();
}

void FlapDamper::show(bool up, TimePoint now) {
  shown_ = up;
  remember(changes_, now, kMaxChanges);
}

/// When an "up" that lasts may be shown: after the hold-down, and with one change left for the next "down".
TimePoint FlapDamper::due() const {
  TimePoint due = *up_since_ + hold_at_up_;
  // This one, the "down" after it and those of the window before make kMaxChanges.
  constexpr std::size_t kBefore = kMaxChanges - 2;
  if (is_flapping() && changes_.size() > kBefore)
    due = std::max(due, changes_[changes_.size() - 1 - kBefore] + kWindow);
  return due;
}

bool FlapDamper::shows_up(TimePoint now) {
  if (up_ && !shown_ && now >= due()) show(true, now);
  decay(now);
  return shown_;
}

std::optional<TimePoint> FlapDamper::next_change() const {
  return up_ && !shown_ ? std::optional(due()) : std::nullopt;
}

std::optional<Obstacle> FlapDamper::admit_run(TimePoint now) {
  if (!runs_.empty() && runs_.back() > now) runs_.pop_back();  // forestalled, too
  TimePoint begin = now;
  if (!runs_.empty()) begin = std::max(begin, runs_.back() + hold_down());
  if (is_flapping() && runs_.size() >= kMaxRuns) begin = std::max(begin, runs_[runs_.size() - kMaxRuns] + kWindow);
  remember(runs_, begin, kMaxRuns + 1);
  if (begin <= now) return std::nullopt;
  return Obstacle{Obstacle::Kind::Later, fmt::format("it comes and goes ({} times): the ladder waits", flaps_), begin};
}

std::string FlapDamper::reason() const {
  if (!up_ || shown_) return {};
  return fmt::format("it comes and goes ({} times): up is believed after {}", flaps_,
                     format_duration(std::chrono::duration_cast<Millis>(due() - *up_since_)));
}

}  // namespace dongle
