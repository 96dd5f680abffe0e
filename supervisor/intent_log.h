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
/// next start. One intent a key: a dongle's are by its number, {"undo":"data_switch_on"} or
/// {"undo":"network_mode","mode":"00",…}; USB's are by place, since they must be undone also when the dongle is no
/// longer configured: "hub 2-1": {"undo":"ports_on","ports":[3]}, "device 2-1.3": {"undo":"authorize"}.
class IntentLog {
 public:
  IntentLog(UvLoop& loop, const std::string& path);

  /// done: the intent stands on disk, or can't (a full disk must not stop a rack from healing: the caller goes on).
  void record(DongleId id, const Json& intent, std::function<void()> done);
  /// The deed is complete or undone.
  void clear(DongleId id);
  /// Left behind by an earlier run, or still under way.
  std::optional<Json> pending(DongleId id) const;

  /// As above, by place. key: "hub LOCATION" or "device PATH".
  void record(const std::string& key, const Json& intent, std::function<void()> done);
  void clear(const std::string& key);
  /// Those by place.
  std::map<std::string, Json> pending_usb() const;

 private:
  Json document() const;
  std::map<std::string, Json> intents_;
  StateFileWriter writer_;
};

}  // namespace dongle
