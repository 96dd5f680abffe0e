#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "worker/access.h"
#include "worker/dialer.h"
#include "worker/egress.h"
#include "worker/http_proxy.h"
#include "worker/poller.h"
#include "worker/relay.h"
#include "worker/resolver.h"
#include "worker/session_close.h"
#include "worker/socks5.h"

namespace dongle {

/// What all sessions of the worker share. Changes take effect for sessions that need them next.
struct SessionContext {
  SessionContext(UvLoop& l, Poller& p, Resolver& r) : loop(l), poller(p), resolver(r) {}
  UvLoop& loop;
  Poller& poller;
  Resolver& resolver;
  DestinationGuard guard;
  Egress egress;
  bool link_up = true;  ///< of the way out: without it a connection is refused at once
  Millis connect_timeout{10000};
  Millis handshake_timeout{10000};
  Millis idle_timeout{600000};
  bool refuse_clients = false;
  bool log_connections = false;
  Counters counters;
  std::vector<char> buffer = std::vector<char>(Relay::kReadSize);
  /// How a client's connect went; not called for probes. reason: empty for success.
  std::function<void(std::string_view reason)> on_dial = [](std::string_view) {};
};

/// One client's connection, from its first byte to its end:
///   handshake   reading the SOCKS5 or HTTP request; the whole of it within handshake_timeout
///   connecting  resolving the name, then dialling; the client's leaving calls it off
///   relaying    bytes both ways until both sides have closed
///   closing     a refusal was sent: the client may read it, at most kLinger
/// It ends exactly once, with one CloseReason.
class Session : Poller::Sink {
 public:
  static constexpr Millis kLinger{900};
  static constexpr Millis kHalfOpenTimeout{300000};

  /// Called once when it is over and all its sockets are closed; the owner destroys it later, not from within.
  using Ended = std::function<void(Session&, CloseReason)>;

  /// is_probe: the operator's own; the guard and the counters don't apply.
  Session(SessionContext& context, bool is_probe, Ended ended);
  /// client: connected, non-blocking. May end the session at once.
  void start(UniqueFd client);
  /// Ends it now, both sides by RST.
  void kill(CloseReason reason);
  /// Refuses it if it isn't connected yet.
  void stop_connecting(CloseReason reason);
  bool is_probe() const { return is_probe_; }

 private:
  enum class State : std::uint8_t { Handshake, Connecting, Relaying, Closing, Ended };
  enum class Protocol : std::uint8_t { Unknown, Socks5, Http };

  // What is needed only until the relay runs; an idle relay shall own little.
  struct Opening {
    std::string in;  // read, not used yet
    Protocol protocol = Protocol::Unknown;
    bool greeted = false;
    http::HeadReader head;
    Target target;
    std::string to_server;
    std::optional<http::BodyFramer> body;
    bool client_spoke = false;  // it sent something for the server already
    std::unique_ptr<Resolver::Ticket> ticket;
    std::unique_ptr<Dial> dial;
  };

  void on_ready(PolledSocket& socket, std::uint32_t events) override;
  void read_handshake();
  void advance_handshake();
  bool sniff();
  void advance_socks();
  void advance_http();
  void connect_to(Target target);
  void on_resolved(const Result<std::vector<Address>>& addresses);
  void dial(const std::vector<Address>& addresses);
  void on_dialed(Dial::Outcome outcome);
  void watch_waiting_client();
  void refuse(CloseReason reason, const std::string& http_text = {}, int http_status = 0);
  void linger(CloseReason reason, std::string_view last_words);
  void drain_client();
  void check_idle();
  bool send_to_client(std::string_view bytes);
  void end(CloseReason reason);

  SessionContext& context_;
  Ended ended_;
  State state_ = State::Handshake;
  bool is_probe_;
  CloseReason refused_with_{};
  std::uint32_t client_events_ = 0;
  std::unique_ptr<PolledSocket> client_;
  std::unique_ptr<Opening> opening_;
  std::unique_ptr<Relay> relay_;
  std::string target_text_;  // kept only if connections are logged
  Timer timer_;
  TimePoint started_;
};

}  // namespace dongle
