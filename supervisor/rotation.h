#pragma once
#include <functional>
#include <optional>
#include <string>

#include "common/config.h"
#include "common/uv_handle.h"
#include "supervisor/modem_actions.h"
#include "supervisor/prober.h"

namespace dongle {

/// When a rotation may begin, for one dongle and for the rack. Pure.
class RotationPolicy {
 public:
  struct Refusal {
    enum class Why { Cooldown, Busy } why;
    std::string text;
    Millis retry_after{0};  ///< with Cooldown
  };
  explicit RotationPolicy(RotationConfig config) : config_(config) {}
  /// last_ended: of this dongle's last rotation. running: rotations under way on the rack.
  std::optional<Refusal> refuse(std::optional<TimePoint> last_ended, int running, TimePoint now) const;
  /// How long data stays off on try 1, 2: carriers tend to give the same address after a short pause.
  Millis off_time(int attempt) const;
  static constexpr int kMaxAttempts = 2;

 private:
  RotationConfig config_;
};

/// One change of the public address: off, pause, on, and look. An unchanged address gets a second try with a longer
/// pause, and is then an outcome, not a failure.
class Rotation {
 public:
  enum class Outcome { Changed, SameIp, NoEgress, ApiFailed };
  struct Report {
    Outcome outcome = Outcome::NoEgress;
    std::optional<Address> old_ip, new_ip;
    Millis took{0};
    int attempts = 0;
    std::string detail;
  };
  struct Hooks {
    std::function<void()> before_off;  ///< connections are to end
    std::function<void(const std::string& text)> progress;
    std::function<void(Report)> done;
  };
  Rotation(UvLoop& loop, ModemActions& actions, Prober& prober, RotationConfig config, std::optional<Address> old_ip,
           Hooks hooks);

 private:
  void begin();
  void attempt();
  void look_for_address();
  void finish(Outcome outcome, const std::string& detail);

  ModemActions& actions_;
  Prober& prober_;
  RotationConfig config_;
  RotationPolicy policy_;
  Hooks hooks_;
  Report report_;
  TimePoint began_;
  TimePoint deadline_;
  std::string last_error_;
  int looks_ = 0;
  Timer timer_;
};

const char* to_string(Rotation::Outcome outcome);

}  // namespace dongle
