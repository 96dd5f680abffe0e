#pragma once
// A simulated rack of forty sticks on hubs of every kind, with faults that some action mends, that mend themselves or
// that nothing mends, and with dongles that are wired as the daemon wires them: the real Health, Ladder, FlapDamper,
// RecoveryBoard, diagnosis and power plan. Virtual time; everything random comes from one seed. It keeps its own books
// of what is done to whom, and says where the judgement breaks a promise.
#include <array>
#include <deque>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "supervisor/flap_damper.h"
#include "supervisor/health.h"
#include "supervisor/power_plan.h"
#include "supervisor/recovery_board.h"

namespace dongle {

class SimulatedRack {
 public:
  SimulatedRack(std::uint64_t seed, HubPowerPolicy policy);

  /// Delivers so many events, with random trouble among them.
  void run(std::size_t events);
  /// No more trouble from outside; what was to come back does. Ends when all that can be mended is, or after `longest`.
  void calm_down(Millis longest);

  /// The first promise that was broken; nothing: none was.
  const std::optional<std::string>& violation() const { return violation_; }
  /// The last events, for the person who looks into a violation.
  std::string last_events() const;
  /// Of everything that happened, in order.
  std::uint64_t trace_hash() const { return hash_; }

  std::size_t events() const { return events_; }
  std::size_t troubles() const { return troubles_; }
  std::size_t actions(Action action) const { return done_[static_cast<std::size_t>(action)]; }
  std::size_t recoveries() const { return recoveries_; }
  Seconds lasted() const { return std::chrono::duration_cast<Seconds>(now_ - TimePoint{}); }

 private:
  // What really is.
  struct Hub {
    std::string path;
    PowerSwitching switching = PowerSwitching::PerPort;
    bool lies = false;     ///< says off and keeps the power on
    int foreign_port = 0;  ///< something else is plugged in there; 0: nothing
    bool dead = false;     ///< none of its ports works until its power is cycled
  };
  struct Trouble {
    Fault symptom = Fault::None;
    std::set<Action> cures;  ///< empty: nothing mends it
  };
  struct Stick {
    DongleId id;
    std::string path;
    std::size_t hub = 0;
    std::size_t carrier = 0;
    std::optional<Trouble> trouble;
    bool flapping = false, flapped_down = false;
    bool away = false;  ///< off the bus: boots, or its power is off
    int devnum = 1;
    // What the daemon makes of it.
    Health health;
    Ladder ladder;
    FlapDamper damper;
    bool stopped = false;
    bool diagnosed = false;  ///< since it failed
    bool shown_up = true;
    std::optional<Action> acting;  ///< an action of its own is under way, the helper's remains included
    std::vector<DongleId> joined;  ///< those whose power is cut with its own
    unsigned action_run = 0, probe_run = 0, timer_run = 0, look_run = 0;
    TimePoint busy_since{};
    bool busy = false;
    std::deque<TimePoint> changes, runs;  ///< what was reported, and the runs that a down began
  };
  enum class Kind {
    Trouble,  ///< something happens to the rack
    Probe,
    Timer,       ///< of the ladder or the damper
    Looked,      ///< the diagnosis is there
    ActionEnds,  ///< and the ladder is told
    HelperEnds,  ///< one that was stuck
    Leaves,
    Returns,
    Heals,
    Flaps,
    CarrierBack,
    TargetsBack,
    HubHeals,
    BoardTick,
  };
  struct Event {
    TimePoint at{};
    std::uint64_t order = 0;
    Kind kind = Kind::BoardTick;
    std::size_t who = 0;
    unsigned run = 0;
    int what = 0;
    bool operator>(const Event& other) const { return std::tie(at, order) > std::tie(other.at, other.order); }
  };
  struct Deed {
    TimePoint at{};
    Action action = Action::RouteReset;
    std::size_t stick = 0, hub = 0;
  };

  // The world.
  void plug(const Hub& hub, int first_port, int last_port);
  void make_trouble();
  void break_stick(Stick& stick);
  void kill_hub(std::size_t hub);
  void restart_daemon();
  bool is_on_the_bus(const Stick& stick) const;
  bool has_interface(const Stick& stick) const;
  bool has_traffic(const Stick& stick) const;
  Evidence look_at(const Stick& stick) const;
  void cure(Stick& stick, Action action);
  void finish(Stick& stick, Action action, bool ok);
  UsbTree tree() const;

  // The wiring.
  void follow(Stick& stick, const Decision& decision);
  void look(Stick& stick);
  void act(Stick& stick, Action action);
  void begin_cut(Stick& stick, Action action, const PowerPlan& plan);
  void on_probe(Stick& stick);
  void on_timer(Stick& stick);
  void on_leaves(Stick& stick);
  void on_returns(Stick& stick);
  Obstacles obstacles(const Stick& stick);
  PowerPlan plan_power(const Stick& stick, Action action);
  Condition condition(const Stick& stick) const;
  bool serves(const Stick& stick) const;
  void settle(Stick& stick);
  void schedule(Stick& stick);
  void tell_board(Stick& stick);
  void let_others_look();
  void deliver(const Event& event);

  // The promises.
  void check_alone(const Stick& stick, Action action);
  void check_cut(const Stick& stick, Action action, const PowerPlan& plan);
  void check_budget(const Stick& stick, Action action);
  void check_ends(Stick& stick);
  void check_calm(const Stick& stick, Action action);
  bool can_be_mended(const Stick& stick) const;
  void broken(std::string promise);

  Stick& at(DongleId id) { return sticks_[id.value - 1u]; }
  std::size_t index(const Stick& stick) const { return stick.id.value - 1u; }
  void push(TimePoint at, Kind kind, std::size_t who = 0, unsigned run = 0, int what = 0);
  void step();
  void note(const Event& event);
  int pick(int n) { return static_cast<int>(random_() % static_cast<std::uint64_t>(n)); }
  bool chance(int percent) { return pick(100) < percent; }
  Millis between(Millis least, Millis most) {
    return least + Millis(pick(static_cast<int>((most - least).count()) + 1));
  }

  std::mt19937_64 random_;
  HubPowerPolicy policy_;
  std::vector<Hub> hubs_;
  std::vector<Stick> sticks_;
  std::array<bool, 3> carrier_out_{};
  bool targets_out_ = false;
  TimePoint targets_out_since_{};
  bool calm_ = false;

  RecoveryBoard board_;
  HubMemory memory_;
  HubFactsMap facts_;
  std::vector<Stage> stages_{kStages.begin(), kStages.end()};

  TimePoint now_{};
  std::priority_queue<Event, std::vector<Event>, std::greater<>> queue_;
  std::uint64_t order_ = 0;
  std::size_t events_ = 0, troubles_ = 0, recoveries_ = 0;
  std::array<std::size_t, kActions.size()> done_{};
  std::deque<Deed> deeds_;   // of the last hour
  std::deque<Event> trace_;  // the last kTrace
  std::uint64_t hash_ = 14695981039346656037u;
  std::optional<std::string> violation_;
};

}  // namespace dongle
