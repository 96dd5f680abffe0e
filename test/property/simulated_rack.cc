#include "test/property/simulated_rack.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace dongle {
namespace {

// Outages a minute apart are no flaps: ten of them, and two that come before flapping is recognised. What isn't damped
// at all makes thirty.
constexpr std::size_t kMaxRuns = 12, kMaxChanges = 2 * kMaxRuns;

using std::chrono::hours;
using std::chrono::minutes;

constexpr std::size_t kTrace = 60;
constexpr const char* kCarriers[] = {"red", "green", "blue"};
constexpr const char* kKindNames[] = {"trouble", "probe",   "timer",     "looked",     "action_ends",
                                      "helper",  "leaves",  "returns",   "heals",      "flaps",
                                      "carrier", "targets", "hub_heals", "board_tick", "act"};
constexpr int kActMark = 14;

LadderPolicy ladder_policy() {
  LadderPolicy policy;
  policy.stages.assign(kStages.begin(), kStages.end());
  policy.settle = {{Stage::Route, Seconds(3)},
                   {Stage::Modem, Seconds(30)},
                   {Stage::Usb, Seconds(30)},
                   {Stage::PortPower, Seconds(60)},
                   {Stage::HubPower, Seconds(90)}};
  policy.retry_after = minutes(5);
  policy.data_off_time = Seconds(3);
  return policy;
}

/// A cure and what is stronger of its kind.
std::set<Action> from(Action weakest) {
  using enum Action;
  switch (weakest) {
    case RouteReset: return {RouteReset};
    case DataSwitch: return {DataSwitch, NetworkMode, Reboot, PortPower, HubPower};
    case NetworkMode: return {NetworkMode, Reboot, PortPower, HubPower};
    case Reboot: return {Reboot, PortPower, HubPower};
    case ModeSwitch: return {ModeSwitch};
    case UsbConfiguration: return {UsbConfiguration};
    case UsbRebind: return {UsbRebind, UsbReauthorize, PortPower, HubPower};
    case UsbReauthorize: return {UsbReauthorize, PortPower, HubPower};
    case PortPower: return {PortPower, HubPower};
    case HubPower: return {HubPower};
  }
  return {};
}

bool takes_the_hub(Action action) {
  return stage_of(action) >= Stage::Usb;
}
bool cuts_power(Action action) {
  return stage_of(action) >= Stage::PortPower;
}

}  // namespace

// ------------------------------------------------------------------------------------------------------- the world

SimulatedRack::SimulatedRack(std::uint64_t seed, HubPowerPolicy policy) : random_(seed), policy_(policy) {
  using enum PowerSwitching;
  plug({"1-1", PerPort, false, 0, false}, 1, 5);
  plug({"1-2", Ganged, false, 0, false}, 1, 4);
  plug({"1-3", PerPort, true, 0, false}, 1, 4);
  plug({"1-4", PerPort, false, 0, false}, 1, 3);  // 1-4.4 hangs on its port 4
  plug({"1-4.4", PerPort, false, 0, false}, 1, 4);
  plug({"2-1", PerPort, false, 6, false}, 1, 5);
  plug({"2-2", Ganged, false, 5, false}, 1, 4);
  plug({"2-3", Ganged, true, 0, false}, 1, 4);
  plug({"2-4", None, false, 0, false}, 1, 4);
  plug({"2-5", Ganged, false, 0, false}, 1, 3);
  for (const Hub& hub : hubs_) {
    HubFacts facts;
    facts.location = hub.path;
    facts.switching = hub.switching;
    for (int port = 1; port <= 6; ++port) {
      facts.ports[port].has_disable = true;
      facts.ports[port].hub_behind = hub.path == "1-4" && port == 4;
    }
    facts_[hub.path] = facts;
  }
  for (Stick& stick : sticks_) {
    push(now_ + between(Millis(0), Seconds(30)), Kind::Probe, index(stick), stick.probe_run);
    tell_board(stick);
  }
  push(now_ + Seconds(5), Kind::BoardTick);
  push(now_ + minutes(2), Kind::Trouble);
}

void SimulatedRack::plug(const Hub& hub, int first_port, int last_port) {
  hubs_.push_back(hub);
  for (int port = first_port; port <= last_port; ++port) {
    auto n = sticks_.size();
    sticks_.push_back({.id = DongleId{static_cast<unsigned>(n + 1)},
                       .path = usb_child(hub.path, port),
                       .hub = hubs_.size() - 1,
                       .carrier = n % 3,
                       .trouble = {},
                       .health = Health({Seconds(30), 3, 2}),
                       .ladder = Ladder(ladder_policy()),
                       .damper = {},
                       .acting = {},
                       .joined = {},
                       .changes = {},
                       .runs = {}});
  }
}

bool SimulatedRack::is_on_the_bus(const Stick& stick) const {
  return !stick.away && !hubs_[stick.hub].dead && !(stick.trouble && stick.trouble->symptom == Fault::StickMissing);
}

bool SimulatedRack::has_interface(const Stick& stick) const {
  if (!is_on_the_bus(stick)) return false;
  if (!stick.trouble) return true;
  Fault f = stick.trouble->symptom;
  return f != Fault::InterfaceGone && f != Fault::MassStorage && f != Fault::WrongConfiguration &&
         f != Fault::NotAuthorized;
}

bool SimulatedRack::has_traffic(const Stick& stick) const {
  return has_interface(stick) && !stick.trouble && !stick.flapped_down && !carrier_out_[stick.carrier] &&
         !targets_out_ && stick.acting != Action::DataSwitch && stick.acting != Action::NetworkMode;
}

Evidence SimulatedRack::look_at(const Stick& stick) const {
  Fault f = stick.trouble ? stick.trouble->symptom : Fault::None;
  Evidence seen;
  seen.interface_present = has_interface(stick);
  seen.link_up = seen.has_address = seen.interface_present;
  seen.routes_in_force = f != Fault::NoRoute;
  seen.usb.hub = hubs_[stick.hub].path;
  seen.usb.mode = seen.interface_present           ? UsbMode::Ethernet
                  : !is_on_the_bus(stick)          ? UsbMode::Missing
                  : f == Fault::MassStorage        ? UsbMode::MassStorage
                  : f == Fault::WrongConfiguration ? UsbMode::WrongConfiguration
                  : f == Fault::NotAuthorized      ? UsbMode::NotAuthorized
                                                   : UsbMode::NoInterface;
  if (f == Fault::ApiDead) {
    seen.modem.api = ModemView::Api::NoAnswer;
    return seen;
  }
  seen.modem.api = ModemView::Api::Answered;
  seen.modem.data_switch = f != Fault::DataSwitchedOff;
  seen.modem.sim_missing = f == Fault::SimMissing;
  seen.modem.connected = f != Fault::NotConnected && f != Fault::DataSwitchedOff && !carrier_out_[stick.carrier];
  return seen;
}

UsbTree SimulatedRack::tree() const {
  UsbTree tree;
  auto add = [&](const std::string& path, bool is_hub) -> UsbDevice& {
    UsbDevice& device = tree.devices[path];
    device.path = path;
    device.controller = path[0] == '1' || path == "usb1" ? "0000:00:14.0" : "0000:00:15.0";
    device.is_hub = is_hub;
    device.port_count = is_hub ? 6 : 0;
    return device;
  };
  add("usb1", true);
  add("usb2", true);
  for (const Hub& hub : hubs_) {
    add(hub.path, true);
    if (hub.foreign_port > 0 && !hub.dead) add(usb_child(hub.path, hub.foreign_port), false).product_name = "Keyboard";
  }
  for (const Stick& stick : sticks_)
    if (is_on_the_bus(stick)) add(stick.path, false).devnum = stick.devnum;
  return tree;
}

void SimulatedRack::make_trouble() {
  ++troubles_;
  if (!calm_) push(now_ + between(Seconds(1), Seconds(20)), Kind::Trouble);
  Stick& stick = sticks_[static_cast<std::size_t>(pick(static_cast<int>(sticks_.size())))];
  int what = pick(1000);
  if (what < 700) return break_stick(stick);  // the rest of the thousand: a quiet moment
  if (what < 760) {                           // it comes and goes
    if (stick.flapping) return;
    stick.flapping = true;
    return push(now_, Kind::Flaps, index(stick), 0, between(Seconds(20), minutes(15)).count() > 300'000 ? 60 : 12);
  }
  if (what < 775) return kill_hub(static_cast<std::size_t>(pick(static_cast<int>(hubs_.size()))));
  if (what < 785) {
    std::size_t carrier = static_cast<std::size_t>(pick(3));
    if (std::exchange(carrier_out_[carrier], true)) return;
    return push(now_ + between(Seconds(5), hours(1)), Kind::CarrierBack, carrier);
  }
  if (what < 790) {
    if (std::exchange(targets_out_, true)) return;
    targets_out_since_ = now_;
    return push(now_ + between(Seconds(5), hours(1)), Kind::TargetsBack);
  }
  if (what < 860) {  // a person comes by
    for (Stick& s : sticks_)
      if (s.trouble && s.trouble->cures.empty()) s.trouble.reset();
    return;
  }
  if (what < 900) {
    if (!stick.stopped && !stick.acting) {
      auto from_stage = chance(50) ? std::nullopt : std::optional(kStages[static_cast<std::size_t>(pick(5))]);
      if (from_stage || stick.health.verdict() == Verdict::Down) follow(stick, stick.ladder.recover(from_stage, now_));
    }
    return settle(stick);
  }
  if (what < 930) {
    if (stick.acting) return;
    stick.stopped = !stick.stopped;
    stick.ladder.cancel();
    stick.health.reset();
    stick.diagnosed = false;
    return settle(stick);
  }
  if (what < 933) return restart_daemon();
  // Every hub was exchanged, as far as the daemon can tell.
  if (what < 945) memory_ = HubMemory();
}

void SimulatedRack::break_stick(Stick& stick) {
  if (stick.trouble || stick.away || stick.flapping) return;
  using enum Action;
  struct Ailment {
    Fault symptom;
    std::optional<Action> cure;
  };
  static const Ailment kTroubles[] = {
      {Fault::NoRoute, RouteReset},
      {Fault::NoEgress, DataSwitch},
      {Fault::NotConnected, DataSwitch},
      {Fault::DataSwitchedOff, DataSwitch},
      {Fault::NoEgress, NetworkMode},
      {Fault::NotConnected, Reboot},
      {Fault::NoEgress, Reboot},
      {Fault::NoEgress, PortPower},
      {Fault::ApiDead, UsbRebind},
      {Fault::ApiDead, UsbReauthorize},
      {Fault::ApiDead, PortPower},
      {Fault::InterfaceGone, UsbRebind},
      {Fault::InterfaceGone, UsbReauthorize},
      {Fault::InterfaceGone, PortPower},
      {Fault::StickMissing, PortPower},
      {Fault::MassStorage, ModeSwitch},
      {Fault::WrongConfiguration, UsbConfiguration},
      {Fault::NotAuthorized, UsbReauthorize},
      {Fault::SimMissing, std::nullopt},
      {Fault::NoEgress, std::nullopt},
      {Fault::StickMissing, std::nullopt},
  };
  const Ailment& trouble = kTroubles[static_cast<std::size_t>(pick(std::size(kTroubles)))];
  if (!trouble.cure && !chance(20)) return;
  bool was_there = has_interface(stick);
  stick.trouble = Trouble{trouble.symptom, trouble.cure ? from(*trouble.cure) : std::set<Action>{}};
  if (chance(15)) push(now_ + between(Seconds(1), minutes(20)), Kind::Heals, index(stick));
  // A device that goes is seen at once.
  if (was_there && !has_interface(stick)) push(now_ + Millis(100), Kind::Probe, index(stick), ++stick.probe_run);
}

void SimulatedRack::kill_hub(std::size_t hub) {
  Hub& h = hubs_[hub];
  if (std::exchange(h.dead, true)) return;
  if (chance(40) || h.lies || h.switching == PowerSwitching::None || policy_ == HubPowerPolicy::Never)
    push(now_ + between(Seconds(5), minutes(30)), Kind::HubHeals, hub);
  for (Stick& stick : sticks_)
    if (stick.hub == hub) push(now_ + between(Millis(50), Millis(600)), Kind::Probe, index(stick), ++stick.probe_run);
}

void SimulatedRack::restart_daemon() {
  WallTime wall = WallTime{} + hours(500'000) + std::chrono::duration_cast<Millis>(now_.time_since_epoch());
  Json spent = board_.to_json(now_, wall);
  board_ = RecoveryBoard();
  board_.load(spent, now_, wall);
  for (Stick& stick : sticks_) {
    if (stick.acting) finish(stick, *stick.acting, false);  // undone by the next run
    stick.health.reset();
    stick.ladder = Ladder(ladder_policy());
    stick.damper = FlapDamper();
    stick.changes.clear();
    stick.runs.clear();
    stick.shown_up = true;
    stick.diagnosed = false;
    stick.busy = false;
    stick.joined.clear();
    ++stick.look_run;
    settle(stick);
  }
}

void SimulatedRack::cure(Stick& stick, Action action) {
  if (stick.trouble && stick.trouble->cures.contains(action)) {
    stick.trouble.reset();
    // Booted, it may show its installation disk.
    if ((cuts_power(action) || action == Action::Reboot) && chance(20))
      stick.trouble = Trouble{Fault::MassStorage, from(Action::ModeSwitch)};
  }
}

// ------------------------------------------------------------------------------------------------------ the wiring

bool SimulatedRack::serves(const Stick& stick) const {
  return !stick.stopped && stick.health.verdict() != Verdict::Down && stick.ladder.state() == Ladder::State::Idle;
}

Condition SimulatedRack::condition(const Stick& stick) const {
  using enum Condition::Kind;
  Condition c;
  c.hub = hubs_[stick.hub].path;
  c.controller = c.hub[0] == '1' ? "0000:00:14.0" : "0000:00:15.0";
  c.carrier = kCarriers[stick.carrier];
  c.fault = stick.diagnosed ? stick.ladder.diagnosis().fault : Fault::None;
  Ladder::State state = stick.ladder.state();
  if (stick.stopped)
    c.kind = Stopped;
  else if (stick.ladder.has_joined())
    c.kind = Unknown;
  else if (state == Ladder::State::NoService)
    c.kind = NoService;
  else if (state != Ladder::State::Idle || stick.health.verdict() == Verdict::Down)
    c.kind = Down;
  else if (stick.health.verdict() == Verdict::Suspect)
    c.kind = Suspect;
  else if (stick.health.verdict() == Verdict::Up)
    c.kind = Healthy;
  if (c.kind == Healthy || c.kind == Unknown) c.fault = Fault::None;
  return c;
}

void SimulatedRack::tell_board(Stick& stick) {
  if (board_.note(stick.id, condition(stick), now_)) let_others_look();
}

void SimulatedRack::let_others_look() {
  for (Stick& stick : sticks_)
    if (stick.ladder.state() == Ladder::State::Held) {
      follow(stick, stick.ladder.look_again(now_));
      schedule(stick);
    }
}

PowerPlan SimulatedRack::plan_power(const Stick& stick, Action action) {
  std::vector<DongleStanding> standings;
  for (const Stick& s : sticks_) standings.push_back({s.id, s.path, serves(s), serves(s) ? "online" : "failed"});
  static const std::vector<HubConfig> kNoNames;
  static const std::map<std::string, std::string> kNoneHeld;
  UsbTree seen = tree();
  WallTime wall = WallTime{} + std::chrono::duration_cast<Millis>(now_.time_since_epoch());
  PowerView view{seen, facts_, kNoNames, memory_, standings, kNoneHeld, wall};
  return action == Action::PortPower ? plan_port_power(view, stick.id) : plan_hub_power(view, stick.id, policy_);
}

Obstacles SimulatedRack::obstacles(const Stick& stick) {
  Evidence seen = look_at(stick);
  Obstacles found = usb_obstacles(seen.usb);
  if (!seen.interface_present) found[Action::RouteReset] = {Obstacle::Kind::Skip, "no device", {}};
  if (!seen.interface_present || seen.modem.api != ModemView::Api::Answered)
    for (Action action : {Action::DataSwitch, Action::NetworkMode, Action::Reboot})
      found[action] = {Obstacle::Kind::Skip, "no API", {}};
  for (Action action : {Action::PortPower, Action::HubPower})
    if (PowerPlan plan = plan_power(stick, action); !plan.allowed())
      found[action] = {Obstacle::Kind::Skip, plan.obstacle, {}};
  board_.add_obstacles(stick.id, stages_, found, now_);
  return found;
}

void SimulatedRack::follow(Stick& stick, const Decision& decision) {
  switch (decision.kind) {
    case Decision::Kind::None:
    case Decision::Kind::Hold: break;
    case Decision::Kind::Diagnose:
      // One in fifty never comes back from the modem.
      if (!chance(2)) push(now_ + between(Millis(20), Seconds(2)), Kind::Looked, index(stick), ++stick.look_run);
      break;
    case Decision::Kind::DiagnoseNow: look(stick); break;
    case Decision::Kind::Act: act(stick, decision.action); break;
    case Decision::Kind::Recovered: ++recoveries_; [[fallthrough]];
    case Decision::Kind::GiveUp:
    case Decision::Kind::NoService: break;
  }
}

void SimulatedRack::look(Stick& stick) {
  Diagnosis found = diagnose(look_at(stick));
  stick.diagnosed = true;
  Condition told = condition(stick);
  told.fault = found.fault;
  if (board_.note(stick.id, told, now_)) let_others_look();
  stick.ladder.set_obstacles(obstacles(stick));
  follow(stick, stick.ladder.diagnosed(found, now_));
}

void SimulatedRack::act(Stick& stick, Action action) {
  ++done_[static_cast<std::size_t>(action)];
  note({now_, 0, static_cast<Kind>(kActMark), index(stick), 0, static_cast<int>(action)});
  check_alone(stick, action);
  check_budget(stick, action);
  check_calm(stick, action);
  deeds_.push_back({now_, action, index(stick), stick.hub});
  stick.acting = action;
  ++stick.probe_run;
  board_.begin(stick.id, action, now_);
  unsigned run = ++stick.action_run;
  Hub& hub = hubs_[stick.hub];
  if (chance(1)) {  // stuck in the kernel or lost in the modem: the ladder gives up on it
    push(now_ + between(minutes(1), minutes(20)), Kind::HelperEnds, index(stick), run);
    return;
  }
  bool ok = !chance(5);
  Millis takes = between(Millis(50), Seconds(15));
  switch (action) {
    case Action::RouteReset: takes = Millis(50); break;
    case Action::DataSwitch:
    case Action::NetworkMode: break;
    case Action::Reboot:
      takes = Seconds(1);
      // One in five is accepted and never done.
      if (ok && !chance(20)) push(now_ + between(Seconds(2), Seconds(10)), Kind::Leaves, index(stick), 0, 1);
      break;
    case Action::ModeSwitch:
    case Action::UsbConfiguration:
    case Action::UsbRebind:
    case Action::UsbReauthorize: on_leaves(stick); break;
    case Action::PortPower:
    case Action::HubPower: {
      PowerPlan plan = plan_power(stick, action);
      check_cut(stick, action, plan);
      if (hub.lies) {
        ok = false;
        takes = Seconds(3);
        WallTime wall = WallTime{} + std::chrono::duration_cast<Millis>(now_.time_since_epoch());
        memory_.learn({hub.path, 0, 0}, action == Action::HubPower ? HubMemory::kWholeHub : usb_port(stick.path),
                      {false, wall, "simulated"});
        break;
      }
      ok = true;
      takes = between(Seconds(8), Seconds(50));
      begin_cut(stick, action, plan);
      break;
    }
  }
  push(now_ + takes, Kind::ActionEnds, index(stick), run, ok);
}

void SimulatedRack::begin_cut(Stick& stick, Action action, const PowerPlan& plan) {
  for (const PortCut& cut : plan.cuts)
    for (Stick& other : sticks_) {
      if (other.path != usb_child(cut.port.hub, cut.port.port)) continue;
      if (other.id != stick.id && !other.stopped) {
        if (other.acting) {  // a modem's: given up
          ++other.action_run;
          other.acting.reset();
          board_.end(other.id, now_);
        }
        ++other.look_run;
        other.ladder.join(action, "power of dongle " + std::to_string(stick.id.value), now_);
        stick.joined.push_back(other.id);
      }
      on_leaves(other);
      if (other.id != stick.id) settle(other);
    }
}

/// An action's effect on the world, and the end of it on the board.
void SimulatedRack::finish(Stick& stick, Action action, bool ok) {
  stick.acting.reset();
  ++stick.action_run;
  auto back = [&](Stick& s) {
    if (!s.away) return;
    s.away = false;
    ++s.devnum;
  };
  if (ok && action != Action::Reboot) cure(stick, action);
  if (ok && action == Action::HubPower) hubs_[stick.hub].dead = false;
  if (takes_the_hub(action)) back(stick);
  for (Stick& other : sticks_) {  // also a stopped one that was cut with the hub
    if (action != Action::HubPower || other.hub != stick.hub || other.id == stick.id || !other.away) continue;
    if (ok) cure(other, action);
    back(other);
  }
  board_.end(stick.id, now_);
}

void SimulatedRack::on_leaves(Stick& stick) {
  stick.away = true;
  stick.ladder.device_left(now_);
}

void SimulatedRack::on_returns(Stick& stick) {
  bool is_cut = std::ranges::any_of(sticks_, [&](const Stick& s) {
    return s.acting && takes_the_hub(*s.acting) && (s.id == stick.id || std::ranges::count(s.joined, stick.id) > 0);
  });
  if (!stick.away || is_cut) return;
  stick.away = false;
  ++stick.devnum;
  cure(stick, Action::Reboot);
  if (!has_interface(stick)) {
    follow(stick, stick.ladder.usb_seen(look_at(stick).usb, now_));
  } else {
    stick.ladder.device_back(now_);
  }
  settle(stick);
}

void SimulatedRack::on_probe(Stick& stick) {
  ++stick.probe_run;
  if (!stick.stopped && stick.ladder.state() != Ladder::State::Acting) {
    bool ok = has_traffic(stick);
    stick.health.on_probe(ok, ok ? "" : "simulated", now_);
    if (ok) follow(stick, stick.ladder.traffic_ok(now_));
  }
  settle(stick);
}

void SimulatedRack::on_timer(Stick& stick) {
  bool was_damped = stick.ladder.hold() && !stick.ladder.hold()->action;
  Decision decision = stick.ladder.tick(now_);
  if (was_damped && decision.kind == Decision::Kind::Diagnose) stick.runs.push_back(now_);
  follow(stick, decision);
}

/// What follows from whatever has just happened to a stick.
void SimulatedRack::settle(Stick& stick) {
  Verdict verdict = stick.health.verdict();
  if (verdict == Verdict::Up) {
    stick.diagnosed = stick.diagnosed && stick.ladder.state() != Ladder::State::Idle;
    stick.damper.on_up(now_);
  }
  if (verdict == Verdict::Down && !stick.stopped) {
    stick.damper.on_down(now_);
    tell_board(stick);
    if (stick.ladder.state() == Ladder::State::Idle) {
      auto not_yet = stick.damper.admit_run(now_);
      if (!not_yet) stick.runs.push_back(now_);
      follow(stick, stick.ladder.down(now_, not_yet));
    }
  }
  bool shown = stick.damper.shows_up(now_);
  if (shown != stick.shown_up) {
    stick.shown_up = shown;
    stick.changes.push_back(now_);
    if (stick.changes.size() > kMaxChanges &&
        now_ - stick.changes[stick.changes.size() - 1 - kMaxChanges] < minutes(10))
      broken(fmt::format("dongle {} was reported more than {} times in ten minutes", stick.id, kMaxChanges));
    if (stick.changes.size() > 2 * kMaxChanges) stick.changes.pop_front();
  }
  check_ends(stick);
  tell_board(stick);
  schedule(stick);
}

void SimulatedRack::schedule(Stick& stick) {
  auto due = stick.ladder.next_deadline();
  if (auto change = stick.damper.next_change(); change && (!due || *change < *due)) due = change;
  if (due) push(std::max(*due, now_ + Millis(1)), Kind::Timer, index(stick), ++stick.timer_run);
  Millis wait = std::chrono::ceil<Millis>(stick.health.next_probe_at() - now_);
  if (stick.ladder.state() == Ladder::State::Settling) wait = std::min(wait, Millis(500));
  if (stick.ladder.state() == Ladder::State::Held || stick.ladder.state() == Ladder::State::Waiting ||
      stick.ladder.state() == Ladder::State::NoService)
    wait = Seconds(30);
  if (stick.stopped) wait = minutes(5);
  push(now_ + std::max(wait, Millis(100)), Kind::Probe, index(stick), ++stick.probe_run);
}

void SimulatedRack::deliver(const Event& event) {
  Stick& stick = sticks_[event.who < sticks_.size() ? event.who : 0];
  switch (event.kind) {
    case Kind::Trouble: return make_trouble();
    case Kind::Probe:
      if (event.run == stick.probe_run) on_probe(stick);
      return;
    case Kind::Timer:
      if (event.run != stick.timer_run) return;
      on_timer(stick);
      return settle(stick);
    case Kind::Looked:
      if (event.run != stick.look_run || stick.ladder.state() != Ladder::State::Diagnosing) return;
      look(stick);
      return settle(stick);
    case Kind::ActionEnds:
    case Kind::HelperEnds: {
      if (event.run != stick.action_run || !stick.acting) return;
      Action action = *stick.acting;
      bool ok = event.kind == Kind::ActionEnds && event.what != 0;
      finish(stick, action, ok);
      if (takes_the_hub(action)) ok = ok && is_on_the_bus(stick);
      stick.health.reset();
      if (has_interface(stick)) stick.ladder.device_back(now_);
      follow(stick, stick.ladder.action_done(ok, "simulated", now_));
      if (ok && takes_the_hub(action)) follow(stick, stick.ladder.usb_seen(look_at(stick).usb, now_));
      settle(stick);
      for (DongleId id : std::exchange(stick.joined, {})) {
        Stick& other = at(id);
        other.health.reset();
        if (other.ladder.has_joined()) {
          if (has_interface(other)) other.ladder.device_back(now_);
          follow(other, other.ladder.action_done(ok, "simulated", now_));
        }
        settle(other);
      }
      return let_others_look();
    }
    case Kind::Leaves:
      // A reboot that was overtaken by something else isn't told here.
      if (stick.acting || stick.away) return;
      on_leaves(stick);
      push(now_ + between(Seconds(20), Seconds(50)), Kind::Returns, event.who);
      return settle(stick);
    case Kind::Returns: return on_returns(stick);
    case Kind::Heals: stick.trouble.reset(); return;
    case Kind::Flaps:
      stick.flapped_down = event.what > 0 && !stick.flapped_down;
      stick.flapping = event.what > 0;
      if (event.what > 0) push(now_ + Seconds(10), Kind::Flaps, event.who, 0, calm_ ? 0 : event.what - 1);
      return;
    case Kind::CarrierBack: carrier_out_[event.who] = false; return;
    case Kind::TargetsBack: targets_out_ = false; return;
    case Kind::HubHeals: hubs_[event.who].dead = false; return;
    case Kind::BoardTick:
      push(now_ + Seconds(5), Kind::BoardTick);
      if (board_.tick(now_)) let_others_look();
      while (!deeds_.empty() && now_ - deeds_.front().at >= hours(1)) deeds_.pop_front();
      return;
  }
}

// ----------------------------------------------------------------------------------------------------- the promises

void SimulatedRack::broken(std::string promise) {
  if (!violation_) violation_ = std::move(promise);
}

void SimulatedRack::check_alone(const Stick& stick, Action action) {
  if (stick.acting)
    broken(
        fmt::format("dongle {}: {} while its {} is under way", stick.id, to_string(action), to_string(*stick.acting)));
  if (!takes_the_hub(action)) return;
  for (const Stick& other : sticks_) {
    if (other.hub != stick.hub || other.id == stick.id || !other.acting) continue;
    if (takes_the_hub(*other.acting) || (action == Action::HubPower && *other.acting != Action::RouteReset))
      broken(fmt::format("hub {}: {} of dongle {} while {} of dongle {} is under way", hubs_[stick.hub].path,
                         to_string(action), stick.id, to_string(*other.acting), other.id));
  }
}

void SimulatedRack::check_cut(const Stick& stick, Action action, const PowerPlan& plan) {
  const Hub& hub = hubs_[stick.hub];
  if (action == Action::HubPower && policy_ == HubPowerPolicy::Never)
    broken("a hub's power was cut; the policy is never");
  std::set<std::string> loses;
  for (const PortCut& cut : plan.cuts) loses.insert(usb_child(cut.port.hub, cut.port.port));
  if (hub.switching == PowerSwitching::Ganged)
    for (int port = 1; port <= 6; ++port) loses.insert(usb_child(hub.path, port));
  if (loses.empty()) broken(fmt::format("dongle {}: {} without a plan", stick.id, to_string(action)));
  if (hub.foreign_port > 0 && !hub.dead && loses.contains(usb_child(hub.path, hub.foreign_port)))
    broken(fmt::format("hub {}: a foreign device loses its power", hub.path));
  for (const Hub& other : hubs_)
    if (loses.contains(other.path)) broken(fmt::format("hub {} loses its power with dongle {}", other.path, stick.id));
  for (const Stick& other : sticks_)
    if (other.id != stick.id && loses.contains(other.path) && serves(other))
      broken(fmt::format("healthy dongle {} loses its power with dongle {}", other.id, stick.id));
}

// Counted anew from what was done; the numbers stand here on purpose once more.
void SimulatedRack::check_budget(const Stick& stick, Action action) {
  auto count = [&](Millis window, auto belongs) {
    return std::ranges::count_if(
        deeds_, [&](const Deed& deed) { return deed.action == action && now_ - deed.at < window && belongs(deed); });
  };
  auto same_stick = [&](const Deed& deed) { return deed.stick == index(stick); };
  auto same_hub = [&](const Deed& deed) { return deed.hub == stick.hub; };
  auto any = [](const Deed&) { return true; };
  auto allow = [&](const char* whose, std::ptrdiff_t most, Millis window, auto belongs) {
    if (count(window, belongs) >= most)
      broken(fmt::format("dongle {}: {} goes over the budget of its {}", stick.id, to_string(action), whose));
  };
  switch (action) {
    case Action::RouteReset: return;
    case Action::DataSwitch:
    case Action::NetworkMode:
    case Action::ModeSwitch:
    case Action::UsbConfiguration:
    case Action::UsbRebind:
    case Action::UsbReauthorize: return allow("stick", 6, hours(1), same_stick);
    case Action::Reboot: return allow("stick", 3, hours(1), same_stick);
    case Action::PortPower:
      allow("stick", 3, hours(1), same_stick);
      allow("hub", 10, minutes(10), same_hub);
      return allow("host", 20, minutes(10), any);
    case Action::HubPower:
      allow("stick", 2, hours(1), same_stick);
      allow("hub", 1, minutes(10), same_hub);
      return allow("host", 3, minutes(10), any);
  }
}

/// Power stays on while nothing passes anywhere, but for a person who says otherwise.
void SimulatedRack::check_calm(const Stick& stick, Action action) {
  bool is_known = targets_out_ && now_ - targets_out_since_ > minutes(2);
  bool is_operators = stick.ladder.steps().back().reason == "asked for by the operator";
  if (is_known && cuts_power(action) && !is_operators)
    broken(fmt::format("dongle {}: {} while nothing passes anywhere", stick.id, to_string(action)));
}

void SimulatedRack::check_ends(Stick& stick) {
  bool busy = stick.ladder.is_running();
  if (!busy) {
    stick.busy = false;
    return;
  }
  if (!std::exchange(stick.busy, true)) stick.busy_since = now_;
  // Ten actions, each with its deadline, its boot and its settling.
  if (now_ - stick.busy_since > hours(1))
    broken(fmt::format("dongle {}: its ladder has been busy for an hour", stick.id));
  if (stick.runs.size() > kMaxRuns && stick.runs.back() - stick.runs[stick.runs.size() - 1 - kMaxRuns] < minutes(10))
    broken(fmt::format("dongle {}: more than {} runs of the ladder in ten minutes", stick.id, kMaxRuns));
  while (stick.runs.size() > 2 * kMaxRuns) stick.runs.pop_front();
}

bool SimulatedRack::can_be_mended(const Stick& stick) const {
  const Hub& hub = hubs_[stick.hub];
  if (stick.stopped) return false;
  if (hub.dead) return true;  // kill_hub() lets those heal that no cut can mend
  if (!stick.trouble) return true;
  return std::ranges::any_of(stick.trouble->cures, [&](Action action) {
    if (action == Action::HubPower) return false;  // hangs on its neighbours
    if (action == Action::PortPower) return hub.switching == PowerSwitching::PerPort && !hub.lies;
    return true;
  });
}

// -------------------------------------------------------------------------------------------------------- the clock

void SimulatedRack::push(TimePoint when, Kind kind, std::size_t who, unsigned run, int what) {
  queue_.push({when, ++order_, kind, who, run, what});
}

void SimulatedRack::note(const Event& event) {
  trace_.push_back(event);
  if (trace_.size() > kTrace) trace_.pop_front();
  for (std::uint64_t value :
       {static_cast<std::uint64_t>(event.at.time_since_epoch().count()), static_cast<std::uint64_t>(event.kind),
        static_cast<std::uint64_t>(event.who), static_cast<std::uint64_t>(event.what)})
    hash_ = (hash_ ^ value) * 1099511628211u;
}

void SimulatedRack::step() {
  Event event = queue_.top();
  queue_.pop();
  now_ = event.at;
  // Superseded: it isn't delivered.
  if (event.kind == Kind::Probe && event.run != sticks_[event.who].probe_run) return;
  if (event.kind == Kind::Timer && event.run != sticks_[event.who].timer_run) return;
  ++events_;
  note(event);
  deliver(event);
}

void SimulatedRack::run(std::size_t events) {
  while (events_ < events && !violation_) step();
}

std::string SimulatedRack::last_events() const {
  std::string text;
  for (const Event& e : trace_) {
    bool is_act = static_cast<int>(e.kind) == kActMark;
    text += fmt::format("{:>12} ms  {:<12} {:>3}  {}\n",
                        std::chrono::duration_cast<Millis>(e.at.time_since_epoch()).count(),
                        kKindNames[static_cast<std::size_t>(e.kind)], e.who + 1,
                        is_act ? to_string(static_cast<Action>(e.what)) : std::to_string(e.what));
  }
  return text;
}

void SimulatedRack::calm_down(Millis longest) {
  calm_ = true;
  TimePoint end = now_ + longest;
  auto all_well = [this] {
    return std::ranges::none_of(sticks_, [this](const Stick& s) { return can_be_mended(s) && !s.shown_up; });
  };
  while (!violation_ && now_ < end && !all_well()) step();
  if (violation_) return;
  for (const Stick& s : sticks_)
    if (can_be_mended(s) && !s.shown_up)
      broken(fmt::format("dongle {} at {} could be mended of {} and was not within {}", s.id, s.path,
                         hubs_[s.hub].dead ? "its hub's death"
                         : s.trouble       ? to_string(s.trouble->symptom)
                                           : "nothing",
                         format_duration(longest)));
}

}  // namespace dongle
