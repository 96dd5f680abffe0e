#pragma once
// The recovery ladder of one dongle: events and a clock in, decisions out. Pure.
//
//   Idle ──down──▶ Diagnosing ──entry──▶ Acting ──done──▶ Settling ──traffic──▶ Idle (recovered)
//                   │     ▲                │ failed          │ settle time over
//                   │     └────────────────┴─────────────────┘ (looks again before the next rung)
//                   │ a person's work                        last rung failed
//                   ▼                                          ▼
//                 NoService ──traffic──▶ Idle               Waiting ──retry time──▶ Diagnosing
//
// Acting and Settling: exactly one action is under way. Traffic counts as proof only in Settling (an action that has
// not finished has not mended anything), and ends every other state too, but for a run that an operator has started. A
// rung that this host or modem can't climb is skipped and the reason kept. Every state but Idle has a deadline or a
// retry time, so a run always ends.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/config.h"
#include "supervisor/diagnosis.h"

namespace dongle {

/// What can be done, cheapest first. Several actions make up the modem stage.
enum class Action { RouteReset, DataSwitch, NetworkMode, Reboot, UsbRebind, PortPower, HubPower };
inline constexpr std::array kActions{Action::RouteReset, Action::DataSwitch, Action::NetworkMode, Action::Reboot,
                                     Action::UsbRebind,  Action::PortPower,  Action::HubPower};
const char* to_string(Action action);
Stage stage_of(Action action);

/// Why an action can't be tried on this dongle now; absent from the map: it can.
using Obstacles = std::map<Action, std::string>;

struct LadderPolicy {
  bool enabled = true;
  std::vector<Stage> stages;
  std::map<Stage, Millis> settle;
  Millis retry_after{0};
};

/// The longest wait between two runs of the ladder.
inline constexpr Millis kMaxRetryAfter = std::chrono::hours(1);
/// An action that has not reported by then has failed; above every deadline inside an action (a modem's API call is
/// given up after 12 s, a data switch cycle makes three of them).
inline constexpr Millis kActionDeadline = Seconds(60);
/// A diagnosis that has not come by then is taken as "nothing could be asked".
inline constexpr Millis kDiagnosisDeadline = Seconds(20);
/// Beside its settle time a rebooted stick may take this long to be back on the bus (reboots take 25 to 60 s).
inline constexpr Millis kBootTime = Seconds(60);

enum class StepOutcome { Running, Recovered, NoEffect, Failed, Skipped };
const char* to_string(StepOutcome outcome);

/// One rung, as `why` and `incidents` tell it.
struct StepRecord {
  Action action = Action::RouteReset;
  std::string reason;  ///< why this rung
  StepOutcome outcome = StepOutcome::Running;
  std::string detail;  ///< what was seen
  TimePoint began{};
  Millis took{0};
};

struct Decision {
  enum class Kind {
    None,       ///< nothing to do
    Diagnose,   ///< gather evidence, answer with diagnosed()
    Act,        ///< carry out `action`, answer with action_done()
    Recovered,  ///< traffic flows again
    GiveUp,     ///< the last rung failed; next try at retry_at()
    NoService,  ///< only a person can help; keep looking
  };
  Kind kind = Kind::None;
  Action action = Action::RouteReset;
};

class Ladder {
 public:
  enum class State { Idle, Diagnosing, Acting, Settling, Waiting, NoService };

  explicit Ladder(LadderPolicy policy) : policy_(std::move(policy)) {}

  /// The health says down. Starts a run from Idle; otherwise nothing new.
  Decision down(TimePoint now);
  /// An operator asks for a run, from a stage or from where the diagnosis says. Ends a wait, not a run under way.
  Decision recover(std::optional<Stage> from, TimePoint now);
  /// Which actions can't be tried now and why; kept until the next call.
  void set_obstacles(Obstacles obstacles) { obstacles_ = std::move(obstacles); }
  /// What was found.
  Decision diagnosed(const Diagnosis& diagnosis, TimePoint now);
  Decision action_done(bool ok, const std::string& detail, TimePoint now);
  /// Traffic has passed through the worker.
  Decision traffic_ok(TimePoint now);
  /// A deadline may have passed; see next_deadline().
  Decision tick(TimePoint now);
  /// Stops whatever is under way without an outcome (the dongle is stopped, the device is gone for good).
  void cancel();

  State state() const { return state_; }
  bool is_running() const {
    return state_ == State::Diagnosing || state_ == State::Acting || state_ == State::Settling;
  }
  bool enabled() const { return policy_.enabled; }
  void set_policy(LadderPolicy policy) { policy_ = std::move(policy); }
  /// When tick() has something to decide; none in Idle.
  std::optional<TimePoint> next_deadline() const;
  const std::vector<StepRecord>& steps() const { return steps_; }  ///< of the current or last run
  const Diagnosis& diagnosis() const { return diagnosis_; }
  std::optional<Stage> current_stage() const;

  /// The rungs that a run from this diagnosis would climb, for --dry-run: those skipped come with their reason.
  std::vector<StepRecord> plan(const Diagnosis& diagnosis, std::optional<Stage> from) const;

 private:
  Decision start_diagnosis(TimePoint now);
  Decision next_rung(TimePoint now);
  void finish_step(StepOutcome outcome, const std::string& detail, TimePoint now);
  Decision recovered(const std::string& detail, TimePoint now);
  Millis settle_time(Action action) const;

  LadderPolicy policy_;
  Obstacles obstacles_;
  State state_ = State::Idle;
  TimePoint deadline_{};
  Diagnosis diagnosis_;
  std::vector<StepRecord> steps_;
  std::optional<Action> tried_;  ///< the rung of this run that was reached last
  std::optional<Stage> from_;    ///< an operator's choice of entry
  int runs_failed_ = 0;
};

}  // namespace dongle
