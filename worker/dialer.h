#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "worker/egress.h"
#include "worker/poller.h"
#include "worker/session_close.h"

namespace dongle {

/// One try to connect to a server through the modem: its addresses one after another, within one deadline in all.
/// Destroying it calls the try off.
class Dial : Poller::Sink {
 public:
  static constexpr std::size_t kMaxAddresses = 4;

  struct Outcome {
    std::unique_ptr<PolledSocket> socket;  ///< connected; null: it failed
    CloseReason failure{};                 ///< why, of the last address that was tried
    std::uint32_t events = 0;              ///< epoll events of the socket that came along with being connected
  };
  /// Called once, never from within start(); may destroy the Dial.
  using Done = std::function<void(Outcome)>;

  Dial(UvLoop& loop, Poller& poller, const Egress& egress) : poller_(poller), egress_(egress), timer_(loop) {}
  /// targets: at least one; those beyond kMaxAddresses are left out.
  void start(std::vector<Endpoint> targets, Millis timeout, Done done);

 private:
  void try_next();
  bool try_one(const Endpoint& target);
  void on_ready(PolledSocket& socket, std::uint32_t events) override;
  void finish(std::uint32_t events);

  Poller& poller_;
  const Egress& egress_;
  Timer timer_;
  std::vector<Endpoint> targets_;
  std::size_t next_ = 0;
  TimePoint deadline_;
  std::unique_ptr<PolledSocket> socket_;
  CloseReason failure_ = CloseReason::connect_timeout;
  Done done_;
};

/// The reason for a connect's errno.
CloseReason connect_failure(int sys);

}  // namespace dongle
