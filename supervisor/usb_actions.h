#pragma once
// The upper half of the ladder, carried out: mode switch, configuration, rebind, reauthorize, port and hub power. What
// can hang in the kernel is done by the program dongle-usb, a child with a deadline; whether it worked is judged by
// what the USB tree shows afterwards. One object for all dongles.
//
//   power cycle: intent on disk ──▶ off ──▶ the device leaves the bus ──▶ off-time ──▶ on ──▶ intent cleared ──▶ back
//
// A port that was switched off is switched on again whatever happens: after a failure, cancel() or shut_down(), with
// retries and growing pauses until the kernel confirms it; after a crash by undo_pending() of the next run.
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "common/hub_facts.h"
#include "common/usb_tree.h"
#include "common/uv_handle.h"
#include "supervisor/hub_memory.h"
#include "supervisor/intent_log.h"
#include "supervisor/power_plan.h"
#include "supervisor/usb_times.h"

namespace dongle {

class UsbActions {
 public:
  /// detail on success: what was seen, for a person: "left the bus after 0.04 s, off for 3 s, back as device 17 after
  /// 1.9 s". Errors: Busy (this dongle or hub has an action under way, or the kernel holds the hub), Unsupported (the
  /// hub or device can't), NotFound (not on the bus), Refused (it was done and nothing came of it), Timeout,
  /// Permission, Io.
  using Done = std::function<void(Result<std::string> detail)>;

  /// helper: the path of dongle-usb. memory_file: state_dir/hubs.json.
  UsbActions(UvLoop& loop, IntentLog& intents, std::string helper, const std::string& memory_file, UsbTimes times = {});
  ~UsbActions();

  /// What is plugged, at each change and once before the first action. Actions are judged by it; may call done.
  void on_tree(const UsbTree& tree);

  // One action a dongle at a time; done comes once, from the loop, and never after cancel(). path: the device's port
  // path. Each ends by itself within 55 s.

  /// Zero-CD stick to network card. Done when the device is back with other ids, 10 s at the latest.
  void mode_switch(DongleId id, const std::string& path, Done done);
  /// To the configuration with an ECM or RNDIS card. Done when it has a network device.
  void set_configuration(DongleId id, const std::string& path, Done done);
  /// Unbinds and binds the drivers of its network interfaces. Done when it has a network device.
  void rebind(DongleId id, const std::string& path, Done done);
  /// authorized 0, then 1: the kernel forgets the device's configuration and sets it up anew. Done as rebind().
  void reauthorize(DongleId id, const std::string& path, Done done);
  /// attempt: 1 for the first of an incident; from the second on the power stays off for longer.
  void power_cycle(DongleId id, const PowerPlan& plan, int attempt, Done done);
  /// For an operator: the power stays off, also over a restart of the daemon. Done when the device has left the bus.
  void power_off(DongleId id, const PowerPlan& plan, Done done);
  /// Done when the device is back on the bus.
  void power_on(DongleId id, const PowerPlan& plan, Done done);

  /// Gives up the dongle's action without calling done. What is half done is put right behind the scenes.
  void cancel(DongleId id);
  bool is_busy(DongleId id) const;
  /// Whether ports of this hub are off on our behalf, or something is under way on it.
  bool is_hub_busy(const std::string& hub) const;

  /// At start, after the first on_tree(): switches on what an earlier run left off, whether its dongle is still
  /// configured or not. One log line each (usb_undone); goes on by itself until all is done.
  void undo_pending();
  /// Gives up every action; done when every port is on again, or after `patience` (then the intents stay on disk and
  /// the next start goes on).
  void shut_down(Millis patience, std::function<void()> done);

  /// Asks the hubs what they can do (`dongle-usb hubs`); at start, when a hub comes or goes, and before a plan that a
  /// person asked for. Calls that come while one is under way are answered by the next one. done may be empty.
  void refresh_hub_facts(std::function<void()> done);
  const HubFactsMap& hub_facts() const;
  const HubMemory& memory() const;
  /// Hubs that the kernel holds: location → what happened. For PowerView::held.
  const std::map<std::string, std::string>& held_hubs() const;
  /// Helpers that were given up on because the kernel wouldn't let go of them, so far.
  int helpers_given_up() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dongle
