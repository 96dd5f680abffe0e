#pragma once
#include "common/clock.h"

namespace dongle {

/// Delays that double from `first` to `longest`, and start over after something lasted `reset_after`. Pure.
class Backoff {
 public:
  Backoff(Millis first, Millis longest, Millis reset_after)
      : first_(first), longest_(longest), reset_after_(reset_after) {}

  /// How long to wait before the next try, given how long the last one lasted. The first delay is zero.
  Millis next(Millis lasted) {
    if (lasted >= reset_after_) tries_ = 0;
    ++tries_;
    if (tries_ == 1) return Millis{0};
    Millis delay = first_;
    for (int i = 2; i < tries_ && delay < longest_; ++i) delay *= 2;
    return delay < longest_ ? delay : longest_;
  }
  int tries() const { return tries_; }
  void reset() { tries_ = 0; }

 private:
  Millis first_, longest_, reset_after_;
  int tries_ = 0;
};

}  // namespace dongle
