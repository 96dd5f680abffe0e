#include "supervisor/hub_memory.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace dongle {
namespace {

std::int64_t to_ms(WallTime t) {
  return std::chrono::floor<Millis>(t).time_since_epoch().count();
}

std::uint16_t parse_hex(const std::string& text) {
  std::uint16_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return value;
}

}  // namespace

void HubMemory::learn(const HubIdentity& hub, int port, PowerLesson lesson) {
  lessons_[{hub, port}] = std::move(lesson);
  if (lessons_.size() <= kMaxLessons) return;
  auto age = [](const auto& entry) { return entry.second.at; };
  lessons_.erase(std::ranges::min_element(lessons_, {}, age));
}

const PowerLesson* HubMemory::find(const HubIdentity& hub, int port, WallTime now) const {
  auto it = lessons_.find({hub, port});
  if (it == lessons_.end()) return nullptr;
  auto apart = now > it->second.at ? now - it->second.at : it->second.at - now;
  return it->second.effective || apart < kForget ? &it->second : nullptr;
}

Json HubMemory::to_json() const {
  Json hubs = Json::array();
  for (const auto& [key, lesson] : lessons_)
    hubs.push_back({{"location", key.first.location},
                    {"vendor", fmt::format("{:04x}", key.first.vendor)},
                    {"product", fmt::format("{:04x}", key.first.product)},
                    {"port", key.second},
                    {"effective", lesson.effective},
                    {"at", to_rfc3339(lesson.at)},
                    {"at_ms", to_ms(lesson.at)},
                    {"evidence", lesson.evidence}});
  return {{"hubs", hubs}};
}

HubMemory HubMemory::from_json(const Json& json) {
  HubMemory memory;
  auto hubs = json.is_object() ? json.find("hubs") : json.end();
  if (!json.is_object() || hubs == json.end() || !hubs->is_array()) return memory;
  for (const Json& j : *hubs) {
    HubIdentity hub{json_string(j, "location"), parse_hex(json_string(j, "vendor")),
                    parse_hex(json_string(j, "product"))};
    auto port = json_int(j, "port", -1);
    // WallTime holds nanoseconds, until 2262; whatever the file says.
    auto at = std::clamp<std::int64_t>(json_int(j, "at_ms"), 0, 9'000'000'000'000);
    if (hub.location.empty() || port < 0 || port > 255) continue;
    memory.learn(hub, static_cast<int>(port),
                 {json_bool(j, "effective"), WallTime(Millis(at)), json_string(j, "evidence")});
  }
  return memory;
}

}  // namespace dongle
