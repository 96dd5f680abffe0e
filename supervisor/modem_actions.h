#pragma once
#include <functional>
#include <memory>
#include <string>

#include "common/uv_handle.h"
#include "supervisor/hilink_client.h"
#include "supervisor/intent_log.h"

namespace dongle {

/// What is done to a modem over its API, for the ladder and for rotations. Each action is one at a time; starting
/// another or destroying the object gives up the one under way (an intent that was written stays, and undo_pending()
/// mends it). What an earlier action left half done is undone before the next one begins; it fails if that does.
class ModemActions {
 public:
  /// detail on success: what was done, for a person.
  using Done = std::function<void(Result<std::string> detail)>;

  ModemActions(UvLoop& loop, HilinkClient& client, IntentLog& intents, DongleId id);
  ~ModemActions() { cancel(); }

  /// Mobile data off, `off_time` later on again: a new connection, mostly a new public address. 3 to 10 s.
  void cycle_data_switch(Millis off_time, Done done);
  /// To another network mode and back, bands kept: the modem registers anew. 10 to 30 s.
  void cycle_network_mode(Done done);
  /// Reboots the stick; done when it has accepted. It leaves the bus for 25 to 60 s.
  void reboot(Done done);
  /// Undoes what an earlier run left half done, if anything. done(""): there was nothing.
  void undo_pending(Done done);

  void cancel();
  bool is_busy() const { return static_cast<bool>(done_); }

 private:
  void begin(Done done, std::function<void()> act);
  void undo(std::function<void(Result<std::string>)> then);
  void switch_off_and_on(Millis off_time);
  void change_mode_and_back();
  void switch_on(int tries_left, const std::string& detail);
  void set_mode(const NetMode& mode, int tries_left, std::function<void(Result<void>)> then);
  void finish(Result<std::string> outcome);
  /// A callback that does nothing once this action was given up.
  template <class F>
  auto guard(F f) {
    return [f = std::move(f), current = run_, run = *run_](auto&&... args) {
      if (run == *current) f(std::forward<decltype(args)>(args)...);
    };
  }

  HilinkClient& client_;
  IntentLog& intents_;
  DongleId id_;
  Timer timer_;
  Done done_;
  std::shared_ptr<unsigned> run_ = std::make_shared<unsigned>(0);  // outlives us in callbacks
};

}  // namespace dongle
