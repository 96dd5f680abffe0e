#include "supervisor/rotation.h"

#include <algorithm>

namespace dongle {
namespace {

constexpr Millis kBetweenLooks{300};
constexpr Millis kFirstLook{1500};

}  // namespace

std::optional<RotationPolicy::Refusal> RotationPolicy::refuse(std::optional<TimePoint> last_ended, int running,
                                                              TimePoint now) const {
  if (last_ended && now - *last_ended < config_.cooldown) {
    auto left = std::chrono::ceil<Seconds>(config_.cooldown - (now - *last_ended));
    return Refusal{Refusal::Why::Cooldown, "rotated a moment ago; again in " + format_duration(left), left};
  }
  if (running >= config_.max_concurrent)
    return Refusal{
        Refusal::Why::Busy, fmt::format("{} rotations are under way (rotation.max_concurrent)", running), {}};
  return std::nullopt;
}

Millis RotationPolicy::off_time(int attempt) const {
  return attempt <= 1 ? config_.off_time : config_.off_time * 3;
}

const char* to_string(Rotation::Outcome outcome) {
  switch (outcome) {
    case Rotation::Outcome::Changed: return "changed";
    case Rotation::Outcome::SameIp: return "same_ip";
    case Rotation::Outcome::NoEgress: return "no_egress";
    case Rotation::Outcome::ApiFailed: return "api_failed";
  }
  return "unknown";
}

Rotation::Rotation(UvLoop& loop, ModemActions& actions, Prober& prober, RotationConfig config,
                   std::optional<Address> old_ip, Hooks hooks)
    : actions_(actions),
      prober_(prober),
      config_(config),
      policy_(config),
      hooks_(std::move(hooks)),
      began_(UvLoop::now()),
      deadline_(began_ + config.timeout),
      timer_(loop) {
  report_.old_ip = old_ip;
  // From the loop, so that the owner has us in its hands before anything is reported.
  timer_.start(Millis{0}, [this] { begin(); });
}

void Rotation::begin() {
  if (report_.old_ip) return attempt();
  // Whether the address changes can only be told against the one before.
  prober_.fetch_public_ip(prober_.timeout(), [this](Result<Address> address) {
    if (address) report_.old_ip = *address;
    attempt();
  });
}

void Rotation::attempt() {
  ++report_.attempts;
  Millis off = policy_.off_time(report_.attempts);
  hooks_.progress(fmt::format("mobile data off for {}{}", format_duration(off),
                              report_.attempts > 1 ? " (second try: the address was the same)" : ""));
  hooks_.before_off();
  actions_.cycle_data_switch(off, [this](Result<std::string> done) {
    if (!done) return finish(Outcome::ApiFailed, done.error().message());
    hooks_.progress("waiting for the new address");
    look_for_address();
  });
}

void Rotation::look_for_address() {
  // Short looks first: the first packets after a reconnect are often lost, and a long look would wait for them.
  Millis patience = std::min(prober_.timeout(), kFirstLook * ++looks_);
  prober_.fetch_public_ip(patience, [this](Result<Address> address) {
    auto now = UvLoop::now();
    if (!address) {
      last_error_ = address.error().message();
      if (now >= deadline_)
        return finish(Outcome::NoEgress,
                      "nothing passes within " + format_duration(config_.timeout) + ": " + last_error_);
      timer_.start(kBetweenLooks, [this] { look_for_address(); });
      return;
    }
    report_.new_ip = *address;
    if (report_.new_ip != report_.old_ip) return finish(Outcome::Changed, "");
    bool time_for_more = now + policy_.off_time(report_.attempts + 1) < deadline_;
    if (report_.attempts < RotationPolicy::kMaxAttempts && time_for_more) return attempt();
    finish(Outcome::SameIp, "the carrier gave the same address again");
  });
}

void Rotation::finish(Outcome outcome, const std::string& detail) {
  timer_.stop();
  report_.outcome = outcome;
  report_.detail = detail;
  report_.took = std::chrono::duration_cast<Millis>(UvLoop::now() - began_);
  auto done = std::move(hooks_.done);
  done(report_);
}

}  // namespace dongle
