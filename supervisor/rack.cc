#include "supervisor/rack.h"

#include <algorithm>
#include <iterator>

#include <nlohmann/json.hpp>

#include "common/log.h"

namespace dongle {
namespace {

constexpr Millis kTick = Seconds(5);
// A hub that said nothing is asked again after this.
constexpr Millis kAskHubsAgain = Seconds(30);
// How often a hub's siblings are asked whether their connections have ended; workers report once a second.
constexpr Millis kDrainLook{200};
// A port that was left off is on again within a second, if its hub answers at all.
constexpr Millis kUndoLook = Seconds(1);
// How long the end of the process waits for ports that are to be on again; then the next start goes on with them.
constexpr Millis kUndoPatience = Seconds(3);

bool is_ladders(Action action) {
  return stage_of(action) >= Stage::Usb;
}

Json read_document(const std::string& path) {
  auto file = read_state_file(path);
  if (file) return *file;
  if (file.error().code != Errc::NotFound) log_event(LogEvent::state_read_failed, {{"reason", file.error().message()}});
  return Json::object();
}

}  // namespace

Rack::Rack(UvLoop& loop, IntentLog& intents, const std::string& usb_helper, const std::string& state_dir)
    : loop_(loop),
      actions_(loop, intents, usb_helper, state_dir + "/hubs.json"),
      identities_(IdentityTable::from_json(read_document(state_dir + "/identities.json"))),
      budgets_file_(loop, state_dir + "/budgets.json"),
      identities_file_(loop, state_dir + "/identities.json"),
      look_again_timer_(loop),
      tick_timer_(loop) {
  board_.load(read_document(state_dir + "/budgets.json"), UvLoop::now(), std::chrono::system_clock::now());
}

Rack::~Rack() = default;

void Rack::start() {
  auto watch = UsbWatch::open(loop_);
  if (watch) {
    watch_ = std::move(*watch);
    watch_->on_change([this] { on_usb_change(); });
  } else {
    log_event(LogEvent::usb_unavailable, {{"reason", watch.error().message()}});
  }
  on_usb_change();
  actions_.undo_pending();
  tick_timer_.repeat(kTick, [this] {
    if (board_.tick(UvLoop::now())) tell_look_again();
    bool is_hub_unknown = std::ranges::any_of(tree().devices, [this](const auto& entry) {
      return entry.second.is_hub && !actions_.hub_facts().contains(entry.first);
    });
    if (!is_hub_unknown || UvLoop::now() < ask_hubs_at_) return;
    ask_hubs_at_ = UvLoop::now() + kAskHubsAgain;
    actions_.refresh_hub_facts({});
  });
}

void Rack::configure(const Config& config) {
  hubs_ = config.hubs;
  recovery_ = config.recovery;
}

void Rack::add(DongleId id, RackMember& member) {
  members_[id] = &member;
}

void Rack::remove(DongleId id, const RackMember& member) {
  auto it = members_.find(id);
  if (it == members_.end() || it->second != &member) return;
  cancel(id);
  members_.erase(id);
  if (board_.remove(id)) tell_look_again();
}

void Rack::shut_down(std::function<void()> done) {
  tick_timer_.stop();
  look_again_timer_.stop();
  for (auto& [id, cut] : std::exchange(cuts_, {})) actions_.cancel(id);
  operators_.clear();
  actions_.shut_down(kUndoPatience, std::move(done));
}

// -------------------------------------------------------------------------------------------------- what is plugged

void Rack::rescan() {
  if (watch_) watch_->rescan();
}

const UsbTree& Rack::tree() const {
  return watch_ ? watch_->tree() : no_usb_;
}

UsbSight Rack::sight(const std::string& usb_path) const {
  return sight_of(tree(), usb_path);
}

std::string Rack::resolve(const std::string& usb_path) const {
  return resolve_usb_path(tree(), usb_path);
}

void Rack::on_usb_change() {
  for (const auto& [path, device] : tree().devices)
    if (!device.is_hub) seen_ports_.insert(path);
  actions_.on_tree(tree());
  if (on_change_) on_change_();
  for (auto& [id, member] : members_) member->on_usb_change();
}

std::string Rack::observe(const Identity& seen) {
  IdentityReport report = identities_.observe(seen);
  if (report.is_news) identities_file_.write(identities_.to_json());
  if (!report.is_change()) return {};
  log_event(LogEvent::identity_changed, {{"dongle", seen.dongle},
                                         {"usb_path", seen.port},
                                         {"imei", seen.imei},
                                         {"iccid", seen.iccid},
                                         {"change", report.text}});
  return report.text;
}

bool Rack::knows_port(const std::string& usb_path) const {
  std::string port = resolve(usb_path);
  return seen_ports_.contains(port) || identities_.knows(port);
}

// -------------------------------------------------------------------------------------------------------- judgement

void Rack::note(DongleId id, const Condition& condition) {
  if (board_.note(id, condition, UvLoop::now())) tell_look_again();
}

// From the loop: whoever caused it is in the middle of a decision.
void Rack::tell_look_again() {
  look_again_timer_.start(Millis{0}, [this] {
    for (auto& [id, member] : members_) member->look_again();
  });
}

std::string Rack::shared_failure(DongleId id) const {
  Scope scope = board_.scope(id);
  return scope.kind == Scope::Kind::Stick ? "" : scope.evidence;
}

std::vector<DongleStanding> Rack::standings() const {
  std::vector<DongleStanding> all;
  for (const auto& [id, member] : members_) {
    all.push_back(member->standing());
    all.back().is_powered_off = powered_off_.contains(id);
  }
  return all;
}

PowerView Rack::view(const std::vector<DongleStanding>& standings) const {
  return {tree(),
          actions_.hub_facts(),
          hubs_,
          actions_.memory(),
          standings,
          actions_.held_hubs(),
          std::chrono::system_clock::now()};
}

void Rack::add_obstacles(DongleId id, Obstacles& obstacles) const {
  auto now = UvLoop::now();
  auto all = standings();
  auto judge = [&](Action action, const PowerPlan& plan) {
    if (plan.allowed() || obstacles.contains(action)) return;
    obstacles[action] = {plan.is_held ? Obstacle::Kind::Later : Obstacle::Kind::Skip, plan.obstacle,
                         now + RecoveryBoard::kLookAgain};
  };
  judge(Action::PortPower, plan_port_power(view(all), id));
  judge(Action::HubPower, plan_hub_power(view(all), id, recovery_.hub_power));
  board_.add_obstacles(id, recovery_.stages, obstacles, now);
  // What the board takes for ended may still be put right: a port that an action has left off.
  auto self = std::ranges::find(all, id, &DongleStanding::id);
  if (self == all.end() || self->usb_path.empty() || !actions_.is_hub_busy(usb_parent(self->usb_path))) return;
  for (Action action : kActions)
    if (is_ladders(action))
      obstacles.try_emplace(action, Obstacle{Obstacle::Kind::Later,
                                             "the power of its hub's ports is still being put right", now + kUndoLook});
}

void Rack::begin(DongleId id, Action action) {
  board_.begin(id, action, UvLoop::now());
  if (is_ladders(action)) budgets_file_.write(board_.to_json(UvLoop::now(), std::chrono::system_clock::now()));
}

void Rack::end(DongleId id) {
  if (board_.end(id, UvLoop::now())) tell_look_again();
}

// ---------------------------------------------------------------------------------------------------------- actions

void Rack::act(DongleId id, Action action, int attempt, Done done) {
  begin(id, action);
  auto finished = [this, id, done = std::move(done)](Result<std::string> outcome) {
    end(id);
    done(std::move(outcome));
  };
  std::string path = members_.at(id)->standing().usb_path;
  switch (action) {
    case Action::ModeSwitch: return actions_.mode_switch(id, path, finished);
    case Action::UsbConfiguration: return actions_.set_configuration(id, path, finished);
    case Action::UsbRebind: return actions_.rebind(id, path, finished);
    case Action::UsbReauthorize: return actions_.reauthorize(id, path, finished);
    case Action::PortPower:
    case Action::HubPower: {
      auto all = standings();
      PowerPlan plan = action == Action::PortPower ? plan_port_power(view(all), id)
                                                   : plan_hub_power(view(all), id, recovery_.hub_power);
      return cut_power(
          id, plan, siblings(plan), fmt::format("the power of hub {} is cycled for dongle {}", plan.hub_name, id),
          [this, id, plan, attempt](Done then) { actions_.power_cycle(id, plan, attempt, std::move(then)); }, finished);
    }
    case Action::RouteReset:
    case Action::DataSwitch:
    case Action::NetworkMode:
    case Action::Reboot: CHECK(false && "not the rack's");
  }
}

std::vector<DongleId> Rack::siblings(const PowerPlan& plan) const {
  std::vector<DongleId> found;
  for (const Bystander& other : plan.bystanders)
    if (other.id && members_.contains(*other.id)) found.push_back(*other.id);
  return found;
}

/// Tells the siblings, lets the connections of those who serve come to an end, cuts, and tells them again.
void Rack::cut_power(DongleId id, const PowerPlan& plan, std::vector<DongleId> told, const std::string& reason,
                     std::function<void(Done)> cut, Done done) {
  Cut& mine = cuts_[id];
  mine.timer = std::make_unique<Timer>(loop_);
  mine.drain_until = UvLoop::now() + kDrainTime;
  if (plan.allowed()) {
    mine.told = std::move(told);
    // What hangs open on a stick that is down will not come to an end by itself.
    std::ranges::copy_if(mine.told, std::back_inserter(mine.draining),
                         [this](DongleId one) { return members_.at(one)->standing().serves; });
    mine.go = [this, id, cut = std::move(cut), done = std::move(done)] {
      cut([this, id, done](Result<std::string> outcome) {
        end_cut(id, outcome.has_value(), outcome ? *outcome : outcome.error().message());
        done(std::move(outcome));
      });
    };
    for (DongleId one : mine.told)
      members_.at(one)->on_power_cut(plan.kind == PowerPlan::Kind::Port ? Action::PortPower : Action::HubPower, reason);
  } else {
    mine.go = [this, id, done = std::move(done), text = plan.obstacle] {
      end_cut(id, false, text);
      done(fail(Errc::Refused, "{}", text));
    };
  }
  drain(id);
}

void Rack::drain(DongleId id) {
  Cut& mine = cuts_.at(id);
  bool busy = std::ranges::any_of(mine.draining, [this](DongleId other) {
    auto it = members_.find(other);
    return it != members_.end() && it->second->connections() > 0;
  });
  if (busy && UvLoop::now() < mine.drain_until) return mine.timer->start(kDrainLook, [this, id] { drain(id); });
  // From the loop: the ladder is in the middle of its decision.
  mine.timer->start(Millis{0}, [this, id] { std::exchange(cuts_.at(id).go, nullptr)(); });
}

void Rack::end_cut(DongleId id, bool ok, const std::string& detail) {
  auto node = cuts_.extract(id);
  if (!node) return;
  for (DongleId other : node.mapped().told)
    if (auto it = members_.find(other); it != members_.end()) it->second->on_power_back(ok, detail);
}

void Rack::cancel(DongleId id) {
  actions_.cancel(id);
  end_cut(id, false, fmt::format("given up by dongle {}; the power comes back", id));
  end(id);
  if (auto waiting = operators_.extract(id))
    waiting.mapped()(fail(Errc::Cancelled, "dongle {} was removed meanwhile; the power comes back", id));
}

// --------------------------------------------------------------------------------------------------------- operator

void Rack::refresh_hub_facts(std::function<void()> done) {
  actions_.refresh_hub_facts(std::move(done));
}

PowerPlan Rack::operator_plan(DongleId id) const {
  auto all = standings();
  return plan_operator_power(view(all), id);
}

void Rack::power(DongleId id, Power what, Done done) {
  PowerPlan plan = operator_plan(id);
  for (const auto& [other, running] : board_.running()) {
    if (other == id) return done(fail(Errc::Busy, "dongle {}: a recovery is under way", id));
    if (is_ladders(running.action) && !running.hub.empty() && running.hub == plan.hub)
      return done(fail(Errc::Busy, "hub {} is busy: {} of dongle {}", plan.hub_name, to_string(running.action), other));
  }
  const char* words = what == Power::On ? "on" : what == Power::Off ? "off" : "off and on again";
  begin(id, plan.kind == PowerPlan::Kind::Port ? Action::PortPower : Action::HubPower);
  operators_[id] = std::move(done);
  // "on" takes nothing from anybody.
  auto told = what == Power::On ? std::vector<DongleId>() : siblings(plan);
  // Its own outage isn't its own failure either.
  if (what == Power::Cycle) told.push_back(id);
  cut_power(
      id, plan, std::move(told), fmt::format("an operator switches the power {}", words),
      [this, id, plan, what](Done then) {
        switch (what) {
          case Power::Off: return actions_.power_off(id, plan, std::move(then));
          case Power::On: return actions_.power_on(id, plan, std::move(then));
          case Power::Cycle: return actions_.power_cycle(id, plan, 1, std::move(then));
        }
      },
      [this, id](Result<std::string> outcome) {
        end(id);
        operators_.extract(id).mapped()(std::move(outcome));
      });
}

Json Rack::power_status(DongleId id) const {
  PowerPlan plan = operator_plan(id);
  Json ports = Json::array(), bystanders = Json::array();
  auto wall_now = std::chrono::system_clock::now();
  for (const PortCut& cut : plan.cuts) {
    Json port = {{"hub", cut.port.hub}, {"port", cut.port.port}};
    port["peer"] = cut.peer ? Json{{"hub", cut.peer.hub}, {"port", cut.peer.port}} : Json();
    auto known = [](std::optional<bool> fact) { return fact ? Json(*fact) : Json(); };
    PortFacts facts;
    if (auto hub = actions_.hub_facts().find(cut.port.hub); hub != actions_.hub_facts().end()) {
      if (auto it = hub->second.ports.find(cut.port.port); it != hub->second.ports.end()) facts = it->second;
      const PowerLesson* lesson =
          actions_.memory().find({cut.port.hub, hub->second.vendor, hub->second.product},
                                 plan.kind == PowerPlan::Kind::Hub ? HubMemory::kWholeHub : cut.port.port, wall_now);
      port["effective"] = lesson ? Json(lesson->effective) : Json();
    }
    port["powered"] = known(facts.powered);
    port["disabled"] = known(facts.disabled);
    port["connected"] = known(facts.connected);
    ports.push_back(std::move(port));
  }
  for (const Bystander& other : plan.bystanders)
    bystanders.push_back({{"id", other.id ? Json(other.id->value) : Json()},
                          {"usb_path", other.usb_path},
                          {"text", other.text},
                          {"hurt", other.is_hurt}});
  auto hub = actions_.hub_facts().find(plan.hub);
  UsbSight seen = sight(plan.device_path);
  return {{"id", id.value},
          {"usb_path", plan.device_path.empty() ? Json() : Json(plan.device_path)},
          {"seen", seen.evidence},
          {"hub", plan.hub.empty() ? Json() : Json(plan.hub)},
          {"hub_name", plan.hub_name},
          {"switching", hub == actions_.hub_facts().end() ? Json() : Json(to_string(hub->second.switching))},
          {"scope", plan.kind == PowerPlan::Kind::Port ? "port" : "hub"},
          {"ports", ports},
          {"bystanders", bystanders},
          {"obstacle", plan.obstacle.empty() ? Json() : Json(plan.obstacle)}};
}

}  // namespace dongle
