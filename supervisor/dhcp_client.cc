#include "supervisor/dhcp_client.h"

#include <algorithm>

#include "common/log.h"

namespace dongle {
namespace {

constexpr Millis kFirstBackoff{1000};
constexpr Millis kMaxBackoff{60'000};
constexpr Seconds kAskAgain{30};               // after a lease that can't be used
constexpr Seconds kStable{60};                 // a client that ran that long is started again without delay
constexpr Seconds kLongestTimer{86'400 * 30};  // an endless lease (0xffffffff s) needs no timer

}  // namespace

const char* to_string(DhcpState state) {
  switch (state) {
    case DhcpState::Asking: return "asking";
    case DhcpState::Bound: return "bound";
    case DhcpState::NoAddress: return "no_address";
    case DhcpState::BadLease: return "bad_lease";
  }
  return "asking";
}

DhcpClient::DhcpClient(UvLoop& loop, Options options, std::function<void()> on_change)
    : loop_(loop),
      options_(std::move(options)),
      on_change_(std::move(on_change)),
      restart_timer_(loop),
      expiry_timer_(loop) {
  // From the loop, so that no callback comes before the constructor's end.
  restart_timer_.start(Millis{0}, [this] { start_client(); });
}

void DhcpClient::set_forbidden(std::vector<Prefix> subnets) {
  forbidden_ = std::move(subnets);
  if (!lease_) return;
  if (auto r = check_overlap(lease_->address, forbidden_); !r) on_bad_lease(std::move(r).error());
}

void DhcpClient::on_bad_lease(Error error) {
  if (!error_ || error_->context != error.context)
    log_event(LogEvent::dhcp_bad_lease, {{"iface", options_.device}, {"error", error.message()}});
  // udhcpc is content with what it got and would not ask again before half of the lease is over.
  restart_timer_.start(kAskAgain, [this] { start_client(); });
  set(DhcpState::BadLease, std::nullopt, std::move(error));
}

void DhcpClient::start_client() {
  child_.reset();
  ChildProcess::Command command;
  command.argv = {"setpriv", "--pdeathsig",           "KILL", "--", "busybox", "udhcpc", "-f", "-i", options_.device,
                  "-s",      options_.report_program, "-t",   "3",  "-T",      "2",      "-A", "10"};
  // After a crash of the client: ask for the address that is in use.
  if (lease_) command.argv.insert(command.argv.end(), {"-r", lease_->address.address.to_string()});
  command.deadline = Millis{0};
  command.max_line = kMaxDhcpLine;
  command.on_line = [this](std::string_view line) { on_report(line); };
  started_at_ = UvLoop::now();
  first_report_ = true;
  auto child = ChildProcess::start(loop_, std::move(command), [this](ChildResult result) {
    child_.reset();
    on_exit(result.summary());
  });
  if (!child) {
    on_exit(child.error().message());
    return;
  }
  child_ = std::move(*child);
}

void DhcpClient::on_exit(const std::string& why) {
  ++restarts_;
  bool was_stable = UvLoop::now() - started_at_ >= kStable;
  backoff_ = was_stable ? kFirstBackoff : std::clamp(backoff_ * 2, kFirstBackoff, kMaxBackoff);
  log_event(LogEvent::dhcp_client_ended,
            {{"iface", options_.device}, {"reason", why}, {"restart_in_ms", backoff_.count()}});
  restart_timer_.start(backoff_, [this] { start_client(); });
  if (!lease_) set(DhcpState::NoAddress, std::nullopt, Error{Errc::Io, 0, "udhcpc: " + why});
}

void DhcpClient::on_report(std::string_view line) {
  bool first = std::exchange(first_report_, false);
  auto event = parse_dhcp_report(line, forbidden_);
  if (!event) {
    on_bad_lease(std::move(event).error());
  } else if (auto* lease = std::get_if<DhcpLease>(&*event)) {
    backoff_ = Millis{0};
    restart_timer_.stop();
    if (lease->duration < kLongestTimer) {
      // udhcpc says so itself; this is for the case that it is gone by then.
      expiry_timer_.start(lease->duration, [this] { set(DhcpState::NoAddress, std::nullopt, std::nullopt); });
    } else {
      expiry_timer_.stop();
    }
    set(DhcpState::Bound, std::move(*lease), std::nullopt);
  } else if (std::holds_alternative<DhcpNoAnswer>(*event)) {
    if (!lease_) set(DhcpState::NoAddress, std::nullopt, std::nullopt);
  } else {
    // Each client begins with a deconfig; a lease that is still running outlives its client.
    if (!first) set(DhcpState::Asking, std::nullopt, std::nullopt);
  }
}

void DhcpClient::set(DhcpState state, std::optional<DhcpLease> lease, std::optional<Error> error) {
  bool same = state == state_ && lease == lease_ && error.has_value() == error_.has_value() &&
              (!error || error->context == error_->context);
  if (!lease) expiry_timer_.stop();
  state_ = state;
  lease_ = std::move(lease);
  error_ = std::move(error);
  if (same) return;
  auto tell = on_change_;  // a copy: it may destroy us
  if (tell) tell();
}

}  // namespace dongle
