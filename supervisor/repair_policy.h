#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <optional>

#include "common/clock.h"
#include "common/ids.h"

namespace dongle {

/// Decides whether to put back what somebody else has removed. Each repair counts; with the tenth within a minute the
/// dongle is contested: another program wants it otherwise, and fighting it would only make both busy. Then nothing is
/// repaired for a back-off, one minute first, doubling up to ten; after ten calm minutes the count starts anew.
class RepairPolicy {
 public:
  static constexpr int kMaxRepairs = 10;
  static constexpr Seconds kWindow{60};
  /// `ip route flush` looks again after it has deleted and then deletes our repair: what comes within this time of a
  /// counted repair is still the same intrusion.
  static constexpr Millis kBurst{250};
  static constexpr Seconds kFirstBackoff{60};
  static constexpr Seconds kMaxBackoff{600};
  static constexpr Seconds kCalm{600};

  enum class Verdict {
    Repair,           ///< do it; it was counted
    BecameContested,  ///< do this one, too; it was the one too many: say so
    Contested,        ///< leave it until contested_until()
  };
  Verdict on_repair_needed(DongleId id, TimePoint now);

  /// When repairs begin again; nothing if they are not suspended.
  std::optional<TimePoint> contested_until(DongleId id, TimePoint now) const;
  std::uint64_t repairs(DongleId id) const;
  std::uint64_t total_repairs() const { return total_; }

 private:
  struct State {
    std::deque<TimePoint> recent;  // at most kMaxRepairs
    std::optional<TimePoint> contested_until;
    Seconds next_backoff = kFirstBackoff;
    TimePoint last{};
    std::uint64_t repairs = 0;
  };
  std::map<DongleId, State> states_;
  std::uint64_t total_ = 0;
};

}  // namespace dongle
