#pragma once
#include <cstddef>
#include <deque>
#include <optional>
#include <string>

#include "common/clock.h"
#include "supervisor/ladder.h"

namespace dongle {

/// Keeps a dongle that comes and goes from being reported as each and from having its ladder run each time. Pure.
///
/// A flap is a dongle that goes down within kShortLife of having come up. From the second one on, until it has been
/// good for a while, it flaps: "up" is believed only once it has lasted for a hold-down, which doubles with every flap
/// up to kMaxHoldDown and is halved by every kGoodTime of being up; and no more than kMaxChanges changes are reported
/// and kMaxRuns runs begun in any kWindow. 10 s up and 10 s down for ten minutes is three outages and a warning, not
/// thirty. Outages with more than kShortLife between them are no flaps: each is mended at once.
class FlapDamper {
 public:
  static constexpr Seconds kShortLife{60};
  static constexpr int kFlapping = 2;
  static constexpr Seconds kFirstHoldDown{15};
  static constexpr Seconds kMaxHoldDown{300};
  static constexpr Seconds kGoodTime{300};
  static constexpr Seconds kWindow{600};
  static constexpr std::size_t kMaxChanges = 6;
  static constexpr std::size_t kMaxRuns = 3;

  /// The health's verdict became down or up. Repeating the same one changes nothing.
  void on_down(TimePoint now);
  void on_up(TimePoint now);

  /// Whether the dongle is to be shown as up. Down is shown at once.
  bool shows_up(TimePoint now);
  /// When shows_up() may change by time alone; none: not before the next on_down() or on_up().
  std::optional<TimePoint> next_change() const;

  /// Asked when an idle ladder is to start a run. Nothing: now, and it's counted; else when it may begin, to be handed
  /// to Ladder::down(), and it's counted as beginning then.
  std::optional<Obstacle> admit_run(TimePoint now);

  /// Why "up" isn't shown though traffic flows, for a person; empty if it isn't so.
  std::string reason() const;
  int flaps() const { return flaps_; }

 private:
  bool is_flapping() const { return flaps_ >= kFlapping; }
  void decay(TimePoint now);
  void show(bool up, TimePoint now);
  Seconds hold_down() const;
  TimePoint due() const;

  static constexpr int kMaxFlaps = 7;  // more don't make the hold-down longer
  bool up_ = true;  ///< by the health; a new dongle counts as up, so that its first outage is no flap
  bool shown_ = true;
  int flaps_ = 0;
  std::optional<TimePoint> up_since_;  ///< the last time that it came up; none: it was never down
  Seconds hold_at_up_{0};
  TimePoint decayed_{};
  std::deque<TimePoint> changes_;  ///< that were shown, the last kMaxChanges
  std::deque<TimePoint> runs_;     ///< the last kMaxRuns and one that is to come
};

}  // namespace dongle
