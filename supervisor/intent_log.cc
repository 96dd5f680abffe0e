#include "supervisor/intent_log.h"

#include <nlohmann/json.hpp>

#include "common/log.h"
#include "common/net_address.h"

namespace dongle {

IntentLog::IntentLog(UvLoop& loop, const std::string& path) : writer_(loop, path) {
  auto file = read_state_file(path);
  if (!file) {
    if (file.error().code != Errc::NotFound)
      log_event(LogEvent::state_read_failed, {{"reason", file.error().message()}});
    return;
  }
  if (!file->is_object()) return;
  for (const auto& [key, intent] : file->items())
    if (auto id = parse_decimal(key, kMinDongleId, kMaxDongleId); id && intent.is_object())
      intents_[DongleId{static_cast<unsigned>(*id)}] = intent;
}

void IntentLog::record(DongleId id, const Json& intent, std::function<void()> done) {
  intents_[id] = intent;
  writer_.write(document(), [done = std::move(done)](const Result<void>&) { done(); });
}

void IntentLog::clear(DongleId id) {
  if (intents_.erase(id)) writer_.write(document());
}

std::optional<Json> IntentLog::pending(DongleId id) const {
  auto it = intents_.find(id);
  return it == intents_.end() ? std::nullopt : std::optional(it->second);
}

Json IntentLog::document() const {
  Json all = Json::object();
  for (const auto& [id, intent] : intents_) all[fmt::format("{}", id)] = intent;
  return all;
}

}  // namespace dongle
