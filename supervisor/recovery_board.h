#pragma once
// What the dongles' ladders have to agree upon: who may do what now. Pure.
//
// Each ladder asks before every rung (add_obstacles), says what it begins and ends, and every dongle tells what became
// of it (note). The answers, by whose failure it is:
//
//   scope        route   modem, usb                            port_power           hub_power
//   stick        yes     yes                                   yes                  yes
//   hub,         yes     modem yes; rebind and reauthorize     no, if the hub's     yes, one hub of the
//   controller           no, if the hub's power can be cut     power can be cut     host at a time
//   carrier,     yes     one stick at a time as a trial, with  no                   no
//   upstream             a growing pause after one in vain
//
// A mode switch and a configuration put right are each stick's own and go on in every scope. While everything is out
// nobody's power is cut, also not that of a stick that had failed before; while a carrier is out no hub with one of its
// sticks is cut: they are down, but not by themselves.
#include <map>
#include <string>
#include <vector>

#include "supervisor/action_budget.h"
#include "supervisor/correlation.h"
#include "supervisor/ladder.h"

namespace dongle {

class RecoveryBoard {
 public:
  /// Modem actions at a time on the host, as many as rotations: each makes a stick register anew, and what looks like
  /// several failing sticks may turn out to be the carrier's failure.
  static constexpr int kMaxModemActions = 3;
  /// Hubs at a time: each is a child process that holds a hub's lock in the kernel.
  static constexpr int kMaxBusyHubs = 4;
  /// What is still under way after this is stuck in the kernel: its hub stays taken, the host goes on without it.
  static constexpr Seconds kStuck{300};
  /// What is seen on the bus is seen of all sticks of a hub at once; so long a power cut waits for them to be noticed.
  static constexpr Millis kGather{1000};
  /// The first pause after a trial in an outage that mended nothing; doubles up to kMaxTrialPause.
  static constexpr Seconds kTrialPause{300};
  static constexpr Seconds kMaxTrialPause{3600};
  /// Who waits for somebody else's action looks again after kLookAgain at the latest, who waits for the end of an
  /// outage after kLookAtOutage; if what they wait for ends earlier, note(), tick() or end() say so.
  static constexpr Seconds kLookAgain{15};
  static constexpr Seconds kLookAtOutage{120};

  /// What became of a dongle; to be called whenever its condition changes (calling more often does no harm).
  /// True: held ladders should look again (Ladder::look_again).
  bool note(DongleId id, const Condition& condition, TimePoint now);
  /// The dongle is no longer configured. True as above.
  bool remove(DongleId id);
  /// To be called every few seconds. True as above.
  bool tick(TimePoint now);

  /// Adds why the dongle may not do what now. obstacles: what the host, the modem and the power plan object to already;
  /// those stay. stages: those that the ladder may use.
  void add_obstacles(DongleId id, const std::vector<Stage>& stages, Obstacles& obstacles, TimePoint now) const;
  /// The action begins. add_obstacles() must have had nothing against it at the same `now`, or an operator wants it.
  void begin(DongleId id, Action action, TimePoint now);
  /// It has really ended: no helper process of it is left. True: held ladders should look again.
  bool end(DongleId id, TimePoint now);
  /// What is under way, for status and for tests.
  struct Running {
    Action action = Action::RouteReset;
    std::string hub;
    TimePoint began{};
  };
  const std::map<DongleId, Running>& running() const { return running_; }

  Scope scope(DongleId id) const { return correlation_.scope(id); }

  /// What has been spent, for the state file; to be written after each begin() of stage usb or above.
  Json to_json(TimePoint now, WallTime wall_now) const;
  void load(const Json& json, TimePoint now, WallTime wall_now);

 private:
  struct Trial {
    DongleId id;
    TimePoint next_at{};
    int in_vain = 0;
  };
  std::optional<Obstacle> refuse(DongleId id, Action action, bool hub_power_is_possible, TimePoint now) const;
  std::optional<Obstacle> by_scope(DongleId id, Action action, bool hub_power_is_possible) const;
  std::optional<Obstacle> by_outage(DongleId id, Action action, TimePoint now) const;
  std::optional<Obstacle> before_a_cut(DongleId id, Action action, TimePoint now) const;
  std::optional<Obstacle> by_company(DongleId id, Action action, TimePoint now) const;
  bool forget_trials(bool news);
  std::string hub_of(DongleId id) const;

  Correlation correlation_;
  ActionBudget budget_;
  std::map<DongleId, Running> running_;  // at most one for each DongleId
  std::map<std::string, Trial> trials_;  // by outage, as Correlation names them
};

}  // namespace dongle
