#pragma once
#include <array>
#include <cstdint>

#include "common/clock.h"

namespace dongle {

/// Bytes per second over the last whole seconds, from samples of a growing total. Fixed memory, pure.
class RateRing {
 public:
  static constexpr int kSlots = 10;

  /// A total as of `now`; totals never go backwards.
  void add(std::uint64_t total, TimePoint now) {
    advance(now);
    if (started_ && total > last_total_) slots_[index(second_)] += total - last_total_;
    last_total_ = total;
    started_ = true;
  }
  /// Mean over the `window` whole seconds before the current one (1..kSlots-1).
  std::uint64_t per_second(TimePoint now, int window = 2) {
    advance(now);
    std::uint64_t sum = 0;
    for (int i = 1; i <= window; ++i) sum += slots_[index(second_ - i)];
    return sum / static_cast<std::uint64_t>(window);
  }

 private:
  static std::size_t index(std::int64_t second) {
    return static_cast<std::size_t>((second % kSlots + kSlots) % kSlots);
  }
  void advance(TimePoint now) {
    auto second = std::chrono::floor<Seconds>(now.time_since_epoch()).count();
    if (second - second_ >= kSlots) slots_.fill(0);
    for (; second_ < second && second - second_ < kSlots;) slots_[index(++second_)] = 0;
    second_ = second;
  }
  std::array<std::uint64_t, kSlots> slots_{};
  std::int64_t second_ = 0;
  std::uint64_t last_total_ = 0;
  bool started_ = false;
};

}  // namespace dongle
