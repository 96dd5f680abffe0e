#pragma once
// What all USB actions share: the tree they are judged by, the helpers under way, the hubs that the kernel holds, what
// was learnt about hubs, and what must still be switched on again.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/usb_tree.h"
#include "common/uv_handle.h"
#include "supervisor/hub_memory.h"
#include "supervisor/intent_log.h"
#include "supervisor/state_file.h"
#include "supervisor/usb_helper.h"
#include "supervisor/usb_times.h"

namespace dongle {

class UsbUndo;

/// One run of the helper. Whoever has asked may lose interest (then = nullptr) or hand it on; it runs to its end
/// anyhow, since a helper that is killed in the middle leaves more half done than one that finishes.
struct HelperRun {
  std::function<void(UsbHelper::Reply)> then;
  std::unique_ptr<UsbHelper> helper;
  bool is_over = false;
};
using HelperRunPtr = std::shared_ptr<HelperRun>;

class UsbContext {
 public:
  UsbContext(UvLoop& loop, IntentLog& intents, std::string program, const std::string& memory_file, UsbTimes times);
  ~UsbContext();

  UvLoop& loop() { return loop_; }
  IntentLog& intents() { return intents_; }
  const UsbTimes& times() const { return times_; }
  const UsbTree& tree() const { return tree_; }
  void set_tree(const UsbTree& tree);

  /// hub: whose lock the kernel would hold if the helper hangs; the hub is held then.
  HelperRunPtr run(const std::string& hub, std::vector<std::string> arguments, Millis deadline,
                   std::function<void(UsbHelper::Reply)> then);
  bool is_running() const { return !running_.empty(); }

  bool is_held(const std::string& hub) const { return held_.contains(hub); }
  const std::map<std::string, std::string>& held_hubs() const { return held_; }
  /// A helper on this hub was given up on and hasn't ended: what it was told to do may happen any time.
  bool is_hanging(const std::string& hub) const { return hanging_.contains(hub); }
  int helpers_given_up() const { return given_up_; }

  /// port: HubMemory::kWholeHub for all of them. Written to the file at once.
  void learn(const std::string& hub, int port, bool effective, const std::string& evidence);
  const HubMemory& memory() const { return memory_; }

  /// Does what an intent says must be done, now or after the helper `after` has ended, with growing pauses until it
  /// succeeds; clears the intent then.
  void undo(const std::string& key, const Json& intent, HelperRunPtr after = {});
  bool is_undoing(const std::string& key) const { return undos_.contains(key); }
  bool is_undoing() const { return !undos_.empty(); }
  void end_undo(const std::string& key);
  /// Called when the last undo has ended.
  void set_on_undone(std::function<void()> call) { on_undone_ = std::move(call); }

 private:
  void hold(const std::string& hub, const std::string& why);
  void let_go(const std::string& hub);
  void release(const std::string& hub);

  UvLoop& loop_;
  IntentLog& intents_;
  std::string program_;
  UsbTimes times_;
  UsbTree tree_;
  std::set<HelperRunPtr> running_;
  std::map<std::string, int> hanging_;       // helpers, by hub
  std::map<std::string, std::string> held_;  // hub → what happened
  std::map<std::string, Timer> held_until_;
  int given_up_ = 0;
  HubMemory memory_;
  StateFileWriter memory_writer_;
  std::map<std::string, std::unique_ptr<UsbUndo>> undos_;
  std::function<void()> on_undone_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

/// The words for dongle-usb: ports on or off.
std::vector<std::string> port_arguments(const std::string& hub, const std::vector<int>& ports, bool on, bool raw);
/// 0.04 s, 1.9 s, 12 s.
std::string seconds_text(Millis time);

}  // namespace dongle
