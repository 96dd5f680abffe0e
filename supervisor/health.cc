#include "supervisor/health.h"

#include <algorithm>

namespace dongle {

const char* to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::Unknown: return "unknown";
    case Verdict::Up: return "up";
    case Verdict::Suspect: return "suspect";
    case Verdict::Down: return "down";
  }
  return "unknown";
}

void Health::on_probe(bool ok, const std::string& reason, TimePoint now) {
  last_evidence_ = now;
  if (ok) {
    on_success(now);
    return;
  }
  ++failed_probes_in_row_;
  reason_ = reason;
  judge_failure();
}

void Health::on_dial(bool ok, const std::string& reason, TimePoint now) {
  if (ok) {
    on_success(now);
    return;
  }
  ++failed_dials_in_row_;
  reason_ = reason;
  judge_failure();
}

void Health::on_modem_disconnected() {
  if (failures_in_row_ > 0) verdict_ = Verdict::Down;
}

void Health::on_success(TimePoint now) {
  last_evidence_ = now;
  failures_in_row_ = failed_probes_in_row_ = failed_dials_in_row_ = 0;
  reason_.clear();
  ++successes_in_row_;
  if (verdict_ == Verdict::Suspect || successes_in_row_ >= policy_.up_after) verdict_ = Verdict::Up;
}

void Health::judge_failure() {
  successes_in_row_ = 0;
  ++failures_in_row_;
  if (verdict_ == Verdict::Down) return;
  if (failures_in_row_ >= policy_.down_after && failed_probes_in_row_ > 0)
    verdict_ = Verdict::Down;
  else if (verdict_ == Verdict::Up && (failed_probes_in_row_ > 0 || failed_dials_in_row_ >= policy_.down_after))
    verdict_ = Verdict::Suspect;
}

void Health::reset() {
  *this = Health(policy_);
}

TimePoint Health::next_probe_at() const {
  // A failure wants its confirmation soon, a recovery its second success; the floor keeps fast refusals from spinning.
  bool unsettled = failures_in_row_ > 0 || verdict_ != Verdict::Up;
  return last_evidence_ + (unsettled ? std::min(policy_.interval, Millis{500}) : policy_.interval);
}

}  // namespace dongle
