#pragma once
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/unique_fd.h"
#include "supervisor/child_process.h"
#include "supervisor/firewall_plan.h"
#include "supervisor/repair_policy.h"

struct nlmsghdr;

namespace dongle {

/// Keeps our nftables table as the plan wants it, by running nft, one at a time; puts it back at once when another
/// program flushes or changes it. Logs what it repairs and what fails; a failure is tried again until it works.
class FirewallApply {
 public:
  /// Fails if the kernel has no nftables or we lack the right to hear of its changes.
  static Result<std::unique_ptr<FirewallApply>> open(UvLoop& loop);
  ~FirewallApply();

  /// The newest plan wins. Fails, changing nothing, if the plan can't be written as rules (firewall_script).
  Result<void> set_wanted(const FirewallPlan& plan);
  /// The kernel has the newest plan, as far as its events tell.
  bool is_applied() const { return applied_; }
  std::optional<Error> failure() const { return failure_; }
  /// How often the table was put back after somebody else had changed it.
  std::uint64_t repairs() const { return policy_.total_repairs(); }

  /// Totals since our start, also over replacements of the table; at most a few packets are missed at each. Calls back
  /// from the loop; at most 16 wait at a time, further ones fail with Full.
  using CountersDone = std::function<void(Result<Counters>)>;
  void read_counters(CountersDone done);

  /// Removes the table, for a stop, and keeps it away.
  void remove(std::function<void(Result<void>)> done);

 private:
  explicit FirewallApply(UvLoop& loop);
  Result<void> subscribe();
  void read_events();
  /// Returns whether a batch that ends here has changed our table and was not ours.
  bool note_event(const nlmsghdr& message);
  void on_foreign_change();
  void next();
  void run_apply();
  void run_read();
  void run_remove();
  void run(std::vector<std::string> argv, std::string input, void (FirewallApply::*done)(Result<ChildResult>));
  void on_applied(Result<ChildResult> result);
  void on_read(Result<ChildResult> result);
  void on_removed(Result<ChildResult> result);
  void fail_apply(Error error);

  UvLoop& loop_;
  UniqueFd events_;
  std::unique_ptr<Poll> poll_;
  std::vector<char> buffer_;
  std::unique_ptr<ChildProcess> child_;
  std::array<std::uint32_t, 4> own_pids_{};  // of the latest children: their events may come after their exit
  std::size_t own_pid_count_ = 0;
  bool batch_touches_us_ = false;

  std::string wanted_;
  std::string applying_;
  bool applied_ = false;
  bool table_present_ = false;  // with counters worth reading before it is replaced
  bool counters_fresh_ = false;
  CounterTotals totals_;
  std::vector<CountersDone> readers_;
  std::function<void(Result<void>)> remove_done_;
  bool removing_ = false;

  RepairPolicy policy_;
  Timer retry_timer_;
  Millis retry_delay_{0};
  std::optional<Error> failure_;
};

}  // namespace dongle
