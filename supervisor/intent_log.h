#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "common/ids.h"
#include "common/json.h"
#include "supervisor/state_file.h"

namespace dongle {

/// What is about to be left half done, written down before it is begun, so that a crash in between can be undone at the
/// next start: {"undo":"data_switch_on"} or {"undo":"network_mode","mode":"00",…}. One intent a dongle.
class IntentLog {
 public:
  IntentLog(UvLoop& loop, const std::string& path);

  /// done: the intent stands on disk, or can't (a full disk must not stop a rack from healing: the caller goes on).
  void record(DongleId id, const Json& intent, std::function<void()> done);
  /// The deed is complete or undone.
  void clear(DongleId id);
  /// Left behind by an earlier run, or still under way.
  std::optional<Json> pending(DongleId id) const;

 private:
  Json document() const;
  std::map<DongleId, Json> intents_;
  StateFileWriter writer_;
};

}  // namespace dongle
