#pragma once
// Health of one dongle's way out, from what its clients' connections and our probes met. Pure.
//
//   Unknown ──up_after successes──▶ Up ──a failed probe, or down_after failed connects──▶ Suspect
//   Suspect ──a success──▶ Up;  ──down_after failures in a row, a probe among them──▶ Down
//   Suspect ──a failure and the modem says it isn't connected──▶ Down
//   Down ──up_after successes──▶ Up
//
// A client's failed connect may be its target's fault, so connects alone never reach Down: they make us probe at once.
#include <string>

#include "common/clock.h"
#include "common/config.h"

namespace dongle {

enum class Verdict { Unknown, Up, Suspect, Down };
const char* to_string(Verdict verdict);

struct HealthPolicy {
  Millis interval{0};  ///< between probes while nothing else tells
  int down_after = 0;
  int up_after = 0;
};

class Health {
 public:
  explicit Health(HealthPolicy policy) : policy_(policy) {}

  void on_probe(bool ok, const std::string& reason, TimePoint now);
  /// A client's connection to a target: ok, or why it failed.
  void on_dial(bool ok, const std::string& reason, TimePoint now);
  /// The modem itself says that it has no connection: settles a suspicion.
  void on_modem_disconnected();
  /// Nothing of the past counts any more (new device, worker restarted on purpose).
  void reset();

  Verdict verdict() const { return verdict_; }
  /// What failed last, "" if nothing failed since the last success.
  const std::string& reason() const { return reason_; }
  /// When the next probe is due. Traffic that succeeds puts it off; suspicion brings it forward.
  TimePoint next_probe_at() const;

 private:
  void on_success(TimePoint now);
  void judge_failure();

  HealthPolicy policy_;
  Verdict verdict_ = Verdict::Unknown;
  std::string reason_;
  int failures_in_row_ = 0;
  int failed_probes_in_row_ = 0;
  int failed_dials_in_row_ = 0;
  int successes_in_row_ = 0;
  TimePoint last_evidence_{};  ///< a finished probe, or a connect that succeeded
};

}  // namespace dongle
