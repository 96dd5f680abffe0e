// What a dongle tells of itself: status, why, traffic, info, apn.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "supervisor/dongle.h"

namespace dongle {
namespace {

Json or_null(const std::optional<Address>& address) {
  return address ? Json(address->to_string()) : Json();
}
Json or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

}  // namespace

Json Dongle::status() const {
  Report totals = worker_.totals();
  auto now = UvLoop::now();
  Json worker;
  if (auto pid = worker_.pid())
    worker = {{"pid", *pid},
              {"uptime_s", std::chrono::duration_cast<Seconds>(now - worker_.started_at()).count()},
              {"connections", totals.connections}};
  RateRing rx = rx_rate_, tx = tx_rate_;
  auto stage = ladder_.current_stage();
  return {{"id", config_.id.value},
          {"state", to_string(state_)},
          {"since", to_rfc3339(since_)},
          {"interface", network_.device.empty() ? or_null(config_.interface) : Json(network_.device)},
          {"address", network_.v4 ? Json(network_.v4->address.to_string()) : Json()},
          {"gateway", or_null(network_.gateway_v4)},
          {"public_ip", or_null(public_ip_)},
          {"socks5_port", config_.socks5_port},
          {"worker", worker},
          {"rx_bytes", totals.rx_bytes - rx_base_},
          {"tx_bytes", totals.tx_bytes - tx_base_},
          {"rx_bytes_per_s", rx.per_second(now)},
          {"tx_bytes_per_s", tx.per_second(now)},
          {"stage", stage ? Json(to_string(*stage)) : Json()},
          {"reason", state_ == DongleState::Online ? Json() : or_null(reason())}};
}

Json Dongle::steps_json(const std::vector<StepRecord>& steps) const {
  Json list = Json::array();
  for (const StepRecord& s : steps)
    list.push_back({{"stage", to_string(stage_of(s.action))},
                    {"action", to_string(s.action)},
                    {"reason", s.reason},
                    {"outcome", to_string(s.outcome)},
                    {"detail", s.detail},
                    {"took_ms", s.took.count()}});
  return list;
}

Json Dongle::why() const {
  std::string next = "nothing to do";
  auto until = [&] {
    return format_duration(
        std::chrono::duration_cast<Millis>(std::max(*ladder_.next_deadline() - UvLoop::now(), TimePoint::duration{0})));
  };
  switch (ladder_.state()) {
    case Ladder::State::Idle:
      if (health_.verdict() == Verdict::Suspect) next = "probing again to tell whether it is down";
      if (health_.verdict() == Verdict::Down && !ladder_.enabled()) next = "recovery is off: nothing by itself";
      if (!network_.present()) next = "waiting for the network device";
      if (absence_timer_.is_active()) next = "the ladder, if it doesn't come back by itself";
      break;
    case Ladder::State::Diagnosing: next = "looking at what is wrong"; break;
    case Ladder::State::Held: next = "waits: " + ladder_.hold()->text + "; looks again in " + until(); break;
    case Ladder::State::Acting: next = "waiting for the action to finish"; break;
    case Ladder::State::Settling: next = "waiting for traffic, at most " + until() + ", then the next rung"; break;
    case Ladder::State::Waiting: next = "the ladder again in " + until(); break;
    case Ladder::State::NoService: next = "a person's work; looking again in " + until(); break;
  }
  if (stopped_) next = "stays stopped until `donglectl start`";
  const Diagnosis& d = ladder_.diagnosis();
  return {{"id", config_.id.value},
          {"state", to_string(state_)},
          {"since", to_rfc3339(since_)},
          {"reason", state_ == DongleState::Online ? Json() : or_null(reason())},
          {"diagnosis", {{"fault", to_string(d.fault)}, {"evidence", d.evidence}}},
          {"shared_failure", or_null(services_.rack.shared_failure(config_.id))},
          {"usb", {{"path", or_null(usb_path())}, {"seen", or_null(sight_.evidence)}}},
          {"steps", steps_json(ladder_.steps())},
          {"next", next}};
}

Json Dongle::traffic() const {
  Json s = status();
  return {{"id", config_.id.value},
          {"rx_bytes", s["rx_bytes"]},
          {"tx_bytes", s["tx_bytes"]},
          {"rx_bytes_per_s", s["rx_bytes_per_s"]},
          {"tx_bytes_per_s", s["tx_bytes_per_s"]},
          {"connections", worker_.totals().connections},
          {"since", to_rfc3339(traffic_since_)}};
}

void Dongle::reset_traffic() {
  Report totals = worker_.totals();
  rx_base_ = totals.rx_bytes;
  tx_base_ = totals.tx_bytes;
  traffic_since_ = std::chrono::system_clock::now();
}

void Dongle::info(std::function<void(Json)> done) {
  Report totals = worker_.totals();
  Json closed = Json::object();
  for (const auto& [reason, count] : totals.closed) closed[reason] = count;
  Json all = {{"id", config_.id.value},
              {"state", to_string(state_)},
              {"config",
               {{"interface", or_null(config_.interface)},
                {"mac", or_null(config_.mac)},
                {"usb_path", or_null(config_.usb_path)},
                {"socks5", config_.socks5_port},
                {"modem", config_.modem.type == ModemType::HiLink ? "hilink" : "none"}}},
              {"interface",
               {{"device", or_null(network_.device)},
                {"ifindex", network_.ifindex.value},
                {"link_up", network_.link_up},
                {"address", network_.v4 ? Json(network_.v4->to_string()) : Json()},
                {"gateway", or_null(network_.gateway_v4)},
                {"routes_in_force", network_.routes_in_force},
                {"trouble", or_null(network_.trouble)}}},
              {"worker",
               {{"pid", worker_.pid() ? Json(*worker_.pid()) : Json()},
                {"ready", worker_.is_ready()},
                {"restarts", worker_.restarts()},
                {"accepted", totals.accepted},
                {"closed", closed}}},
              {"public_ip", or_null(public_ip_)}};
  if (!has_api() || !client_ || !network_.usable()) {
    all["modem"] = {{"answers", false}, {"reason", has_api() ? "not reachable now" : "no API (modem.type: none)"}};
    return done(std::move(all));
  }
  ask_modem([this, all, done](const ModemView& view) mutable {
    all["modem"] = {{"answers", view.api == ModemView::Api::Answered},
                    {"status", or_null(view.summary)},
                    {"error", or_null(view.api_error)}};
    if (view.api != ModemView::Api::Answered) return done(all);
    client_->read_information([this, all, done](Result<DeviceInformation> device) mutable {
      if (device)
        all["modem"].update({{"name", device->name},
                             {"imei", device->imei},
                             {"iccid", device->iccid},
                             {"software", device->software_version},
                             {"hardware", device->hardware_version}});
      else
        all["modem"]["information_error"] = device.error().message();
      client_->read_signal([this, all, done](Result<Signal> signal) mutable {
        auto number = [](std::optional<double> v) { return v ? Json(*v) : Json(); };
        if (signal)
          all["modem"].update({{"rsrp_dbm", number(signal->rsrp_dbm)},
                               {"rsrq_db", number(signal->rsrq_db)},
                               {"sinr_db", number(signal->sinr_db)},
                               {"band", or_null(signal->band)},
                               {"cell_id", or_null(signal->cell_id)}});
        client_->read_plmn([all, done](Result<Plmn> plmn) mutable {
          if (plmn) all["modem"]["operator"] = or_null(plmn->full_name);
          done(all);
        });
      });
    });
  });
}

void Dongle::apn(std::function<void(Result<Json>)> done) {
  if (!has_api())
    return done(fail(Errc::Unsupported, "dongle {}: its modem has no API (modem.type: none)", config_.id));
  if (!client_ || !network_.usable())
    return done(fail(Errc::Unreachable, "dongle {}: the modem can't be reached now", config_.id));
  client_->read_profiles([this, done](Result<Profiles> profiles) {
    if (!profiles) return done(wrap(profiles.error(), "dongle {}", config_.id));
    Json list = Json::array();
    std::string current;
    for (const auto& p : profiles->profiles) {
      list.push_back({{"index", p.index}, {"name", p.name}, {"apn", p.apn}});
      if (p.index == profiles->current) current = p.apn;
    }
    done(Json{{"id", config_.id.value}, {"current", or_null(current)}, {"profiles", list}});
  });
}

}  // namespace dongle
