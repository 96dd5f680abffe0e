#include "supervisor/intent_log.h"

#include <nlohmann/json.hpp>

#include "common/log.h"
#include "common/net_address.h"

namespace dongle {
namespace {

// Far above what can be under way: an action a dongle, one a hub. A bound for a file that somebody else wrote.
constexpr std::size_t kMaxIntents = 1024;

bool is_dongle(std::string_view key) {
  return parse_decimal(key, kMinDongleId, kMaxDongleId).has_value();
}
bool is_place(std::string_view key) {
  return key.starts_with("hub ") || key.starts_with("device ");
}

}  // namespace

IntentLog::IntentLog(UvLoop& loop, const std::string& path) : writer_(loop, path) {
  auto file = read_state_file(path);
  if (!file) {
    if (file.error().code != Errc::NotFound)
      log_event(LogEvent::state_read_failed, {{"reason", file.error().message()}});
    return;
  }
  if (!file->is_object()) return;
  for (const auto& [key, intent] : file->items())
    if (intent.is_object() && (is_dongle(key) || is_place(key)) && intents_.size() < kMaxIntents)
      intents_[key] = intent;
}

void IntentLog::record(const std::string& key, const Json& intent, std::function<void()> done) {
  CHECK(is_dongle(key) || is_place(key));
  intents_[key] = intent;
  writer_.write(document(), [done = std::move(done)](const Result<void>&) { done(); });
}

void IntentLog::clear(const std::string& key) {
  if (intents_.erase(key)) writer_.write(document());
}

void IntentLog::record(DongleId id, const Json& intent, std::function<void()> done) {
  record(fmt::format("{}", id), intent, std::move(done));
}

void IntentLog::clear(DongleId id) {
  clear(fmt::format("{}", id));
}

std::optional<Json> IntentLog::pending(DongleId id) const {
  auto it = intents_.find(fmt::format("{}", id));
  return it == intents_.end() ? std::nullopt : std::optional(it->second);
}

std::map<std::string, Json> IntentLog::pending_usb() const {
  std::map<std::string, Json> found;
  for (const auto& [key, intent] : intents_)
    if (is_place(key)) found[key] = intent;
  return found;
}

Json IntentLog::document() const {
  Json all = Json::object();
  for (const auto& [key, intent] : intents_) all[key] = intent;
  return all;
}

}  // namespace dongle
