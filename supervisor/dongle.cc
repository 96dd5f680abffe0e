#include "supervisor/dongle.h"

#include <algorithm>
#include <fstream>

#include <nlohmann/json.hpp>

#include "common/log.h"
#include "supervisor/modem_view.h"

namespace dongle {
namespace {

// What the modem said is good for this long; a diagnosis right after a suspicion asks only once.
constexpr Millis kModemViewFresh = Seconds(3);
constexpr Millis kPublicIpRefresh = std::chrono::minutes(5);
constexpr Millis kPublicIpRetry = Seconds(2);  // at the first success after that
constexpr Millis kServingDeadline = Seconds(10);
// An operator who stops a dongle gives its connections this long.
constexpr Millis kStopDrain = Seconds(0);
// A stick's DHCP server comes up some time after its network device.
constexpr Millis kFirstAddress = Seconds(20);
// At a host's boot udev may load drivers long after the devices were enumerated (seen: 15 s on a slow machine).
constexpr Millis kFirstInterface = Seconds(20);
// A stick that boots again and again looks different each time; it is judged after this all the same. Above what one
// that is pulled out and boots afresh may take.
constexpr Millis kLongestAbsence = Seconds(40);
// How long the end of the process waits for a modem that was left half way in an action.
constexpr Millis kUndoPatience = Seconds(3);
constexpr std::size_t kMaxDnsServers = 4;

Fault fault_of(UsbMode mode) {
  switch (mode) {
    case UsbMode::Missing: return Fault::StickMissing;
    case UsbMode::NotAuthorized: return Fault::NotAuthorized;
    case UsbMode::MassStorage: return Fault::MassStorage;
    case UsbMode::WrongConfiguration: return Fault::WrongConfiguration;
    case UsbMode::Unknown:
    case UsbMode::NoInterface:
    case UsbMode::Ethernet: return Fault::InterfaceGone;
  }
  std::unreachable();
}

HealthPolicy health_policy(const ProbeConfig& c) {
  return {c.interval, c.down_after, c.up_after};
}
LadderPolicy ladder_policy(const Config& c) {
  return {c.recovery.enabled, c.recovery.stages, c.recovery.settle, c.recovery.retry_after, c.rotation.off_time};
}

// The first line of the password file. Unreadable: no password; load_config has said so already.
std::string read_password(const std::string& file) {
  std::string line;
  if (!file.empty()) {
    std::ifstream in(file);
    std::getline(in, line);
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.pop_back();
  }
  return line;
}

}  // namespace

std::optional<Endpoint> modem_endpoint(const DongleConfig& config, const std::optional<Address>& gateway) {
  // "http://192.168.8.1" or with a port; config_parse lets nothing else through.
  std::string url = config.modem.url;
  if (url.empty()) return gateway ? std::optional(Endpoint{*gateway, 80}) : std::nullopt;
  std::uint16_t port = 80;
  if (url.starts_with("http://")) url = url.substr(7);
  url = url.substr(0, url.find('/'));
  if (auto both = Endpoint::parse(url)) return *both;
  if (url.starts_with('[') && url.ends_with(']')) url = url.substr(1, url.size() - 2);
  auto address = Address::parse(url);
  return address ? std::optional(Endpoint{*address, port}) : std::nullopt;
}

const char* to_string(DongleState state) {
  switch (state) {
    case DongleState::Absent: return "absent";
    case DongleState::Starting: return "starting";
    case DongleState::Online: return "online";
    case DongleState::Degraded: return "degraded";
    case DongleState::Recovering: return "recovering";
    case DongleState::Rotating: return "rotating";
    case DongleState::NoService: return "no_service";
    case DongleState::Failed: return "failed";
    case DongleState::Stopped: return "stopped";
  }
  return "unknown";
}

Dongle::Dongle(DongleServices services, const Config& config, const DongleConfig& dongle)
    : services_(std::move(services)),
      config_(dongle),
      proxy_(config.proxy),
      probe_config_(config.probe),
      rotation_config_(config.rotation),
      worker_(services_.loop, services_.launcher, dongle.id, services_.log_dir + fmt::format("/{}.log", dongle.id),
              {[this] { on_worker_ready(); }, [this](const std::string&) { note_state(); },
               [this](const DialResult& r) { on_dial(r); }, [this] { note_state(); }}),
      health_(health_policy(config.probe)),
      ladder_(ladder_policy(config)),
      prober_(services_.loop, services_.curl, config.probe,
              [this](UniqueFd stream) { return worker_.serve_probe(std::move(stream)); }),
      since_(std::chrono::system_clock::now()),
      probe_timer_(services_.loop),
      ladder_timer_(services_.loop),
      sample_timer_(services_.loop),
      serving_timer_(services_.loop),
      action_timer_(services_.loop),
      evidence_timer_(services_.loop),
      absence_timer_(services_.loop),
      damper_timer_(services_.loop),
      traffic_since_(since_) {
  sample_timer_.repeat(Seconds(1), [this] { sample_traffic(); });
  services_.rack.add(config_.id, *this);
  sight_ = services_.rack.sight(usb_path());
}

Dongle::~Dongle() {
  services_.rack.remove(config_.id, *this);
}

void Dongle::configure(const Config& config, const DongleConfig& dongle) {
  if (!(config.probe == probe_config_)) health_ = Health(health_policy(config.probe));
  if (dongle.usb_path != config_.usb_path) {
    // Another port is another stick: what is under way is the old one's.
    give_up_action();
    ladder_.cancel();
    end_incident("interrupted");
  }
  config_ = dongle;
  proxy_ = config.proxy;
  probe_config_ = config.probe;
  rotation_config_ = config.rotation;
  prober_.set_config(config.probe);
  ladder_.set_policy(ladder_policy(config));
  on_usb_change();  // it may be another port now
  set_network(network_);
  schedule_probe();
}

// ---------------------------------------------------------------------------------------------- network and worker

void Dongle::set_network(const DongleNetwork& network) {
  bool new_device = network.ifindex != network_.ifindex;
  bool now_usable = network.usable() && (new_device || !network_.usable());
  bool new_address = network.v4 != network_.v4 || network.gateway_v4 != network_.gateway_v4;
  network_ = network;
  if (!network.usb_path.empty() && std::exchange(found_usb_path_, network.usb_path) != network.usb_path)
    on_usb_change();
  if (new_device) device_was_usable_ = false;
  if (network.usable()) device_was_usable_ = true;
  if (new_device) {
    if (network.present())
      ladder_.device_back(UvLoop::now());
    else
      ladder_.device_left(UvLoop::now());
    schedule_ladder();
    health_.reset();
    // A rotation's question ends by itself, and the rotation with it.
    if (!rotation_) prober_.cancel();
    forget_public_ip();
    modem_view_.reset();
    // Gone while nothing was wrong: an incident of its own. During a ladder run (a reboot) it belongs to that run.
    if (!network_.present() && state_ == DongleState::Online && !services_.incidents.ongoing(config_.id)) {
      open_incident("the network device disappeared", fault_of(sight_.mode),
                    sight_.evidence.empty() ? "the network device is gone" : sight_.evidence);
      damper_.on_down(UvLoop::now());
    }
  }
  if (auto endpoint = modem_endpoint(config_, network_.gateway_v4); has_api() && network_.present() && endpoint) {
    HilinkTarget target{network_.device, *endpoint, config_.modem.username, read_password(config_.modem.password_file)};
    if (!client_) {
      client_ = std::make_unique<HilinkClient>(services_.loop, services_.curl, target);
      actions_ = std::make_unique<ModemActions>(services_.loop, *client_, services_.intents, config_.id);
    } else if (new_device || new_address || !(client_->target() == target)) {
      client_->set_target(target);
    }
    // A crash or an unplugging in the middle of an action may have left the modem half way.
    if (network_.usable() && services_.intents.pending(config_.id) && !actions_->is_busy() && !rotation_)
      actions_->undo_pending([this](Result<std::string> undone) {
        log_event(LogEvent::intent_undone,
                  {{"dongle", config_.id}, {"outcome", undone ? *undone : "failed: " + undone.error().message()}});
      });
  }
  // Its name servers, for a gateway that answers no DNS itself; without them the first probes would fail.
  if (now_usable && client_)
    ask_modem([this](const ModemView& view) {
      if (view.api == ModemView::Api::Answered) ask_identity();
    });
  update_worker();
  judge_absence();
  schedule_probe();
  note_state();
}

void Dongle::ask_identity() {
  client_->read_information([this](Result<DeviceInformation> device) {
    if (!device) return;  // asked again when it's plugged in the next time
    std::string port = usb_path().empty() ? network_.device : services_.rack.resolve(usb_path());
    std::string change = services_.rack.observe({config_.id, port, device->imei, device->iccid});
    if (change.empty()) return;
    Incident& incident = services_.incidents.open(config_.id, "its modem says who it is");
    incident.fault = "identity_changed";
    incident.evidence = change;
    incident.outcome = "noted";
    incident.ended = std::chrono::system_clock::now();
    services_.incidents.save();
  });
  client_->read_plmn([this](Result<Plmn> plmn) {
    if (!plmn) return;
    carrier_ = plmn->numeric.empty() ? plmn->full_name : plmn->numeric;
    note_state();
  });
}

void Dongle::set_denied_destinations(std::vector<Address> addresses) {
  if (addresses == denied_) return;
  denied_ = std::move(addresses);
  update_worker();
}

Setup Dongle::worker_setup() const {
  Setup setup;
  if (network_.present()) {
    setup.device = network_.device;
    setup.ifindex = network_.ifindex;
    if (network_.v4) setup.source_v4 = network_.v4->address;
    if (network_.v6) setup.source_v6 = network_.v6->address;
    setup.dns_servers = network_.dns;
    if (setup.dns_servers.empty() && network_.gateway_v4) setup.dns_servers.push_back(*network_.gateway_v4);
    for (const Address& server : modem_dns_)
      if (std::ranges::find(setup.dns_servers, server) == setup.dns_servers.end()) setup.dns_servers.push_back(server);
    if (setup.dns_servers.size() > kMaxDnsServers) setup.dns_servers.resize(kMaxDnsServers);
  }
  setup.clients = proxy_.clients;
  setup.allow_destinations = proxy_.allow_destinations;
  setup.denied_destinations = denied_;
  setup.refuse_clients = !proxy_.users_file.empty() || power_cut_;
  setup.max_connections = proxy_.max_connections;
  setup.max_connections_per_client = proxy_.max_connections_per_client;
  setup.connect_timeout = proxy_.connect_timeout;
  setup.handshake_timeout = proxy_.handshake_timeout;
  setup.idle_timeout = proxy_.idle_timeout;
  return setup;
}

void Dongle::update_worker() {
  if (stopped_ || shutting_down_) return;
  worker_.serve(Endpoint{proxy_.listen_address, static_cast<std::uint16_t>(config_.socks5_port)}, worker_setup());
}

void Dongle::on_worker_ready() {
  serving_timer_.stop();
  worker_missing_ = false;
  for (auto& done : std::exchange(waiting_for_service_, {})) done(std::nullopt);
  schedule_probe();
  note_state();
}

// ---------------------------------------------------------------------------------------------------------- health

bool Dongle::may_probe() const {
  return !stopped_ && !shutting_down_ && network_.present() && !rotation_ && ladder_.state() != Ladder::State::Acting;
}

// How long the network may take to be usable before that counts as a failed probe.
Millis Dongle::patience_with_network() const {
  bool comes_up = !device_was_usable_ && !network_.has_address();
  return comes_up ? std::max(probe_config_.timeout, kFirstAddress) : probe_config_.timeout;
}

void Dongle::schedule_probe() {
  if (!may_probe() || prober_.is_probing()) return;
  auto now = UvLoop::now();
  if (!can_probe()) {
    // However often something changes meanwhile, the time runs from when it began.
    if (!unable_since_) unable_since_ = now;
    auto left = std::chrono::ceil<Millis>(*unable_since_ + patience_with_network() - now);
    return probe_timer_.start(std::max(left, Millis{0}), [this] { run_probe(); });
  }
  unable_since_.reset();
  auto wait = std::chrono::ceil<Millis>(health_.next_probe_at() - now);
  // An action has to prove itself: look often. Otherwise the health says how urgent it is.
  if (ladder_.state() == Ladder::State::Settling) wait = std::min(wait, Millis{500});
  if (ladder_.state() == Ladder::State::Held || ladder_.state() == Ladder::State::Waiting ||
      ladder_.state() == Ladder::State::NoService) {
    if (probe_timer_.is_active()) return;  // counted from now, so every failing client would put it off
    wait = std::max(wait, std::min(probe_config_.interval, Millis{5000}));
  }
  probe_timer_.start(std::max(wait, Millis{0}), [this] { run_probe(); });
}

void Dongle::run_probe() {
  if (!may_probe()) return;
  if (can_probe()) return prober_.probe([this](Result<void> outcome) { on_probe(outcome); });
  if (!unable_since_ || UvLoop::now() < *unable_since_ + patience_with_network()) return schedule_probe();
  unable_since_.reset();
  if (network_.usable()) {
    // Ours to mend; it says nothing about the modem, which is to be left alone for it.
    worker_missing_ = true;
    health_.reset();
    note_state();
    return schedule_probe();
  }
  // What takes longer than a probe may take counts as one that failed.
  on_probe(
      fail(Errc::Unreachable, "{}", network_.trouble.empty() ? "the network device isn't ready" : network_.trouble));
}

void Dongle::on_probe(const Result<void>& outcome) {
  log_event(
      LogEvent::probe_done,
      {{"dongle", config_.id}, {"ok", outcome.has_value()}, {"reason", outcome ? "" : outcome.error().message()}});
  health_.on_probe(outcome.has_value(), outcome ? "" : outcome.error().message(), UvLoop::now());
  on_evidence(outcome.has_value());
}

void Dongle::on_dial(const DialResult& result) {
  if (!may_probe()) return;
  health_.on_dial(result.ok, result.reason, UvLoop::now());
  on_evidence(result.ok);
}

void Dongle::on_evidence(bool success) {
  auto now = UvLoop::now();
  note_verdict();
  if (success) {
    power_cycles_ = 0;
    follow(ladder_.traffic_ok(now));
    if (health_.verdict() == Verdict::Up && now >= public_ip_due_) learn_public_ip();
  } else if (health_.verdict() == Verdict::Down) {
    forget_public_ip();  // whatever mends it, a reconnect most likely brings another one
    if (!services_.incidents.ongoing(config_.id) && ladder_.state() == Ladder::State::Idle) {
      open_incident(health_.reason(), Fault::None, "");
      log_event(LogEvent::dongle_down, {{"dongle", config_.id}, {"reason", health_.reason()}});
    }
    start_ladder();
  } else if (health_.verdict() == Verdict::Suspect) {
    settle_suspicion();
  }
  note_state();
  schedule_probe();
}

// What the health says now, to the one who keeps a stick that comes and goes from being news each time.
void Dongle::note_verdict() {
  auto now = UvLoop::now();
  bool failing = health_.verdict() == Verdict::Suspect || health_.verdict() == Verdict::Down;
  if (!failing)
    failing_since_.reset();
  else if (!failing_since_)
    failing_since_ = now;
  if (health_.verdict() == Verdict::Up) {
    worked_before_ = true;
    damper_.on_up(now);
  }
  if (health_.verdict() == Verdict::Down) damper_.on_down(now);
  auto change = damper_.next_change();
  if (!change) return damper_timer_.stop();
  damper_timer_.start(std::max(std::chrono::ceil<Millis>(*change - now), Millis{0}), [this] {
    note_verdict();
    note_state();
  });
}

void Dongle::open_incident(const std::string& seen, Fault fault, const std::string& evidence) {
  Incident& incident = services_.incidents.open(config_.id, seen);
  incident.fault = fault == Fault::None ? "unknown" : to_string(fault);
  incident.evidence = evidence;
  incident_began_ = UvLoop::now();
  services_.incidents.save();
}

void Dongle::start_ladder() {
  auto now = UvLoop::now();
  if (!ladder_.enabled() || ladder_.state() != Ladder::State::Idle) return;
  fault_ = Fault::None;
  follow(ladder_.down(now, damper_.admit_run(now)));
}

void Dongle::settle_suspicion() {
  if (!has_api() || !client_ || !network_.usable() || std::exchange(asking_about_suspicion_, true)) return;
  // The modem may know already; its word settles the suspicion without waiting for the remaining probes.
  ask_modem([this](const ModemView& view) {
    asking_about_suspicion_ = false;
    bool says_disconnected = view.api == ModemView::Api::Answered && (!view.connected || view.data_switch == false);
    if (!says_disconnected || health_.verdict() != Verdict::Suspect || !may_probe()) return;
    health_.on_modem_disconnected();
    on_evidence(false);
  });
}

void Dongle::forget_public_ip() {
  public_ip_.reset();
  public_ip_due_ = {};
}

void Dongle::learn_public_ip() {
  public_ip_due_ = UvLoop::now() + kPublicIpRefresh;
  prober_.fetch_public_ip(probe_config_.timeout, [this](Result<Address> address) {
    if (!address) {
      public_ip_due_ = UvLoop::now() + std::min(probe_config_.interval, kPublicIpRetry);
      log_event(LogEvent::public_ip_unknown, {{"dongle", config_.id}, {"reason", address.error().message()}});
      return;
    }
    if (public_ip_ != *address)
      log_event(LogEvent::public_ip_seen, {{"dongle", config_.id},
                                           {"address", address->to_string()},
                                           {"before", public_ip_ ? public_ip_->to_string() : "-"}});
    public_ip_ = *address;
    services_.on_changed(config_.id);
  });
}

// ---------------------------------------------------------------------------------------------------------- ladder

void Dongle::follow(const Decision& decision) {
  // The ladder has moved on from an action that didn't report in time.
  if (acting_ && ladder_.state() != Ladder::State::Acting) give_up_action();
  note_steps();
  switch (decision.kind) {
    case Decision::Kind::None: break;
    case Decision::Kind::Diagnose:
      // Another look at what only a person can mend is no news; an incident begins when there is something to do again.
      if (state_ != DongleState::NoService && !services_.incidents.ongoing(config_.id))
        open_incident(recovery_done_ ? "an operator asked for a recovery" : "still failing: " + reason(), Fault::None,
                      "");
      // What the modem has said since it began to fail is what the diagnosis wants to know; after an action it's old.
      if (ladder_.steps().empty() && failing_since_ && modem_view_at_ >= *failing_since_)
        modem_view_at_ = UvLoop::now();
      else
        modem_view_at_ = {};
      gather_evidence([this](const Evidence& seen) { diagnose_by(seen); });
      break;
    case Decision::Kind::DiagnoseNow: {
      Evidence seen = evidence_at_hand();
      seen.modem.api = has_api() ? ModemView::Api::NoAnswer : ModemView::Api::NotConfigured;
      seen.modem.api_error = "the diagnosis took too long";
      return diagnose_by(seen);
    }
    case Decision::Kind::Act:
      if (!services_.incidents.ongoing(config_.id))
        open_incident(ladder_.diagnosis().evidence, ladder_.diagnosis().fault, ladder_.diagnosis().evidence);
      note_steps();
      forget_public_ip();
      act(decision.action);
      break;
    case Decision::Kind::Hold:
      log_event(LogEvent::ladder_held,
                {{"dongle", config_.id},
                 {"action", ladder_.hold()->action ? to_string(*ladder_.hold()->action) : "none"},
                 {"reason", ladder_.hold()->text}});
      if (recovery_progress_) recovery_progress_("waiting: " + ladder_.hold()->text);
      break;
    case Decision::Kind::Recovered: {
      log_event(LogEvent::dongle_recovered, {{"dongle", config_.id}});
      end_incident("recovered");
      finish_recovery("recovered");
      break;
    }
    case Decision::Kind::GiveUp: {
      auto wait = std::chrono::duration_cast<Millis>(*ladder_.next_deadline() - UvLoop::now());
      log_event(LogEvent::ladder_exhausted, {{"dongle", config_.id}, {"retry_in", format_duration(wait)}});
      end_incident("failed");
      finish_recovery("failed");
      break;
    }
    case Decision::Kind::NoService:
      log_event(LogEvent::dongle_no_service, {{"dongle", config_.id}, {"evidence", ladder_.diagnosis().evidence}});
      end_incident("no_service");
      finish_recovery("no_service");
      break;
  }
  // Somebody else's action, or a change of the settings, has ended the run that an operator waits for.
  if (recovery_done_ && ladder_.state() == Ladder::State::Idle) finish_recovery("failed");
  schedule_ladder();
  schedule_probe();
  note_state();
}

void Dongle::diagnose_by(const Evidence& seen) {
  if (ladder_.state() != Ladder::State::Diagnosing) return;  // traffic or the operator was faster
  Diagnosis diagnosis = diagnose(seen);
  if (Incident* incident = services_.incidents.ongoing(config_.id);
      incident && (incident->evidence.empty() || incident->steps.empty())) {
    incident->fault = to_string(diagnosis.fault);
    incident->evidence = diagnosis.evidence;
  }
  log_event(LogEvent::ladder_diagnosis, {{"dongle", config_.id},
                                         {"fault", to_string(diagnosis.fault)},
                                         {"entry", diagnosis.entry ? to_string(*diagnosis.entry) : "none"},
                                         {"evidence", diagnosis.evidence}});
  if (recovery_progress_) recovery_progress_(std::string("diagnosis: ") + diagnosis.evidence);
  // Whose failure it is depends on what everybody's is.
  fault_ = diagnosis.fault;
  services_.rack.note(config_.id, condition());
  ladder_.set_obstacles(obstacles());
  follow(ladder_.diagnosed(diagnosis, UvLoop::now()));
}

void Dongle::schedule_ladder() {
  auto deadline = ladder_.next_deadline();
  if (!deadline) return ladder_timer_.stop();
  auto wait = std::chrono::ceil<Millis>(*deadline - UvLoop::now());
  ladder_timer_.start(std::max(wait, Millis{0}), [this] { follow(ladder_.tick(UvLoop::now())); });
}

void Dongle::act(Action action) {
  log_event(LogEvent::ladder_step, {{"dongle", config_.id},
                                    {"stage", to_string(stage_of(action))},
                                    {"action", to_string(action)},
                                    {"reason", ladder_.steps().back().reason}});
  if (recovery_progress_) recovery_progress_(fmt::format("{}: {}", to_string(stage_of(action)), to_string(action)));
  prober_.cancel();
  probe_timer_.stop();
  acting_ = action;
  auto done = [this](const Result<std::string>& outcome) { on_action_done(outcome); };
  if (stage_of(action) < Stage::Usb) services_.rack.begin(config_.id, action);
  switch (action) {
    case Action::RouteReset: {
      auto reset = services_.reset_routes(config_.id);
      // From the loop: the ladder is in the middle of its decision.
      action_timer_.start(Millis{0}, [done, reset] {
        done(reset ? Result<std::string>("addresses, routes, rules and the firewall were put in place again")
                   : std::unexpected(reset.error()));
      });
      break;
    }
    case Action::DataSwitch:
      worker_.drop_connections("rotation");
      actions_->cycle_data_switch(rotation_config_.off_time, done);
      break;
    case Action::NetworkMode: actions_->cycle_network_mode(done); break;
    case Action::Reboot: actions_->reboot(done); break;
    case Action::ModeSwitch:
    case Action::UsbConfiguration:
    case Action::UsbRebind:
    case Action::UsbReauthorize: services_.rack.act(config_.id, action, 1, done); break;
    case Action::PortPower:
    case Action::HubPower: services_.rack.act(config_.id, action, ++power_cycles_, done); break;
  }
}

void Dongle::on_action_done(const Result<std::string>& outcome) {
  if (acting_ && stage_of(*acting_) < Stage::Usb) services_.rack.end(config_.id);
  acting_.reset();
  // What was asked for before the action has ended proves nothing about it.
  health_.reset();
  follow(ladder_.action_done(outcome.has_value(), outcome ? *outcome : outcome.error().message(), UvLoop::now()));
}

void Dongle::give_up_action() {
  if (!std::exchange(acting_, std::nullopt)) return;
  action_timer_.stop();
  if (actions_) actions_->cancel();
  services_.rack.cancel(config_.id);
}

Obstacles Dongle::obstacles() const {
  Obstacles found = usb_obstacles(sight_);
  auto skip = [&](Action action, const std::string& why) { found[action] = {Obstacle::Kind::Skip, why, {}}; };
  if (!network_.present()) skip(Action::RouteReset, "there is no network device");
  std::string api;
  if (!has_api())
    api = "the modem has no API (modem.type: none)";
  else if (!client_ || !network_.present())
    api = "there is no network device to reach the modem's API by";
  else if (!network_.link_up)
    api = "the modem's API can't be reached without a link";
  else if (ladder_.state() == Ladder::State::Diagnosing && modem_view_ && modem_view_->api == ModemView::Api::NoAnswer)
    api = "the modem's API gives no answer: " + modem_view_->api_error;
  if (!api.empty())
    for (Action action : {Action::DataSwitch, Action::NetworkMode, Action::Reboot}) skip(action, api);
  services_.rack.add_obstacles(config_.id, found);
  return found;
}

Evidence Dongle::evidence_at_hand() const {
  Evidence seen;
  seen.interface_present = network_.present();
  seen.usb = sight_;
  seen.link_up = network_.link_up;
  seen.has_address = network_.has_address();
  seen.routes_in_force = network_.routes_in_force;
  seen.probe_failure = health_.reason();
  return seen;
}

void Dongle::gather_evidence(std::function<void(const Evidence&)> done) {
  Evidence seen = evidence_at_hand();
  if (!has_api() || !client_ || !network_.usable()) {
    // From the loop, as with a modem that answers: callers are in the middle of a decision.
    modem_view_.reset();
    waiting_for_evidence_.push_back([seen, done = std::move(done)] { done(seen); });
    return evidence_timer_.start(Millis{0}, [this] {
      for (auto& tell : std::exchange(waiting_for_evidence_, {})) tell();
    });
  }
  ask_modem([seen, done = std::move(done)](const ModemView& view) mutable {
    seen.modem = view;
    done(seen);
  });
}

void Dongle::ask_modem(std::function<void(const ModemView&)> done) {
  // What it said before it began to fail says nothing about the failure.
  bool is_fresh =
      UvLoop::now() - modem_view_at_ < kModemViewFresh && !(failing_since_ && modem_view_at_ < *failing_since_);
  if (modem_view_ && is_fresh) {
    ModemView view = *modem_view_;
    return done(view);
  }
  waiting_for_view_.push_back(std::move(done));
  if (waiting_for_view_.size() > 1) return;
  // One after the other in the client's queue; each decides whether the next is worth asking.
  client_->read_status([this, asked_at = UvLoop::now()](Result<ModemStatus> status) {
    auto answer = [this, status, asked_at](const Result<bool>& data_switch, const Result<PinStatus>& pin) {
      modem_view_ = modem_view(status, data_switch, pin);
      modem_view_at_ = asked_at;  // it may have taken long, and is no newer for that
      if (status && status->dns != modem_dns_) {
        modem_dns_ = status->dns;
        update_worker();
      }
      ModemView view = *modem_view_;
      for (auto& waiting : std::exchange(waiting_for_view_, {})) waiting(view);
    };
    if (!status) return answer(fail(Errc::Cancelled, "not asked"), fail(Errc::Cancelled, "not asked"));
    client_->read_data_switch([this, answer](Result<bool> data_switch) {
      if (!data_switch && is_silence(data_switch.error()))
        return answer(data_switch, fail(Errc::Cancelled, "not asked"));
      client_->read_pin([answer, data_switch](Result<PinStatus> pin) { answer(data_switch, pin); });
    });
  });
}

void Dongle::note_steps() {
  Incident* incident = services_.incidents.ongoing(config_.id);
  if (!incident) return;
  auto now = UvLoop::now();
  auto wall = std::chrono::system_clock::now();
  std::vector<IncidentStep> steps;
  for (const StepRecord& s : ladder_.steps()) {
    auto ago = std::chrono::duration_cast<WallTime::duration>(now - s.began);
    steps.push_back({wall - ago, to_string(stage_of(s.action)), to_string(s.action), s.reason, to_string(s.outcome),
                     s.detail,
                     s.outcome == StepOutcome::Running ? std::chrono::duration_cast<Millis>(now - s.began) : s.took});
  }
  // The start of a step is known once; computing it again would make it tremble by the clocks' difference.
  for (std::size_t i = 0; i < steps.size() && i < incident->steps.size(); ++i) steps[i].at = incident->steps[i].at;
  incident->steps = std::move(steps);
  services_.incidents.save();
}

void Dongle::end_incident(const std::string& outcome) {
  Incident* incident = services_.incidents.ongoing(config_.id);
  if (!incident) return;
  incident->outcome = outcome;
  incident->ended = std::chrono::system_clock::now();
  incident->took = std::chrono::duration_cast<Millis>(UvLoop::now() - incident_began_);
  services_.incidents.save();
}

void Dongle::finish_recovery(const std::string& outcome) {
  recovery_progress_ = nullptr;
  if (auto done = std::exchange(recovery_done_, nullptr))
    done({outcome, steps_json(ladder_.steps()), ladder_.diagnosis().evidence});
}

// ----------------------------------------------------------------------------------------------------------- state

DongleState Dongle::judge_state() {
  if (stopped_) return DongleState::Stopped;
  if (rotation_) return DongleState::Rotating;
  bool rebooting = ladder_.state() == Ladder::State::Settling || ladder_.state() == Ladder::State::Acting;
  if (!network_.present() && !rebooting) return DongleState::Absent;
  switch (ladder_.state()) {
    case Ladder::State::Idle: break;
    case Ladder::State::NoService: return DongleState::NoService;
    case Ladder::State::Waiting: return DongleState::Failed;
    case Ladder::State::Diagnosing:
      // A look at what only a person can mend, or at what failed before, isn't a recovery yet.
      if (ladder_.steps().empty() && (state_ == DongleState::NoService || state_ == DongleState::Failed)) return state_;
      return DongleState::Recovering;
    case Ladder::State::Held: return ladder_.steps().empty() ? DongleState::Degraded : DongleState::Recovering;
    case Ladder::State::Acting:
    case Ladder::State::Settling: return DongleState::Recovering;
  }
  if (worker_missing_) return DongleState::Starting;
  switch (health_.verdict()) {
    case Verdict::Up: return damper_.shows_up(UvLoop::now()) ? DongleState::Online : DongleState::Degraded;
    case Verdict::Suspect:
    case Verdict::Down: return DongleState::Degraded;
    case Verdict::Unknown:
      // After an action or a rotation the health starts over; that isn't a new start for the one who looks.
      return state_ == DongleState::Recovering || state_ == DongleState::Rotating || state_ == DongleState::Online
                 ? DongleState::Online
                 : DongleState::Starting;
  }
  return DongleState::Starting;
}

void Dongle::note_state() {
  if (shutting_down_) return;
  DongleState now = judge_state();
  if (now == state_) return services_.rack.note(config_.id, condition());
  log_event(LogEvent::dongle_state,
            {{"dongle", config_.id}, {"from", to_string(state_)}, {"to", to_string(now)}, {"reason", reason()}});
  state_ = now;
  since_ = std::chrono::system_clock::now();
  if (now == DongleState::Online && services_.incidents.ongoing(config_.id) && ladder_.state() == Ladder::State::Idle)
    end_incident("recovered");
  services_.rack.note(config_.id, condition());
  services_.on_changed(config_.id);
}

// --------------------------------------------------------------------------------------------- the rest of the rack

DongleStanding Dongle::standing() const {
  bool is_at_work = state_ == DongleState::Online || state_ == DongleState::Rotating ||
                    state_ == DongleState::Starting || state_ == DongleState::Degraded;
  // Traffic flows also where an operator's run on a healthy stick waits for its turn.
  bool is_well = health_.verdict() == Verdict::Up ||
                 (health_.verdict() != Verdict::Down && ladder_.state() == Ladder::State::Idle);
  bool serves = (is_at_work && is_well) || is_coming_up();
  return {config_.id, services_.rack.resolve(usb_path()), serves, to_string(state_)};
}

Condition Dongle::condition() const {
  Condition now;
  now.hub = sight_.hub;
  now.controller = sight_.controller;
  now.carrier = carrier_;
  if (ladder_.state() != Ladder::State::Idle) now.fault = fault_;
  using Kind = Condition::Kind;
  now.kind = [&] {
    if (power_cut_ || ladder_.has_joined()) return Kind::Unknown;
    switch (state_) {
      case DongleState::Stopped: return Kind::Stopped;
      case DongleState::Starting:
      case DongleState::Rotating: return Kind::Unknown;
      case DongleState::Online: return Kind::Healthy;
      case DongleState::NoService: return Kind::NoService;
      case DongleState::Recovering:
      case DongleState::Failed: return Kind::Down;
      case DongleState::Degraded:
        if (health_.verdict() == Verdict::Up) return Kind::Healthy;
        return health_.verdict() == Verdict::Down ? Kind::Down : Kind::Suspect;
      case DongleState::Absent: break;
    }
    if (is_coming_up()) return Kind::Unknown;
    // Who was there and isn't any more may not have left by himself.
    return sight_.mode != UsbMode::Unknown && services_.rack.knows_port(usb_path()) ? Kind::Down : Kind::Absent;
  }();
  if (state_ == DongleState::Absent) now.fault = fault_of(sight_.mode);
  return now;
}

void Dongle::on_usb_change() {
  UsbSight before = std::exchange(sight_, services_.rack.sight(usb_path()));
  if (sight_ == before) return;
  auto now = UvLoop::now();
  bool another = sight_.devnum != before.devnum;
  if (another && before.devnum != 0) ladder_.device_left(now);
  if (another && sight_.devnum != 0) ladder_.device_back(now);
  follow(ladder_.usb_seen(sight_, now));
  if (another && sight_.devnum != 0) follow(ladder_.look_again(now));
  judge_absence();
  note_state();
}

/// On the bus, but not yet judged: the network device may be about to come.
bool Dongle::is_coming_up() const {
  return state_ == DongleState::Absent && sight_.devnum != 0 && ladder_.state() == Ladder::State::Idle;
}

// How long what is seen on the bus must last until it's believed to be a failure: a mode switch, a driver or a kernel
// that names the device take their time; who pulls a stick out and plugs it in again, or into another port, some more.
std::optional<Millis> Dongle::patience_with_bus() const {
  switch (sight_.mode) {
    case UsbMode::Unknown:
    case UsbMode::Ethernet: return std::nullopt;
    case UsbMode::MassStorage: return Millis{300};
    case UsbMode::NotAuthorized:
    case UsbMode::WrongConfiguration: return Millis{1000};
    case UsbMode::NoInterface: return worked_before_ ? Millis{3000} : kFirstInterface;
    case UsbMode::Missing: return Millis{10'000};
  }
  std::unreachable();
}

// A wwan0 of the wrong configuration is none, as long as it has no address.
bool Dongle::has_network_card() const {
  return network_.present() && (sight_.mode != UsbMode::WrongConfiguration || network_.has_address());
}

// Without a network card nothing can be probed; what is seen on the bus tells whether that is a failure.
void Dongle::judge_absence() {
  auto patience = patience_with_bus();
  if (has_network_card() || stopped_ || shutting_down_ || power_cut_ || !patience ||
      (sight_.mode == UsbMode::Missing && !services_.rack.knows_port(usb_path()))) {
    absent_since_.reset();
    return absence_timer_.stop();
  }
  if (ladder_.state() != Ladder::State::Idle) return absent_since_.reset();
  auto now = UvLoop::now();
  if (!absent_since_) absent_since_ = now;
  auto left = std::chrono::ceil<Millis>(*absent_since_ + kLongestAbsence - now);
  absence_timer_.start(std::clamp(left, Millis{0}, *patience), [this] {
    absent_since_.reset();
    if (has_network_card() || ladder_.state() != Ladder::State::Idle) return;
    log_event(LogEvent::dongle_down, {{"dongle", config_.id}, {"reason", sight_.evidence}});
    if (!services_.incidents.ongoing(config_.id))
      open_incident("there is no network device", fault_of(sight_.mode), sight_.evidence);
    damper_.on_down(UvLoop::now());
    start_ladder();
    note_state();
  });
}

void Dongle::look_again() {
  if (ladder_.state() != Ladder::State::Held) return;
  follow(ladder_.look_again(UvLoop::now()));
}

void Dongle::on_power_cut(Action action, const std::string& reason) {
  if (stopped_ || shutting_down_) return;
  log_event(LogEvent::power_cut_shared, {{"dongle", config_.id}, {"reason", reason}});
  power_cut_ = true;
  absence_timer_.stop();
  absent_since_.reset();
  give_up_action();
  give_up_rotation(reason);
  if (actions_) actions_->cancel();
  prober_.cancel();
  health_.reset();
  forget_public_ip();
  ladder_.join(action, reason, UvLoop::now());
  update_worker();
  note_steps();
  schedule_ladder();
  note_state();
}

void Dongle::on_power_back(bool ok, const std::string& detail) {
  if (!std::exchange(power_cut_, false)) return;
  update_worker();
  if (ok) {
    follow(ladder_.action_done(true, detail, UvLoop::now()));
  } else {
    // The power may never have gone: what it is like now is for the health to find out.
    ladder_.cancel();
    end_incident("interrupted");
    finish_recovery("failed");
    judge_absence();
  }
  schedule_probe();
  note_state();
}

std::string Dongle::reason() const {
  if (stopped_) return "stopped by the operator";
  if (!network_.present() && sight_.mode != UsbMode::Unknown && sight_.mode != UsbMode::Ethernet)
    return sight_.evidence;
  if (!network_.present()) return network_.trouble.empty() ? "no network device" : network_.trouble;
  if (ladder_.state() == Ladder::State::NoService || ladder_.is_running()) return ladder_.diagnosis().evidence;
  if (ladder_.state() == Ladder::State::Held) return "the ladder waits: " + ladder_.hold()->text;
  if (ladder_.state() == Ladder::State::Waiting)
    return "the ladder is exhausted; next try in " +
           format_duration(std::chrono::duration_cast<Millis>(*ladder_.next_deadline() - UvLoop::now())) + "; " +
           ladder_.diagnosis().evidence;
  if (!worker_.is_ready()) return worker_.trouble();
  if (!network_.trouble.empty()) return network_.trouble;
  if (health_.verdict() == Verdict::Up) return damper_.reason();
  return health_.reason();
}

void Dongle::sample_traffic() {
  Report totals = worker_.totals();
  auto now = UvLoop::now();
  rx_rate_.add(totals.rx_bytes, now);
  tx_rate_.add(totals.tx_bytes, now);
}

// ------------------------------------------------------------------------------------------------ operator's verbs

void Dongle::start() {
  if (!stopped_) return;
  stopped_ = false;
  health_.reset();
  update_worker();
  judge_absence();
  schedule_probe();
  note_state();
}

void Dongle::stop(std::function<void()> done) {
  if (!stopped_) {
    stopped_ = true;
    abandon();
    if (must_undo()) actions_->undo_pending([](const Result<std::string>&) {});
    note_state();
  }
  worker_.stop(kStopDrain, std::move(done));
}

void Dongle::shut_down(std::function<void()> done) {
  shutting_down_ = true;
  abandon();
  auto left = std::make_shared<int>(must_undo() ? 2 : 1);
  auto one_done = [left, done = std::move(done)] {
    if (--*left == 0) done();
  };
  if (must_undo()) {
    actions_->undo_pending([this, one_done](const Result<std::string>&) {
      action_timer_.stop();
      one_done();
    });
    // The intent stays on disk then, for the next start.
    action_timer_.start(kUndoPatience, [this, one_done] {
      actions_->cancel();
      one_done();
    });
  }
  worker_.stop(kStopDrain, one_done);
}

/// Gives up everything that is under way, and tells those who wait for it.
void Dongle::abandon() {
  ladder_.cancel();
  give_up_action();
  power_cut_ = false;
  absence_timer_.stop();
  absent_since_.reset();
  damper_timer_.stop();
  ladder_timer_.stop();
  probe_timer_.stop();
  action_timer_.stop();
  prober_.cancel();
  give_up_rotation("it was stopped meanwhile");
  if (actions_) actions_->cancel();
  worker_missing_ = false;
  unable_since_.reset();
  public_ip_due_ = {};
  end_incident("interrupted");
  finish_recovery("failed");
  for (auto& waiting : std::exchange(waiting_for_service_, {}))
    waiting(RequestError{"failed", "it was stopped meanwhile", {}});
}

void Dongle::give_up_rotation(const std::string& why) {
  if (!std::exchange(rotation_, nullptr)) return;
  Rotation::Report report;
  report.outcome = Rotation::Outcome::ApiFailed;
  report.detail = "given up: " + why;
  std::exchange(rotation_done_, nullptr)(report);
}

/// A modem was left half way in an action, and can be asked to come back from it.
bool Dongle::must_undo() const {
  return actions_ && network_.usable() && services_.intents.pending(config_.id);
}

void Dongle::when_serving(std::function<void(std::optional<RequestError>)> done) {
  if (worker_.is_ready()) return done(std::nullopt);
  waiting_for_service_.push_back(std::move(done));
  serving_timer_.start(kServingDeadline, [this] {
    std::string why = worker_.trouble().empty() ? "the worker doesn't serve yet" : worker_.trouble();
    for (auto& waiting : std::exchange(waiting_for_service_, {})) waiting(RequestError{"timeout", why, {}});
  });
}

void Dongle::restart(std::function<void(std::optional<RequestError>)> done) {
  if (stopped_)
    start();
  else
    worker_.restart();
  when_serving(std::move(done));
}

std::optional<RequestError> Dongle::rotate(Progress progress, std::function<void(const Rotation::Report&)> done) {
  if (!has_api())
    return RequestError{"unsupported", fmt::format("dongle {}: its modem has no API to rotate by", config_.id), {}};
  if (rotation_) return RequestError{"busy", fmt::format("dongle {}: a rotation is under way", config_.id), {}};
  if (ladder_.is_running())
    return RequestError{"busy", fmt::format("dongle {}: a recovery is under way", config_.id), {}};
  if (auto refusal =
          RotationPolicy(rotation_config_).refuse(rotation_ended_, services_.rotations_running(), UvLoop::now())) {
    bool cooldown = refusal->why == RotationPolicy::Refusal::Why::Cooldown;
    return RequestError{cooldown ? "cooldown" : "busy", fmt::format("dongle {}: {}", config_.id, refusal->text),
                        cooldown ? std::optional(std::chrono::ceil<Seconds>(refusal->retry_after)) : std::nullopt};
  }
  if (!client_ || !network_.usable() || !worker_.is_ready())
    return RequestError{
        "refused",
        fmt::format("dongle {}: can't rotate while it is {}: {}", config_.id, to_string(state_), reason()),
        {}};
  prober_.cancel();
  probe_timer_.stop();
  ladder_.cancel();  // a wait for the next try; the rotation is one
  schedule_ladder();
  rotation_done_ = std::move(done);
  rotation_ = std::make_unique<Rotation>(
      services_.loop, *actions_, prober_, rotation_config_, public_ip_,
      Rotation::Hooks{[this] { worker_.drop_connections("rotation"); }, std::move(progress),
                      [this](const Rotation::Report& report) {
                        log_event(LogEvent::rotation_done,
                                  {{"dongle", config_.id},
                                   {"outcome", to_string(report.outcome)},
                                   {"old_ip", report.old_ip ? report.old_ip->to_string() : "-"},
                                   {"new_ip", report.new_ip ? report.new_ip->to_string() : "-"},
                                   {"took_ms", report.took.count()},
                                   {"attempts", report.attempts},
                                   {"detail", report.detail}});
                        rotation_ended_ = UvLoop::now();
                        public_ip_ = report.outcome == Rotation::Outcome::NoEgress ? std::nullopt
                                     : report.new_ip                               ? report.new_ip
                                                                                   : public_ip_;
                        public_ip_due_ = public_ip_ ? UvLoop::now() + kPublicIpRefresh : TimePoint{};
                        bool lost = report.outcome == Rotation::Outcome::NoEgress;
                        health_.reset();
                        if (!lost && report.new_ip) health_.on_probe(true, "", UvLoop::now());
                        auto rotation = std::move(rotation_);  // this callback runs inside it
                        if (lost) {
                          // Only the loss of the way out goes to the ladder; an unchanged address never does.
                          open_incident("no way out after a rotation: " + report.detail, Fault::NoEgress, "");
                          start_ladder();
                        }
                        std::exchange(rotation_done_, nullptr)(report);
                        note_state();
                        schedule_probe();
                      }});
  note_state();
  return std::nullopt;
}

std::optional<RequestError> Dongle::recover(std::optional<Stage> from, Progress progress,
                                            std::function<void(const RecoverReport&)> done) {
  if (stopped_) return RequestError{"refused", fmt::format("dongle {} is stopped; start it first", config_.id), {}};
  if (rotation_) return RequestError{"busy", fmt::format("dongle {}: a rotation is under way", config_.id), {}};
  if (ladder_.is_running())
    return RequestError{"busy", fmt::format("dongle {}: a recovery is under way", config_.id), {}};
  if (!ladder_.enabled() && !from)
    return RequestError{
        "disabled", "recovery is off (recovery.enabled: false); name a stage with --from to run it all the same", {}};
  if (!from && health_.verdict() == Verdict::Up) {
    done({"recovered", Json::array(),
          "nothing to mend: traffic flows; name a stage with --from to run it all the same"});
    return std::nullopt;
  }
  if (ladder_.state() == Ladder::State::Idle) fault_ = Fault::None;
  recovery_done_ = std::move(done);
  recovery_progress_ = std::move(progress);
  follow(ladder_.recover(from, UvLoop::now()));
  return std::nullopt;
}

void Dongle::plan_recovery(std::optional<Stage> from, std::function<void(const RecoverReport&)> done) {
  gather_evidence([this, from, done = std::move(done)](const Evidence& seen) {
    Diagnosis diagnosis = diagnose(seen);
    if (health_.verdict() == Verdict::Up) diagnosis = {Fault::None, "traffic flows", std::nullopt};
    ladder_.set_obstacles(obstacles());
    done({"planned", steps_json(ladder_.plan(diagnosis, from)), diagnosis.evidence});
  });
}

}  // namespace dongle
