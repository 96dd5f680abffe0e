#include "supervisor/ladder.h"

#include <algorithm>

#include <fmt/format.h>

namespace dongle {
namespace {

// What waits is looked at no more often than this, whatever its obstacle says.
constexpr Millis kShortestHold = Millis{500};

/// The device is off the bus for a while after these are done, if they work. (What else takes it off the bus is done
/// only when it is back.)
bool leaves_the_bus(Action action) {
  return action == Action::Reboot;
}

bool can_come_to_nothing(UsbMode mode) {
  switch (mode) {
    case UsbMode::NotAuthorized:
    case UsbMode::MassStorage:
    case UsbMode::WrongConfiguration: return true;
    case UsbMode::Unknown:
    case UsbMode::Missing:
    case UsbMode::NoInterface:
    case UsbMode::Ethernet: return false;
  }
  return false;
}

}  // namespace

const char* to_string(Action action) {
  switch (action) {
    case Action::RouteReset: return "route_reset";
    case Action::DataSwitch: return "data_switch";
    case Action::NetworkMode: return "network_mode";
    case Action::Reboot: return "reboot";
    case Action::ModeSwitch: return "mode_switch";
    case Action::UsbConfiguration: return "usb_configuration";
    case Action::UsbRebind: return "usb_rebind";
    case Action::UsbReauthorize: return "usb_reauthorize";
    case Action::PortPower: return "port_power";
    case Action::HubPower: return "hub_power";
  }
  return "unknown";
}

Stage stage_of(Action action) {
  switch (action) {
    case Action::RouteReset: return Stage::Route;
    case Action::DataSwitch:
    case Action::NetworkMode:
    case Action::Reboot: return Stage::Modem;
    case Action::ModeSwitch:
    case Action::UsbConfiguration:
    case Action::UsbRebind:
    case Action::UsbReauthorize: return Stage::Usb;
    case Action::PortPower: return Stage::PortPower;
    case Action::HubPower: return Stage::HubPower;
  }
  return Stage::Route;
}

const char* to_string(StepOutcome outcome) {
  switch (outcome) {
    case StepOutcome::Running: return "running";
    case StepOutcome::Recovered: return "recovered";
    case StepOutcome::NoEffect: return "no_effect";
    case StepOutcome::Failed: return "failed";
    case StepOutcome::Skipped: return "skipped";
    case StepOutcome::Held: return "held";
  }
  return "unknown";
}

Obstacles usb_obstacles(const UsbSight& sight) {
  using enum Obstacle::Kind;
  const Obstacle pointless{NotApplicable, sight.evidence};
  const Obstacle impossible{Skip, sight.evidence};
  switch (sight.mode) {
    case UsbMode::Unknown:
    case UsbMode::Missing:
      return {{Action::ModeSwitch, pointless},
              {Action::UsbConfiguration, pointless},
              {Action::UsbRebind, impossible},
              {Action::UsbReauthorize, impossible}};
    case UsbMode::NotAuthorized:
      return {{Action::ModeSwitch, pointless}, {Action::UsbConfiguration, pointless}, {Action::UsbRebind, pointless}};
    case UsbMode::MassStorage: return {{Action::UsbConfiguration, pointless}, {Action::UsbRebind, pointless}};
    case UsbMode::WrongConfiguration: return {{Action::ModeSwitch, pointless}, {Action::UsbRebind, pointless}};
    case UsbMode::NoInterface:
    case UsbMode::Ethernet: return {{Action::ModeSwitch, pointless}, {Action::UsbConfiguration, pointless}};
  }
  return {};
}

Millis action_deadline(Action action, const LadderPolicy& policy) {
  switch (action) {
    case Action::RouteReset: return Seconds(10);
    // Calls to the modem's API are given up after 12 s each: one off, up to three tries to switch on again.
    case Action::DataSwitch: return policy.data_off_time + Seconds(60);
    // Read, away, up to three tries back with pauses between: 67 s at the worst.
    case Action::NetworkMode: return Seconds(90);
    case Action::Reboot: return Seconds(30);
    // These end by themselves, at the latest after 55 s.
    case Action::ModeSwitch:
    case Action::UsbConfiguration:
    case Action::UsbRebind:
    case Action::UsbReauthorize: return Seconds(60);
    // Off, on, and the boot of a stick until it is on the bus.
    case Action::PortPower:
    case Action::HubPower: return kBootTime + Seconds(30);
  }
  return Seconds(60);
}

// ------------------------------------------------------------------------------------------------ a run's beginning

void Ladder::begin_run() {
  steps_.clear();
  tried_.clear();
  held_since_.reset();
  from_.reset();
  joined_ = false;
}

Decision Ladder::down(TimePoint now, const std::optional<Obstacle>& not_yet) {
  if (!policy_.enabled || state_ != State::Idle) return {};
  begin_run();
  if (!not_yet) return start_diagnosis(now);
  state_ = State::Held;
  deadline_ = std::max(not_yet->until, now + kShortestHold);
  hold_ = Hold{std::nullopt, not_yet->text, deadline_};
  return {Decision::Kind::Hold};
}

Decision Ladder::recover(std::optional<Stage> from, TimePoint now) {
  if (is_running()) return {};
  begin_run();
  from_ = from;
  runs_failed_ = 0;
  return start_diagnosis(now);
}

Decision Ladder::start_diagnosis(TimePoint now) {
  state_ = State::Diagnosing;
  hold_.reset();
  joined_ = false;
  deadline_ = now + kDiagnosisDeadline;
  diagnosed_at_ = now;
  return {Decision::Kind::Diagnose};
}

Decision Ladder::diagnosed(const Diagnosis& diagnosis, TimePoint now) {
  if (state_ != State::Diagnosing) return {};
  diagnosis_ = diagnosis;
  // An operator chooses where a run enters; then what is seen decides.
  if (!tried_.empty()) from_.reset();
  if (!diagnosis.entry && !from_) {
    state_ = State::NoService;
    deadline_ = now + policy_.retry_after;
    return {Decision::Kind::NoService};
  }
  return next_rung(now);
}

// -------------------------------------------------------------------------------------------------------- the rungs

std::vector<StepRecord> Ladder::plan(const Diagnosis& diagnosis, std::optional<Stage> from) const {
  std::vector<StepRecord> rungs;
  if (!from && !diagnosis.entry) return rungs;
  Stage entry = from ? *from : *diagnosis.entry;
  for (Action action : kActions) {
    Stage stage = stage_of(action);
    if (stage < entry || std::ranges::find(policy_.stages, stage) == policy_.stages.end()) continue;
    bool is_operators = from && stage == *from;
    StepRecord rung;
    rung.action = action;
    rung.reason = is_operators ? "asked for by the operator" : to_string(diagnosis.fault);
    if (auto it = obstacles_.find(action); it != obstacles_.end()) {
      const Obstacle& obstacle = it->second;
      if (obstacle.kind == Obstacle::Kind::NotApplicable) continue;
      // Who names a stage knows that others fail, too.
      bool is_ignored = obstacle.kind == Obstacle::Kind::Correlated && is_operators;
      if (!is_ignored) {
        rung.outcome = obstacle.kind == Obstacle::Kind::Skip ? StepOutcome::Skipped : StepOutcome::Held;
        rung.detail = obstacle.text;
      }
    }
    rungs.push_back(std::move(rung));
  }
  return rungs;
}

Decision Ladder::next_rung(TimePoint now) {
  for (StepRecord& rung : plan(diagnosis_, from_)) {
    if (tried_.contains(rung.action)) continue;
    if (rung.outcome == StepOutcome::Held) {
      const Obstacle& obstacle = obstacles_.at(rung.action);
      if (may_wait_for(obstacle, now)) return hold_for(rung.action, obstacle, now);
      rung.outcome = StepOutcome::Skipped;
      rung.detail = "not within " + format_duration(kMaxHold) + ": " + obstacle.text;
    }
    if (rung.outcome == StepOutcome::Skipped) {
      note_skipped(rung, now);
      continue;
    }
    Action action = rung.action;
    start_step(std::move(rung), now);
    return {Decision::Kind::Act, action};
  }
  return give_up(now);
}

bool Ladder::may_wait_for(const Obstacle& obstacle, TimePoint now) {
  if (obstacle.kind == Obstacle::Kind::Correlated) {
    held_since_.reset();
    return true;
  }
  if (!held_since_) held_since_ = now;
  return std::max(obstacle.until, now) <= *held_since_ + kMaxHold;
}

Decision Ladder::hold_for(Action action, const Obstacle& obstacle, TimePoint now) {
  state_ = State::Held;
  deadline_ = std::max(obstacle.until, now + kShortestHold);
  hold_ = Hold{action, obstacle.text, deadline_};
  return {Decision::Kind::Hold};
}

void Ladder::note_skipped(const StepRecord& rung, TimePoint now) {
  // It may come to its turn again in this run; one record is enough.
  auto same = [&](const StepRecord& s) { return s.action == rung.action && s.outcome == StepOutcome::Skipped; };
  auto it = std::ranges::find_if(steps_, same);
  if (it == steps_.end()) it = steps_.insert(it, rung);
  it->began = now;
  it->detail = rung.detail;
}

Decision Ladder::give_up(TimePoint now) {
  state_ = State::Waiting;
  Millis wait = policy_.retry_after;
  for (int i = 0; i < runs_failed_ && wait < kMaxRetryAfter; ++i) wait *= 2;
  deadline_ = now + std::min(wait, kMaxRetryAfter);
  ++runs_failed_;
  return {Decision::Kind::GiveUp};
}

// ------------------------------------------------------------------------------------------------------ one action

void Ladder::start_step(StepRecord step, TimePoint now) {
  step.began = now;
  tried_.insert(step.action);
  deadline_ = now + action_deadline(step.action, policy_);
  steps_.push_back(std::move(step));
  state_ = State::Acting;
  hold_.reset();
  held_since_.reset();
  device_ = Device::Stayed;
}

Decision Ladder::action_done(bool ok, const std::string& detail, TimePoint now) {
  if (state_ != State::Acting) return {};
  if (!ok) {
    finish_step(StepOutcome::Failed, detail, now);
    return go_on(now);
  }
  steps_.back().detail = detail;
  state_ = State::Settling;
  deadline_ = now + settle_time();
  if (leaves_the_bus(steps_.back().action) && device_ != Device::Returned)
    deadline_ = device_ == Device::Away ? deadline_ + kBootTime : std::max(deadline_, now + kLeaveTime);
  return {};
}

void Ladder::join(Action action, const std::string& reason, TimePoint now) {
  if (state_ == State::Acting || state_ == State::Settling)
    finish_step(StepOutcome::Failed, "ended by " + reason, now);
  else if (state_ != State::Diagnosing && state_ != State::Held)
    begin_run();
  from_.reset();
  start_step({.action = action, .reason = reason, .detail = ""}, now);
  joined_ = true;
}

Millis Ladder::settle_time() const {
  auto it = policy_.settle.find(stage_of(steps_.back().action));
  return it != policy_.settle.end() ? it->second : Seconds(30);
}

void Ladder::device_left(TimePoint now) {
  if (!current_action() || device_ == Device::Away) return;
  device_ = Device::Away;
  if (state_ == State::Settling && leaves_the_bus(steps_.back().action)) deadline_ = now + kBootTime + settle_time();
}

void Ladder::device_back(TimePoint now) {
  if (!current_action() || device_ != Device::Away) return;
  device_ = Device::Returned;
  if (state_ == State::Settling) deadline_ = now + settle_time();
}

std::string Ladder::what_settling_showed() const {
  std::string settle = format_duration(settle_time());
  switch (device_) {
    case Device::Away: return "the device did not come back";
    case Device::Returned: return "the device came back, but no traffic within " + settle;
    case Device::Stayed: break;
  }
  return leaves_the_bus(steps_.back().action) ? "the device never went away" : "no traffic within " + settle;
}

Decision Ladder::usb_seen(const UsbSight& sight, TimePoint now) {
  if (state_ != State::Settling || !can_come_to_nothing(sight.mode)) return {};
  return no_effect("no traffic can come: " + sight.evidence, now);
}

void Ladder::finish_step(StepOutcome outcome, const std::string& detail, TimePoint now) {
  StepRecord& step = steps_.back();
  step.outcome = outcome;
  if (!detail.empty()) step.detail = step.detail.empty() ? detail : step.detail + "; " + detail;
  step.took = std::chrono::duration_cast<Millis>(now - step.began);
}

Decision Ladder::no_effect(const std::string& detail, TimePoint now) {
  finish_step(StepOutcome::NoEffect, detail, now);
  return go_on(now);
}

/// After a step that mended nothing.
Decision Ladder::go_on(TimePoint now) {
  if (joined_ && !policy_.enabled) {
    cancel();
    return {};
  }
  return start_diagnosis(now);
}

// ------------------------------------------------------------------------------------------------ what ends a state

Decision Ladder::traffic_ok(TimePoint now) {
  switch (state_) {
    case State::Idle:
    case State::Acting: return {};
    case State::Settling: return recovered("traffic flows through the worker", now);
    case State::Diagnosing:
    case State::Held:
      // A healthy dongle on which an operator wants a stage run has traffic all the time.
      if (from_) return {};
      [[fallthrough]];
    case State::Waiting:
    case State::NoService: return recovered("", now);
  }
  return {};
}

Decision Ladder::recovered(const std::string& detail, TimePoint now) {
  if (state_ == State::Settling) finish_step(StepOutcome::Recovered, detail, now);
  cancel();
  return {Decision::Kind::Recovered};
}

Decision Ladder::look_again(TimePoint now) {
  switch (state_) {
    case State::Idle:
    case State::Diagnosing:
    case State::Acting:
    case State::Settling: return {};
    case State::Held:
      if (!hold_->action) return {};  // damped: only time helps
      // A whole rack that waits isn't to be asked anew for each hub that becomes free.
      deadline_ = std::min(deadline_, std::max(now, diagnosed_at_ + kShortestHold));
      return tick(now);
    case State::Waiting:
    case State::NoService:
      if (!policy_.enabled || now < diagnosed_at_ + kLookAgainGap) return {};
      begin_run();
      return start_diagnosis(now);
  }
  return {};
}

Decision Ladder::tick(TimePoint now) {
  if (state_ == State::Idle || now < deadline_) return {};
  switch (state_) {
    case State::Idle: return {};
    case State::Diagnosing: deadline_ = now + kDiagnosisDeadline; return {Decision::Kind::DiagnoseNow};
    case State::Held: return start_diagnosis(now);
    case State::Acting:
      finish_step(StepOutcome::Failed,
                  "not finished within " + format_duration(action_deadline(steps_.back().action, policy_)), now);
      return go_on(now);
    case State::Settling: return no_effect(what_settling_showed(), now);
    case State::Waiting:
    case State::NoService:
      if (!policy_.enabled) {
        // Switched off meanwhile, or it was an operator's run: nothing by itself.
        state_ = State::Idle;
        return {};
      }
      begin_run();
      return start_diagnosis(now);
  }
  return {};
}

void Ladder::cancel() {
  state_ = State::Idle;
  hold_.reset();
  runs_failed_ = 0;
}

std::optional<TimePoint> Ladder::next_deadline() const {
  return state_ == State::Idle ? std::nullopt : std::optional(deadline_);
}

std::optional<Action> Ladder::current_action() const {
  if ((state_ != State::Acting && state_ != State::Settling) || steps_.empty()) return std::nullopt;
  return steps_.back().action;
}

std::optional<Stage> Ladder::current_stage() const {
  auto action = current_action();
  return action ? std::optional(stage_of(*action)) : std::nullopt;
}

}  // namespace dongle
