#include "supervisor/ladder.h"

#include <algorithm>

namespace dongle {

const char* to_string(Action action) {
  switch (action) {
    case Action::RouteReset: return "route_reset";
    case Action::DataSwitch: return "data_switch";
    case Action::NetworkMode: return "network_mode";
    case Action::Reboot: return "reboot";
    case Action::UsbRebind: return "usb_rebind";
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
    case Action::UsbRebind: return Stage::Usb;
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
  }
  return "unknown";
}

Decision Ladder::down(TimePoint now) {
  if (!policy_.enabled || state_ != State::Idle) return {};
  steps_.clear();
  tried_.reset();
  from_.reset();
  return start_diagnosis(now);
}

Decision Ladder::recover(std::optional<Stage> from, TimePoint now) {
  if (is_running()) return {};
  steps_.clear();
  tried_.reset();
  from_ = from;
  runs_failed_ = 0;
  return start_diagnosis(now);
}

Decision Ladder::start_diagnosis(TimePoint now) {
  state_ = State::Diagnosing;
  deadline_ = now + kDiagnosisDeadline;
  return {Decision::Kind::Diagnose};
}

Decision Ladder::diagnosed(const Diagnosis& diagnosis, TimePoint now) {
  if (state_ != State::Diagnosing) return {};
  diagnosis_ = diagnosis;
  if (!diagnosis.entry && !from_) {
    state_ = State::NoService;
    deadline_ = now + policy_.retry_after;
    return {Decision::Kind::NoService};
  }
  return next_rung(now);
}

Decision Ladder::next_rung(TimePoint now) {
  for (const StepRecord& rung : plan(diagnosis_, from_)) {
    if (tried_ && rung.action <= *tried_) continue;
    tried_ = rung.action;
    steps_.push_back(rung);
    steps_.back().began = now;
    if (rung.outcome == StepOutcome::Skipped) continue;
    state_ = State::Acting;
    deadline_ = now + kActionDeadline;
    return {Decision::Kind::Act, rung.action};
  }
  state_ = State::Waiting;
  Millis wait = policy_.retry_after;
  for (int i = 0; i < runs_failed_ && wait < kMaxRetryAfter; ++i) wait *= 2;
  deadline_ = now + std::min(wait, kMaxRetryAfter);
  ++runs_failed_;
  return {Decision::Kind::GiveUp};
}

std::vector<StepRecord> Ladder::plan(const Diagnosis& diagnosis, std::optional<Stage> from) const {
  std::vector<StepRecord> rungs;
  Stage entry = from ? *from : diagnosis.entry.value_or(Stage::Route);
  if (!from && !diagnosis.entry) return rungs;
  for (Action action : kActions) {
    Stage stage = stage_of(action);
    if (stage < entry || std::ranges::find(policy_.stages, stage) == policy_.stages.end()) continue;
    StepRecord rung;
    rung.action = action;
    rung.reason = from && stage == *from ? "asked for by the operator" : to_string(diagnosis.fault);
    if (auto obstacle = obstacles_.find(action); obstacle != obstacles_.end()) {
      rung.outcome = StepOutcome::Skipped;
      rung.detail = obstacle->second;
    }
    rungs.push_back(std::move(rung));
  }
  return rungs;
}

Decision Ladder::action_done(bool ok, const std::string& detail, TimePoint now) {
  if (state_ != State::Acting) return {};
  if (!ok) {
    finish_step(StepOutcome::Failed, detail, now);
    return start_diagnosis(now);
  }
  steps_.back().detail = detail;
  state_ = State::Settling;
  deadline_ = now + settle_time(steps_.back().action);
  return {};
}

Millis Ladder::settle_time(Action action) const {
  auto it = policy_.settle.find(stage_of(action));
  Millis settle = it != policy_.settle.end() ? it->second : Seconds(30);
  return action == Action::Reboot ? settle + kBootTime : settle;
}

Decision Ladder::traffic_ok(TimePoint now) {
  switch (state_) {
    case State::Idle:
    case State::Acting: return {};
    case State::Settling: return recovered("traffic flows through the worker", now);
    case State::Diagnosing:
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
  state_ = State::Idle;
  runs_failed_ = 0;
  return {Decision::Kind::Recovered};
}

void Ladder::finish_step(StepOutcome outcome, const std::string& detail, TimePoint now) {
  StepRecord& step = steps_.back();
  step.outcome = outcome;
  if (!detail.empty()) step.detail = step.detail.empty() ? detail : step.detail + "; " + detail;
  step.took = std::chrono::duration_cast<Millis>(now - step.began);
}

Decision Ladder::tick(TimePoint now) {
  if (state_ == State::Idle || now < deadline_) return {};
  switch (state_) {
    case State::Idle: return {};
    case State::Diagnosing: {
      // Nobody could be asked; that is itself the finding.
      Evidence nothing;
      nothing.interface_present = nothing.link_up = nothing.has_address = nothing.routes_in_force = true;
      nothing.modem.api = ModemView::Api::NoAnswer;
      nothing.modem.api_error = "the diagnosis took too long";
      return diagnosed(diagnose(nothing), now);
    }
    case State::Acting:
      finish_step(StepOutcome::Failed, "not finished within " + format_duration(kActionDeadline), now);
      return start_diagnosis(now);
    case State::Settling:
      finish_step(StepOutcome::NoEffect, "no traffic within " + format_duration(settle_time(steps_.back().action)),
                  now);
      return start_diagnosis(now);
    case State::Waiting:
    case State::NoService:
      if (!policy_.enabled) {
        // Switched off meanwhile, or it was an operator's run: nothing by itself.
        state_ = State::Idle;
        return {};
      }
      steps_.clear();
      tried_.reset();
      from_.reset();
      return start_diagnosis(now);
  }
  return {};
}

void Ladder::cancel() {
  state_ = State::Idle;
  runs_failed_ = 0;
}

std::optional<TimePoint> Ladder::next_deadline() const {
  return state_ == State::Idle ? std::nullopt : std::optional(deadline_);
}

std::optional<Stage> Ladder::current_stage() const {
  if ((state_ != State::Acting && state_ != State::Settling) || steps_.empty()) return std::nullopt;
  return stage_of(steps_.back().action);
}

}  // namespace dongle
