#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/json.h"
#include "supervisor/identity.h"
#include "supervisor/recovery_board.h"
#include "supervisor/usb_actions.h"
#include "supervisor/usb_sight.h"
#include "supervisor/usb_watch.h"

namespace dongle {

/// What the rack asks of one of its dongles, and tells it. Calls come from the loop.
class RackMember {
 public:
  virtual DongleStanding standing() const = 0;
  /// Open connections of its clients.
  virtual std::uint64_t connections() const = 0;
  /// What is plugged in, or what can be done with it, has changed.
  virtual void on_usb_change() = 0;
  /// What a held ladder waits for may be over.
  virtual void look_again() = 0;
  /// Its power is about to be cut on somebody else's behalf, for `action`. Until on_power_back() it takes no new
  /// connections, and its outage is not its own failure.
  virtual void on_power_cut(Action action, const std::string& reason) = 0;
  /// ok: its hub's power was cycled and the stick that it was done for is back; detail says what was seen.
  virtual void on_power_back(bool ok, const std::string& detail) = 0;

 protected:
  ~RackMember() = default;
};

/// What the dongles of one host have in common: the buses that they hang on, the power of their hubs, and who may do
/// what when. Sees USB, carries out the upper half of the ladder, and keeps one stick's recovery from harming another.
class Rack {
 public:
  using Done = UsbActions::Done;

  /// usb_helper: the path of dongle-usb. state_dir: for hubs.json, budgets.json and identities.json.
  Rack(UvLoop& loop, IntentLog& intents, const std::string& usb_helper, const std::string& state_dir);
  ~Rack();

  /// Starts to watch USB, and switches on again what an earlier run has left off. Where the kernel's USB events can't
  /// be had that is logged, and dongles are known by their network devices alone.
  void start();
  void configure(const Config& config);
  void add(DongleId id, RackMember& member);
  /// Does nothing if the number is another's already: a dongle may be configured again while the one before it leaves.
  void remove(DongleId id, const RackMember& member);
  /// Gives up what is under way and switches every port on again; done then, or after three seconds.
  void shut_down(std::function<void()> done);

  /// Looks at USB anew: somebody knows that something has changed.
  void rescan();
  UsbSight sight(const std::string& usb_path) const;
  /// The port path that a configured usb_path means; one by controller ("pci-…-usb-0:4.2") is looked up.
  std::string resolve(const std::string& usb_path) const;
  /// Called after what is plugged in has changed, before the dongles are told.
  void on_change(std::function<void()> callback) { on_change_ = std::move(callback); }
  const UsbTree& tree() const;

  // The ladders' side.

  /// To be called whenever a dongle's condition may have changed.
  void note(DongleId id, const Condition& condition);
  /// What the buses, the hubs' power, the neighbours and the budgets have against the actions.
  void add_obstacles(DongleId id, Obstacles& obstacles) const;
  /// Carries out an action of stage usb or power. attempt: 1 for the first of its kind in an incident. done: once, from
  /// the loop, not after cancel(). For a hub's power the siblings are told first, and those that serve get up to
  /// kDrainTime to end their connections.
  void act(DongleId id, Action action, int attempt, Done done);
  /// An action that the dongle carries out by itself begins and ends.
  void begin(DongleId id, Action action);
  void end(DongleId id);
  /// Gives up the action under way, if there is one; what is half done is put right behind the scenes.
  void cancel(DongleId id);
  static constexpr Seconds kDrainTime{5};

  /// Whose failure a dongle's is; empty: its own.
  std::string shared_failure(DongleId id) const;
  /// A modem has said who it is. Changes of stick or SIM are logged; the text is for a person, empty: nothing new.
  std::string observe(const Identity& seen);
  /// A stick was at this port once: its absence is news.
  bool knows_port(const std::string& usb_path) const;

  // The operator's side.

  /// Asks the hubs what they can do and how their ports stand; done when they have told.
  void refresh_hub_facts(std::function<void()> done);
  /// What `donglectl power` would switch and whom it would hurt.
  PowerPlan operator_plan(DongleId id) const;
  /// Whose power an operator has switched off; no ladder switches it on in passing.
  void set_powered_off(std::set<DongleId> ids) { powered_off_ = std::move(ids); }
  enum class Power { Off, On, Cycle };
  /// Carries out operator_plan(). done: when the device has left the bus, or is back on it; Busy at once if the dongle
  /// or its hub has an action under way. Siblings that lose power are told as by act().
  void power(DongleId id, Power what, Done done);
  /// The plan, the ports' facts, and what was learnt of them.
  Json power_status(DongleId id) const;

 private:
  struct Cut {
    std::vector<DongleId> told;
    std::vector<DongleId> draining;  ///< of those: who served until then
    std::unique_ptr<Timer> timer;    ///< while their connections drain
    TimePoint drain_until{};
    std::function<void()> go;
  };

  void on_usb_change();
  void tell_look_again();
  std::vector<DongleStanding> standings() const;
  PowerView view(const std::vector<DongleStanding>& standings) const;
  std::vector<DongleId> siblings(const PowerPlan& plan) const;
  void cut_power(DongleId id, const PowerPlan& plan, std::vector<DongleId> told, const std::string& reason,
                 std::function<void(Done)> cut, Done done);
  void drain(DongleId id);
  void end_cut(DongleId id, bool ok, const std::string& detail);

  UvLoop& loop_;
  RecoveryBoard board_;
  UsbActions actions_;
  std::unique_ptr<UsbWatch> watch_;  ///< none: the kernel doesn't tell about USB here
  UsbTree no_usb_;
  IdentityTable identities_;
  StateFileWriter budgets_file_, identities_file_;
  std::vector<HubConfig> hubs_;
  RecoveryConfig recovery_;
  std::map<DongleId, RackMember*> members_;
  std::map<DongleId, Cut> cuts_;        ///< under way, by the dongle that they are done for
  std::map<DongleId, Done> operators_;  ///< who waits for power(): they are answered also when the dongle goes
  std::set<std::string> seen_ports_;    ///< where a device was since the start; as many as the buses have ports
  std::set<DongleId> powered_off_;
  TimePoint ask_hubs_at_{};
  std::function<void()> on_change_;
  Timer look_again_timer_;
  Timer tick_timer_;
};

}  // namespace dongle
