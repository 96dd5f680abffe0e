#pragma once
// The recovery ladder of one dongle: events and a clock in, decisions out. Pure.
//
//   Idle ──down──▶ Diagnosing ──entry──▶ Acting ──done──▶ Settling ──traffic──▶ Idle (recovered)
//    │              │  ▲   ▲ │             │ failed          │ settle time over, or proved hopeless
//    │ join         │  │   └─┼─────────────┴─────────────────┘ (looks again before the next rung)
//    ▼              │  │     │ not now
//   Acting          │  │     ▼
//                   │  └── Held ──traffic──▶ Idle
//                   │ a person's work, or the last rung failed
//                   ▼
//                 NoService, Waiting ──retry time, or a new look is worthwhile──▶ Diagnosing;  ──traffic──▶ Idle
//
// Acting and Settling: exactly one action is under way. Traffic counts as proof only in Settling (an action that has
// not finished has not mended anything), and ends every other state too, but for a run that an operator has started.
// Each action is tried at most once in a run. The diagnosis says where to go on: mostly upwards, but a stick that a
// power cycle has brought back as an installation disk is switched, not cut again. A rung that this host or modem can't
// climb is skipped and the reason kept; one that can't be climbed now is waited for. Every state but Idle has a
// deadline or a retry time, so a run always ends.
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/config.h"
#include "supervisor/diagnosis.h"

namespace dongle {

/// What can be done, cheapest first. Several actions make up the modem stage and the usb stage.
enum class Action {
  RouteReset,
  DataSwitch,
  NetworkMode,
  Reboot,
  ModeSwitch,        ///< from the installation disk to the modem
  UsbConfiguration,  ///< another USB configuration
  UsbRebind,         ///< the driver, off and on
  UsbReauthorize,    ///< `authorized` 0 and 1: the device is set up anew, with its power on
  PortPower,
  HubPower,
};
inline constexpr std::array kActions{
    Action::RouteReset,       Action::DataSwitch, Action::NetworkMode,    Action::Reboot,    Action::ModeSwitch,
    Action::UsbConfiguration, Action::UsbRebind,  Action::UsbReauthorize, Action::PortPower, Action::HubPower};
const char* to_string(Action action);
Stage stage_of(Action action);

/// Why an action can't be tried on this dongle now.
struct Obstacle {
  enum class Kind {
    NotApplicable,  ///< makes no sense here and isn't mentioned: no mode switch for what is no installation disk
    Skip,           ///< can't be done here; the reason is kept in the record
    Later,          ///< not now (hub busy, budget used up): wait, then diagnose anew; at most kMaxHold, then skipped
    Correlated,     ///< as Later, but for as long as it lasts: the failure isn't this stick's own
  };
  Kind kind = Kind::Skip;
  std::string text;
  TimePoint until{};  ///< with Later and Correlated: when to look again at the latest
  bool operator==(const Obstacle&) const = default;
};

/// Absent from the map: it can be tried.
using Obstacles = std::map<Action, Obstacle>;

/// Which actions of the usb stage fit what is seen of the stick. The power stages are the power plan's to judge.
Obstacles usb_obstacles(const UsbSight& sight);

struct LadderPolicy {
  bool enabled = true;
  std::vector<Stage> stages;
  std::map<Stage, Millis> settle;
  Millis retry_after{0};
  Millis data_off_time{0};  ///< how long a data switch cycle keeps the data off
};

/// The longest wait between two runs of the ladder.
inline constexpr Millis kMaxRetryAfter = std::chrono::hours(1);
/// A diagnosis that has not come by then is made from what is known without asking the modem.
inline constexpr Millis kDiagnosisDeadline = Seconds(20);
/// A stick that has left the bus may take this long to be back on it (reboots take 25 to 60 s), beside its settle time.
inline constexpr Millis kBootTime = Seconds(60);
/// A stick that has accepted a reboot has left the bus by then, or never will (they take 2 to 10 s).
inline constexpr Millis kLeaveTime = Seconds(15);
/// A run waits no longer than this between two actions (ten sticks of one hub, a minute each); what is still not
/// possible then is skipped.
inline constexpr Millis kMaxHold = std::chrono::minutes(10);

/// An action that has not reported by then has failed; above every deadline inside the action.
Millis action_deadline(Action action, const LadderPolicy& policy);

enum class StepOutcome { Running, Recovered, NoEffect, Failed, Skipped, Held };
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
    None,         ///< nothing to do
    Diagnose,     ///< gather evidence, answer with set_obstacles() and diagnosed()
    DiagnoseNow,  ///< that took too long: answer at once, from what is known without asking anybody
    Act,          ///< carry out `action`, answer with action_done()
    Hold,         ///< not now; see hold()
    Recovered,    ///< traffic flows again
    GiveUp,       ///< the last rung failed; next try at next_deadline()
    NoService,    ///< only a person can help; keep looking
  };
  Kind kind = Kind::None;
  Action action = Action::RouteReset;
};

class Ladder {
 public:
  enum class State { Idle, Diagnosing, Held, Acting, Settling, Waiting, NoService };

  /// What a held ladder waits for.
  struct Hold {
    std::optional<Action> action;  ///< the rung that waits; none: the whole run
    std::string text;
    TimePoint until{};
  };

  explicit Ladder(LadderPolicy policy) : policy_(std::move(policy)) {}

  /// The health says down. Starts a run from Idle; otherwise nothing new. not_yet: the run is to wait first (flap
  /// damping); it begins with its diagnosis when that is over.
  Decision down(TimePoint now, const std::optional<Obstacle>& not_yet = {});
  /// An operator asks for a run, from a stage or from where the diagnosis says. Ends a wait, not a run under way.
  Decision recover(std::optional<Stage> from, TimePoint now);
  /// Which actions can't be tried now and why; to be called before each diagnosed(), since others act meanwhile.
  void set_obstacles(Obstacles obstacles) { obstacles_ = std::move(obstacles); }
  /// What was found.
  Decision diagnosed(const Diagnosis& diagnosis, TimePoint now);
  /// The action (or the one that was joined) has ended. ok of an action of the usb and power stages: the device is on
  /// the bus again.
  Decision action_done(bool ok, const std::string& detail, TimePoint now);
  /// Somebody else's action hits this dongle too: a hub's power. Whatever is under way here is over; the outage that
  /// follows belongs to that action. To be told of its end with action_done(). Nothing to do on the caller's side but
  /// to give up an own action.
  void join(Action action, const std::string& reason, TimePoint now);
  /// Traffic has passed through the worker.
  Decision traffic_ok(TimePoint now);
  /// The device left the bus, or its network device went.
  void device_left(TimePoint now);
  /// The device is on the bus again, or its network device is.
  void device_back(TimePoint now);
  /// What is seen of the stick has changed: ends a settling that can come to nothing.
  Decision usb_seen(const UsbSight& sight, TimePoint now);
  /// What a held ladder waits for may be over (a hub is free, an outage has ended), or a ladder that had given up has a
  /// reason to look again (its stick was plugged in anew). A ladder that had given up does so at most once in
  /// kLookAgainGap.
  Decision look_again(TimePoint now);
  static constexpr Seconds kLookAgainGap{30};
  /// A deadline may have passed; see next_deadline().
  Decision tick(TimePoint now);
  /// Stops whatever is under way without an outcome (the dongle is stopped, the device is gone for good).
  void cancel();

  State state() const { return state_; }
  /// A diagnosis or an action is under way; a held ladder does nothing and isn't.
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
  /// The action that is under way or proves itself; none in the other states.
  std::optional<Action> current_action() const;
  /// The action under way is somebody else's.
  bool has_joined() const { return joined_ && current_action(); }
  const std::optional<Hold>& hold() const { return hold_; }  ///< only in Held

  /// The rungs that a run from this diagnosis would climb, for --dry-run: those skipped or held come with their reason.
  std::vector<StepRecord> plan(const Diagnosis& diagnosis, std::optional<Stage> from) const;

 private:
  void begin_run();
  Decision start_diagnosis(TimePoint now);
  Decision next_rung(TimePoint now);
  Decision hold_for(Action action, const Obstacle& obstacle, TimePoint now);
  bool may_wait_for(const Obstacle& obstacle, TimePoint now);
  void note_skipped(const StepRecord& rung, TimePoint now);
  Decision give_up(TimePoint now);
  void start_step(StepRecord step, TimePoint now);
  void finish_step(StepOutcome outcome, const std::string& detail, TimePoint now);
  Decision no_effect(const std::string& detail, TimePoint now);
  Decision go_on(TimePoint now);
  Decision recovered(const std::string& detail, TimePoint now);
  Millis settle_time() const;
  std::string what_settling_showed() const;

  LadderPolicy policy_;
  Obstacles obstacles_;
  State state_ = State::Idle;
  TimePoint deadline_{};
  Diagnosis diagnosis_;
  std::vector<StepRecord> steps_;
  std::set<Action> tried_;               ///< in this run
  std::optional<TimePoint> held_since_;  ///< without anything done in between
  std::optional<Hold> hold_;
  std::optional<Stage> from_;  ///< an operator's choice of entry
  bool joined_ = false;
  enum class Device { Stayed, Away, Returned } device_ = Device::Stayed;  ///< since the action under way began
  TimePoint diagnosed_at_{};
  int runs_failed_ = 0;
};

}  // namespace dongle
