#include "supervisor/supervisor.h"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "common/config_parse.h"
#include "common/log.h"
#include "common/version.h"

namespace dongle {
namespace {

// Changes come in bursts; watchers get one document for a burst, and one a second for the counters.
constexpr Millis kWatchDelay{50};
constexpr Millis kWatchInterval = Seconds(1);

Json error_json(const RequestError& error) {
  Json json = {{"code", error.code}, {"message", error.message}};
  if (error.retry_after) json["retry_after_s"] = error.retry_after->count();
  return json;
}

void reply_error(const ControlServer::CallPtr& call, const RequestError& error) {
  call->reply_error(error.code, error.message, error_json(error));
}

Result<void> make_directory(const std::string& path, mode_t mode) {
  std::error_code ec;
  bool is_new = std::filesystem::create_directories(path, ec);
  if (ec) return fail_errno(ec.value(), "{}", path);
  // One that was there keeps its mode: it may be somebody's, such as /tmp.
  if (is_new && chmod(path.c_str(), mode) != 0) return fail_errno(errno, "{}", path);
  return {};
}

}  // namespace

// The one list of what can be asked; the CLI and the HTTP API have no other door.
const Supervisor::Verb Supervisor::kVerbs[] = {
    {"status", &Supervisor::verb_status},       {"watch", &Supervisor::verb_watch},
    {"start", &Supervisor::verb_start},         {"stop", &Supervisor::verb_stop},
    {"restart", &Supervisor::verb_restart},     {"rotate", &Supervisor::verb_rotate},
    {"recover", &Supervisor::verb_recover},     {"why", &Supervisor::verb_why},
    {"info", &Supervisor::verb_info},           {"traffic", &Supervisor::verb_traffic},
    {"incidents", &Supervisor::verb_incidents}, {"apn", &Supervisor::verb_apn},
    {"reload", &Supervisor::verb_reload},       {"tail", &Supervisor::verb_tail},
    {"power", &Supervisor::verb_power},         {"hotplug", &Supervisor::verb_hotplug},
    {"version", &Supervisor::verb_version},
};

Supervisor::Supervisor(UvLoop& loop, Config config, ProgramPaths paths)
    : loop_(loop),
      config_(std::move(config)),
      paths_(std::move(paths)),
      started_(std::chrono::system_clock::now()),
      curl_(loop),
      watch_timer_(loop),
      tick_timer_(loop),
      sweep_timer_(loop) {}

Supervisor::~Supervisor() = default;

Result<void> Supervisor::prepare_directories() {
  // Workers pass through runtime_dir to worker.sock; control.sock guards itself by its mode.
  if (auto made = make_directory(config_.runtime_dir, 0755); !made) return wrap(made.error(), "runtime_dir");
  if (auto made = make_directory(config_.state_dir, 0750); !made) return wrap(made.error(), "state_dir");
  if (auto made = make_directory(config_.state_dir + "/log", 0750); !made) return wrap(made.error(), "state_dir");
  return {};
}

Result<void> Supervisor::start() {
  if (auto made = prepare_directories(); !made) return made;
  note_keys_without_effect();
  incidents_ = std::make_unique<IncidentLog>(loop_, config_.state_dir + "/incidents.json");
  intents_ = std::make_unique<IntentLog>(loop_, config_.state_dir + "/intents.json");
  rack_ = std::make_unique<Rack>(loop_, *intents_, paths_.usb_helper, config_.state_dir);
  rack_->configure(config_);
  stopped_file_ = std::make_unique<StateFileWriter>(loop_, config_.runtime_dir + "/stopped.json");
  auto launcher = ForkLauncher::create(loop_, {paths_.worker, config_.runtime_dir, config_.worker_uid_base});
  if (!launcher) return std::unexpected(std::move(launcher).error());
  launcher_ = std::move(*launcher);

  auto routing = Routing::open(loop_, paths_.dhcp_report, [this](DongleId id, const DongleNetwork& network) {
    if (auto it = dongles_.find(id); it != dongles_.end()) it->second->set_network(network);
    spread_denied_destinations();
  });
  if (!routing) return std::unexpected(std::move(routing).error());
  routing_ = std::move(*routing);

  auto workers = WorkerLink::listen(loop_, config_.runtime_dir + "/worker.sock", config_.worker_uid_base,
                                    [this](WorkerLink::Registration registration) {
                                      auto it = dongles_.find(registration.hello.id);
                                      if (it != dongles_.end())
                                        return it->second->attach_worker(std::move(registration));
                                      // A dongle that the configuration no longer has.
                                      (void)IpcChannel(loop_, std::move(registration.socket), {}).send(Stop{Millis{0}});
                                    });
  if (!workers) return std::unexpected(std::move(workers).error());
  workers_ = std::move(*workers);

  auto control =
      ControlServer::listen(loop_, config_.runtime_dir + "/control.sock",
                            [this](const Json& request, ControlServer::CallPtr call) { handle(request, call); });
  if (!control) return std::unexpected(std::move(control).error());
  control_ = std::move(*control);

  rack_->start();
  std::set<DongleId> stopped = load_stopped();
  for (const DongleConfig& d : config_.dongles) {
    add_dongle(d);
    if (stopped.contains(d.id)) dongles_[d.id]->stop({});
  }
  if (auto configured = routing_->configure(config_); !configured) return configured;
  routing_->set_usb(rack_->tree());
  rack_->on_change([this] { routing_->set_usb(rack_->tree()); });
  for (auto& [id, dongle] : dongles_) dongle->set_network(routing_->network(id));
  spread_denied_destinations();
  tick_timer_.repeat(kWatchInterval, [this] { tell_watchers(); });
  log_event(LogEvent::supervisor_started,
            {{"version", kVersion}, {"config", config_.file}, {"dongles", config_.dongles.size()}});
  return {};
}

void Supervisor::note_keys_without_effect() const {
  for (const std::string& key : config_.keys_without_effect)
    log_event(LogEvent::config_key_without_effect, {{"config", config_.file}, {"key", key}});
  if (!config_.proxy.users_file.empty())
    log_event(LogEvent::clients_refused_without_users, {{"users_file", config_.proxy.users_file}});
}

void Supervisor::add_dongle(const DongleConfig& config) {
  DongleServices services{
      loop_,
      curl_,
      *launcher_,
      *incidents_,
      *intents_,
      *rack_,
      config_.state_dir + "/log",
      [this] {
        return static_cast<int>(std::ranges::count_if(dongles_, [](const auto& d) { return d.second->is_rotating(); }));
      },
      [this](DongleId id) { on_changed(id); },
      [this](DongleId id) { return routing_->reset(id); }};
  dongles_[config.id] = std::make_unique<Dongle>(std::move(services), config_, config);
}

/// Ends a dongle that isn't in dongles_ any more, and lets go of it when its worker is gone.
void Supervisor::retire(std::unique_ptr<Dongle> dongle) {
  Dongle* leaving = leaving_.emplace_back(std::move(dongle)).get();
  leaving->shut_down([this, leaving] {
    gone_.push_back(leaving);
    sweep_timer_.start(Millis{0}, [this] { sweep(); });  // from the loop: this is the dongle's own callback
  });
}

void Supervisor::sweep() {
  bool some_left =
      std::erase_if(leaving_, [this](const auto& d) { return std::ranges::find(gone_, d.get()) != gone_.end(); }) > 0;
  gone_.clear();
  if (some_left && !going_down_)
    if (auto configured = routing_->configure(routed_config()); !configured)
      log_event(LogEvent::netlink_dump_failed, {{"error", configured.error().message()}, {"outcome", "ignored"}});
  if (!going_down_ || !leaving_.empty()) return;
  workers_.reset();
  rack_->shut_down([this] {
    routing_->withdraw([this] {
      log_event(LogEvent::supervisor_stopped, {});
      loop_.stop();
    });
  });
}

/// The configuration, and behind it the dongles that are on their way out of it: without their routes nobody could ask
/// their modems to undo what is half done.
Config Supervisor::routed_config() const {
  Config routed = config_;
  for (const auto& dongle : leaving_)
    if (std::ranges::find(routed.dongles, dongle->id(), &DongleConfig::id) == routed.dongles.end())
      routed.dongles.push_back(dongle->config());
  return routed;
}

void Supervisor::spread_denied_destinations() {
  // No client of one stick may reach another stick's admin page either.
  std::vector<Address> denied;
  for (const DongleConfig& d : config_.dongles) {
    const DongleNetwork& network = routing_->network(d.id);
    for (const auto& gateway : {network.gateway_v4, network.gateway_v6, d.gateway})
      if (gateway && std::ranges::find(denied, *gateway) == denied.end()) denied.push_back(*gateway);
    if (auto endpoint = modem_endpoint(d, network.gateway_v4);
        endpoint && std::ranges::find(denied, endpoint->address) == denied.end())
      denied.push_back(endpoint->address);
  }
  for (auto& [id, dongle] : dongles_) dongle->set_denied_destinations(denied);
}

Result<Json> Supervisor::reload() {
  auto refuse = [this](const std::string& reason) {
    log_event(LogEvent::reload_refused, {{"config", config_.file}, {"reason", reason}});
    return fail(Errc::InvalidArgument, "{}", reason);
  };
  if (going_down_) return refuse("the daemon is shutting down");
  auto fresh = load_config(config_.file);
  if (!fresh) {
    std::string all;
    for (const std::string& problem : fresh.error()) all += (all.empty() ? "" : "\n") + problem;
    return refuse(all);
  }
  for (auto [key, same] : {std::pair{"runtime_dir", fresh->runtime_dir == config_.runtime_dir},
                           std::pair{"state_dir", fresh->state_dir == config_.state_dir},
                           std::pair{"launcher", fresh->launcher == config_.launcher},
                           std::pair{"worker_uid_base", fresh->worker_uid_base == config_.worker_uid_base}})
    if (!same) return refuse(fmt::format("{}: {} can't change while the daemon runs; restart it", config_.file, key));

  auto find = [](const Config& c, DongleId id) -> const DongleConfig* {
    auto it = std::ranges::find(c.dongles, id, &DongleConfig::id);
    return it == c.dongles.end() ? nullptr : &*it;
  };
  Json changed = Json::array();
  int unchanged = 0;
  bool common_changed = !(fresh->proxy == config_.proxy) || !(fresh->probe == config_.probe) ||
                        !(fresh->rotation == config_.rotation) || !(fresh->recovery == config_.recovery);
  Config before = std::exchange(config_, std::move(*fresh));
  rack_->configure(config_);
  for (auto it = dongles_.begin(); it != dongles_.end();) {
    if (find(config_, it->first)) {
      ++it;
      continue;
    }
    changed.push_back(it->first.value);
    auto leaving = std::move(it->second);
    it = dongles_.erase(it);
    retire(std::move(leaving));
  }
  for (const DongleConfig& d : config_.dongles) {
    const DongleConfig* old = find(before, d.id);
    if (!old) {
      add_dongle(d);
    } else if (common_changed || !(*old == d)) {
      dongles_[d.id]->configure(config_, d);
    } else {
      ++unchanged;
      continue;
    }
    changed.push_back(d.id.value);
  }
  note_keys_without_effect();
  if (auto configured = routing_->configure(routed_config()); !configured) return std::unexpected(configured.error());
  for (auto& [id, dongle] : dongles_) dongle->set_network(routing_->network(id));
  spread_denied_destinations();
  save_stopped();
  log_event(LogEvent::reloaded, {{"config", config_.file}, {"changed", changed.size()}, {"unchanged", unchanged}});
  tell_watchers();
  return Json{{"changed", changed}, {"unchanged", unchanged}};
}

void Supervisor::shut_down() {
  if (std::exchange(going_down_, true)) return;
  tick_timer_.stop();
  watch_timer_.stop();
  control_.reset();
  for (auto& [id, dongle] : std::exchange(dongles_, {})) retire(std::move(dongle));
  if (leaving_.empty()) sweep();
}

void Supervisor::on_changed(DongleId) {
  if (!watch_timer_.is_active()) watch_timer_.start(kWatchDelay, [this] { tell_watchers(); });
}

void Supervisor::tell_watchers() {
  std::erase_if(watchers_, [](const auto& call) { return !call->is_connected(); });
  if (watchers_.empty()) return;
  Json document = status({});
  for (auto& call : watchers_) call->event("status", document);
}

// The operator's stops outlive a crash of ours, but not the host's next boot: runtime_dir is gone then.
void Supervisor::save_stopped() {
  if (going_down_) return;  // requests that are given up then find no dongles any more
  Json ids = Json::array();
  for (const auto& [id, dongle] : dongles_)
    if (dongle->state() == DongleState::Stopped) ids.push_back(id.value);
  Json powered_off = Json::array();
  for (DongleId id : powered_off_) powered_off.push_back(id.value);
  stopped_file_->write({{"stopped", ids}, {"powered_off", powered_off}});
}

std::set<DongleId> Supervisor::load_stopped() {
  auto file = read_state_file(config_.runtime_dir + "/stopped.json");
  auto read = [&file](const char* key) {
    std::set<DongleId> ids;
    if (!file || !file->is_object() || !file->contains(key) || !(*file)[key].is_array()) return ids;
    for (const auto& id : (*file)[key])
      if (id.is_number_unsigned()) ids.insert(DongleId{id.get<unsigned>()});
    return ids;
  };
  powered_off_ = read("powered_off");
  return read("stopped");
}

// ----------------------------------------------------------------------------------------------------------- verbs

void Supervisor::handle(const Json& request, ControlServer::CallPtr call) {
  std::string name = json_string(request, "verb");
  for (const Verb& verb : kVerbs)
    if (name == verb.name) return (this->*verb.run)(request, std::move(call));
  call->reply_error("invalid_request", "unknown verb \"" + name.substr(0, 40) + "\"");
}

std::optional<std::vector<DongleId>> Supervisor::select(const Json& request, const ControlServer::CallPtr& call,
                                                        bool default_all) const {
  std::vector<DongleId> ids;
  auto add = [&](const Json& value) {
    if (value.is_number_integer() && value.get<std::int64_t>() >= 0 && value.get<std::int64_t>() <= 255) {
      DongleId id{static_cast<unsigned>(value.get<std::int64_t>())};
      if (dongles_.contains(id)) {
        if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
        return true;
      }
    }
    std::string known;
    for (const auto& [id, dongle] : dongles_) known += fmt::format("{}{}", known.empty() ? "" : ", ", id);
    call->reply_error("not_found",
                      fmt::format("{}: no such dongle (there are: {})", dump_json(value).substr(0, 40), known));
    return false;
  };
  auto list = request.find("ids");
  if (auto id = request.find("id"); id != request.end()) {
    if (!add(*id)) return std::nullopt;
  } else if (list != request.end() && list->is_array()) {
    for (const auto& value : *list)
      if (!add(value)) return std::nullopt;
  } else if ((list != request.end() && *list == "all") || (list == request.end() && default_all)) {
    for (const auto& entry : dongles_) ids.push_back(entry.first);
  } else {
    call->reply_error("invalid_request", "which dongle? \"ids\" is a list of numbers or \"all\"");
    return std::nullopt;
  }
  return ids;
}

Dongle* Supervisor::select_one(const Json& request, const ControlServer::CallPtr& call) const {
  auto ids = select(request, call, false);
  if (!ids) return nullptr;
  if (ids->size() == 1) return dongles_.at(ids->front()).get();
  call->reply_error("invalid_request", "one dongle at a time");
  return nullptr;
}

Json Supervisor::status(const std::vector<DongleId>& ids) const {
  Json list = Json::array();
  for (const auto& [id, dongle] : dongles_)
    if (ids.empty() || std::ranges::find(ids, id) != ids.end()) {
      Json one = dongle->status();
      one["repairs"] = routing_->route_repairs(id);
      list.push_back(std::move(one));
    }
  auto failure = routing_->firewall_failure();
  return {{"schema", 1},
          {"dongles", list},
          {"firewall",
           {{"applied", routing_->firewall_applied()},
            {"repairs", routing_->firewall_repairs()},
            {"failure", failure ? Json(failure->message()) : Json()}}}};
}

void Supervisor::verb_status(const Json& request, ControlServer::CallPtr call) {
  if (auto ids = select(request, call, true)) call->reply(status(*ids));
}

void Supervisor::verb_watch(const Json&, ControlServer::CallPtr call) {
  call->event("status", status({}));
  watchers_.push_back(std::move(call));
}

void Supervisor::for_each_selected(const Json& request, ControlServer::CallPtr call,
                                   std::function<void(Dongle&, std::function<void(std::optional<RequestError>)>)> act) {
  auto ids = select(request, call, false);
  if (!ids) return;
  bool wait = json_bool(request, "wait", true);
  struct Progress {
    std::size_t left = 0;
    std::map<DongleId, Json> results;
  };
  auto progress = std::make_shared<Progress>();
  progress->left = ids->size();
  auto answer = [this, call, progress] {
    save_stopped();
    Json list = Json::array();
    for (auto& [id, result] : progress->results) list.push_back(result);
    call->reply({{"dongles", list}});
  };
  for (DongleId id : *ids) {
    auto done = [this, id, progress, answer, wait](std::optional<RequestError> error) {
      Json result = {{"id", id.value}, {"ok", !error.has_value()}};
      if (auto it = dongles_.find(id); it != dongles_.end()) result["state"] = to_string(it->second->state());
      if (error) result["error"] = error_json(*error);
      progress->results[id] = result;
      if (--progress->left == 0 && wait) answer();
    };
    act(*dongles_.at(id), done);
  }
  if (!wait) {
    for (DongleId id : *ids)
      progress->results.try_emplace(
          id, Json{{"id", id.value}, {"ok", true}, {"state", to_string(dongles_.at(id)->state())}});
    answer();
  } else if (ids->empty()) {
    answer();
  }
}

void Supervisor::verb_start(const Json& request, ControlServer::CallPtr call) {
  for_each_selected(request, std::move(call), [](Dongle& dongle, auto done) {
    dongle.start();
    dongle.when_serving(std::move(done));
  });
}

void Supervisor::verb_stop(const Json& request, ControlServer::CallPtr call) {
  for_each_selected(request, std::move(call),
                    [](Dongle& dongle, auto done) { dongle.stop([done] { done(std::nullopt); }); });
}

void Supervisor::verb_restart(const Json& request, ControlServer::CallPtr call) {
  for_each_selected(request, std::move(call), [](Dongle& dongle, auto done) { dongle.restart(std::move(done)); });
}

void Supervisor::verb_rotate(const Json& request, ControlServer::CallPtr call) {
  Dongle* dongle = select_one(request, call);
  if (!dongle) return;
  bool wait = json_bool(request, "wait", true);
  auto refused = dongle->rotate(
      [call](const std::string& text) { call->progress(text); },
      [call, id = dongle->id()](const Rotation::Report& report) {
        auto text = [](const std::optional<Address>& a) { return a ? Json(a->to_string()) : Json(); };
        Json result = {{"id", id.value},
                       {"outcome", to_string(report.outcome)},
                       {"old_ip", text(report.old_ip)},
                       {"new_ip", text(report.new_ip)},
                       {"took_ms", report.took.count()}};
        switch (report.outcome) {
          case Rotation::Outcome::Changed:
          case Rotation::Outcome::SameIp: return call->reply(result);
          case Rotation::Outcome::NoEgress:
            return call->reply_error("no_egress",
                                     fmt::format("dongle {}: {}; the ladder takes over", id, report.detail), result);
          case Rotation::Outcome::ApiFailed:
            return call->reply_error("api_failed", fmt::format("dongle {}: {}", id, report.detail), result);
        }
      });
  if (refused) return reply_error(call, *refused);
  if (!wait) call->reply({{"id", dongle->id().value}, {"outcome", "started"}});
}

void Supervisor::verb_recover(const Json& request, ControlServer::CallPtr call) {
  Dongle* dongle = select_one(request, call);
  if (!dongle) return;
  std::optional<Stage> from;
  if (std::string name = json_string(request, "from"); !name.empty()) {
    from = stage_from_string(name);
    if (!from)
      return call->reply_error("invalid_request", "no stage \"" + name.substr(0, 40) +
                                                      "\"; there are route, modem, usb, port_power, hub_power");
  }
  auto answer = [call, id = dongle->id()](const Dongle::RecoverReport& report) {
    call->reply(
        {{"id", id.value}, {"outcome", report.outcome}, {"steps", report.steps}, {"diagnosis", report.diagnosis}});
  };
  if (json_bool(request, "dry_run")) return dongle->plan_recovery(from, answer);
  auto refused = dongle->recover(
      from, [call](const std::string& text) { call->progress(text); }, answer);
  if (refused) return reply_error(call, *refused);
  if (!json_bool(request, "wait", true))
    call->reply({{"id", dongle->id().value}, {"outcome", "started"}, {"steps", Json::array()}, {"diagnosis", ""}});
}

void Supervisor::verb_why(const Json& request, ControlServer::CallPtr call) {
  if (Dongle* dongle = select_one(request, call)) call->reply(dongle->why());
}

void Supervisor::verb_info(const Json& request, ControlServer::CallPtr call) {
  Dongle* dongle = select_one(request, call);
  if (!dongle) return;
  dongle->info([this, call, id = dongle->id()](Json info) {
    info["interface"]["repairs"] = routing_->route_repairs(id);
    routing_->read_counters([call, info, id](Result<Counters> counters) mutable {
      if (counters) info["leak_blocked_packets"] = (*counters)[leak_counter(id)].packets;
      call->reply(info);
    });
  });
}

void Supervisor::verb_traffic(const Json& request, ControlServer::CallPtr call) {
  auto ids = select(request, call, true);
  if (!ids) return;
  Json list = Json::array();
  for (DongleId id : *ids) {
    list.push_back(dongles_.at(id)->traffic());
    if (json_bool(request, "reset")) dongles_.at(id)->reset_traffic();
  }
  call->reply({{"dongles", list}});
}

void Supervisor::verb_incidents(const Json& request, ControlServer::CallPtr call) {
  std::optional<DongleId> id;
  if (request.contains("id")) {
    Dongle* dongle = select_one(request, call);
    if (!dongle) return;
    id = dongle->id();
  }
  auto limit =
      std::clamp<std::int64_t>(json_int(request, "limit", IncidentLog::kMaxIncidents), 0, IncidentLog::kMaxIncidents);
  call->reply(incidents_->to_json(id, static_cast<std::size_t>(limit)));
}

void Supervisor::verb_apn(const Json& request, ControlServer::CallPtr call) {
  if (Dongle* dongle = select_one(request, call))
    dongle->apn([call](Result<Json> apn) {
      if (apn)
        call->reply(*apn);
      else
        call->reply_error(to_string(apn.error().code), apn.error().message());
    });
}

void Supervisor::verb_reload(const Json&, ControlServer::CallPtr call) {
  auto result = reload();
  if (result)
    call->reply(*result);
  else
    call->reply_error("invalid_config", result.error().message());
}

void Supervisor::verb_tail(const Json& request, ControlServer::CallPtr call) {
  if (Dongle* dongle = select_one(request, call))
    call->reply({{"path", config_.state_dir + fmt::format("/log/{}.log", dongle->id())}});
}

void Supervisor::verb_version(const Json&, ControlServer::CallPtr call) {
  call->reply({{"version", kVersion}, {"pid", getpid()}, {"config", config_.file}, {"started", to_rfc3339(started_)}});
}

}  // namespace dongle
