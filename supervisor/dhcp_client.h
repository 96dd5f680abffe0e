#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/child_process.h"
#include "supervisor/dhcp_lease.h"

namespace dongle {

/// What a dongle's address by DHCP is like.
enum class DhcpState {
  Asking,     ///< no lease yet, or none any more; the client keeps asking
  Bound,      ///< lease() holds
  NoAddress,  ///< asked in vain; the client keeps asking
  BadLease,   ///< the server offers what can't be used; error() says what
};
const char* to_string(DhcpState state);  ///< "asking", "bound", "no_address", "bad_lease"

/// Gets an address for one device with busybox's udhcpc, which changes nothing on the host: it reports, we decide.
/// A lease holds until its end even if the server falls silent or udhcpc dies; udhcpc is started again after a
/// back-off. The child dies with us (setpriv --pdeathsig). It needs CAP_NET_RAW; the device must be up.
class DhcpClient {
 public:
  struct Options {
    std::string device;
    std::string report_program;  ///< the path of dhcp-report
  };
  /// on_change is called from the loop whenever state, lease or error has changed; it may destroy the client.
  DhcpClient(UvLoop& loop, Options options, std::function<void()> on_change);

  DhcpState state() const { return state_; }
  const std::optional<DhcpLease>& lease() const { return lease_; }
  /// Why there is no lease or no client: with BadLease, or when udhcpc can't be run.
  const std::optional<Error>& error() const { return error_; }
  /// Subnets of the host's other devices. A lease inside one is refused from then on; the one that is held, too.
  void set_forbidden(std::vector<Prefix> subnets);
  /// Times udhcpc ended unasked.
  std::uint64_t restarts() const { return restarts_; }

 private:
  void start_client();
  void on_report(std::string_view line);
  void on_bad_lease(Error error);
  void on_exit(const std::string& why);
  void set(DhcpState state, std::optional<DhcpLease> lease, std::optional<Error> error);

  UvLoop& loop_;
  Options options_;
  std::function<void()> on_change_;
  std::vector<Prefix> forbidden_;
  std::unique_ptr<ChildProcess> child_;
  TimePoint started_at_{};
  bool first_report_ = false;
  Millis backoff_{0};
  Timer restart_timer_;
  Timer expiry_timer_;
  DhcpState state_ = DhcpState::Asking;
  std::optional<DhcpLease> lease_;
  std::optional<Error> error_;
  std::uint64_t restarts_ = 0;
};

}  // namespace dongle
