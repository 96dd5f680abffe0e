#include "supervisor/identity.h"

#include <algorithm>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace dongle {
namespace {

/// Makes room by forgetting what was seen longest ago.
template <class Entries>
void bound(Entries& entries) {
  while (entries.size() > IdentityTable::kMaxEntries)
    entries.erase(std::ranges::min_element(entries, {}, [](const auto& entry) { return entry.second.seen; }));
}

/// "stick 8672… replaced 8615…; it was at 2-1.2 (dongle 12) before"
std::string tell(const char* thing, const std::string& now, const std::string& before, const std::string& origin) {
  std::string text = fmt::format("{} {} replaced {}", thing, now, before);
  return origin.empty() ? text : fmt::format("{}; it was at {} before", text, origin);
}

bool is_number(const std::string& text) {
  return !text.empty() && text.size() <= 32 && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
  });
}

bool is_port(const std::string& text) {
  return !text.empty() && text.size() <= 64;
}

}  // namespace

std::string IdentityTable::place_of(const Places& places, const std::string& key, const std::string& except) {
  auto it = places.find(key);
  if (it == places.end() || it->second.port == except) return {};
  return fmt::format("{} (dongle {})", it->second.port, it->second.dongle);
}

IdentityReport IdentityTable::observe(const Identity& seen) {
  IdentityReport report;
  // A modem may answer anything; what is no such number is as good as no answer.
  std::string imei = is_number(seen.imei) ? seen.imei : "", iccid = is_number(seen.iccid) ? seen.iccid : "";
  if (!is_port(seen.port) || (imei.empty() && iccid.empty())) return report;

  auto [entry, is_new] = ports_.try_emplace(seen.port);
  AtPort& at = entry->second;
  report.first_seen = is_new;
  report.stick_changed = !at.imei.empty() && !imei.empty() && imei != at.imei;
  report.sim_changed = !at.iccid.empty() && !iccid.empty() && iccid != at.iccid;

  std::string stick_origin = place_of(sticks_, imei, seen.port), sim_origin = place_of(sims_, iccid, seen.port);
  if (is_new) {
    report.text = imei.empty() ? fmt::format("SIM {}", iccid) : fmt::format("stick {}", imei);
    if (std::string& origin = imei.empty() ? sim_origin : stick_origin; !origin.empty())
      report.text += fmt::format(", which was at {} before", origin);
  }
  if (report.stick_changed) report.text = tell("stick", imei, at.imei, stick_origin);
  if (report.sim_changed) {
    if (!report.text.empty()) report.text += "; ";
    report.text += tell("SIM", iccid, at.iccid, sim_origin);
  } else if (report.stick_changed && !iccid.empty() && iccid == at.iccid) {
    report.text += "; the SIM is the same";
  }
  report.is_news = is_new || (!imei.empty() && imei != at.imei) || (!iccid.empty() && iccid != at.iccid);

  at.seen = ++counter_;
  if (!imei.empty()) at.imei = imei, sticks_[imei] = {seen.port, seen.dongle, counter_};
  if (!iccid.empty()) at.iccid = iccid, sims_[iccid] = {seen.port, seen.dongle, counter_};
  bound(ports_);
  bound(sticks_);
  bound(sims_);
  return report;
}

Json IdentityTable::to_json() const {
  Json ports = Json::object();
  for (const auto& [port, at] : ports_) ports[port] = {{"imei", at.imei}, {"iccid", at.iccid}, {"seen", at.seen}};
  auto places = [](const Places& all) {
    Json json = Json::object();
    for (const auto& [key, place] : all)
      json[key] = {{"port", place.port}, {"dongle", place.dongle.value}, {"seen", place.seen}};
    return json;
  };
  return {{"ports", ports}, {"sticks", places(sticks_)}, {"sims", places(sims_)}};
}

IdentityTable IdentityTable::from_json(const Json& json) {
  IdentityTable table;
  auto each = [&](const char* name, auto take) {
    if (!json.is_object() || !json.contains(name) || !json[name].is_object()) return;
    for (const auto& [key, value] : json[name].items()) {
      auto seen = json_int(value, "seen");
      if (!value.is_object() || seen < 1) continue;
      take(key, value, static_cast<std::uint64_t>(seen));
      table.counter_ = std::max(table.counter_, static_cast<std::uint64_t>(seen));
    }
  };
  each("ports", [&](const std::string& port, const Json& value, std::uint64_t seen) {
    std::string imei = json_string(value, "imei"), iccid = json_string(value, "iccid");
    bool fits = (imei.empty() || is_number(imei)) && (iccid.empty() || is_number(iccid)) && is_port(port);
    if (fits) table.ports_[port] = {imei, iccid, seen};
  });
  for (auto [name, places] : {std::pair("sticks", &table.sticks_), std::pair("sims", &table.sims_)})
    each(name, [&](const std::string& key, const Json& value, std::uint64_t seen) {
      std::string port = json_string(value, "port");
      auto dongle = json_int(value, "dongle");
      if (!is_number(key) || !is_port(port) || dongle < kMinDongleId || dongle > kMaxDongleId) return;
      (*places)[key] = {port, DongleId{static_cast<unsigned>(dongle)}, seen};
    });
  bound(table.ports_);
  bound(table.sticks_);
  bound(table.sims_);
  return table;
}

}  // namespace dongle
