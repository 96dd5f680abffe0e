#pragma once
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "worker/session.h"

namespace dongle {

/// All sessions, and who may have one more.
class SessionTable {
 public:
  struct Limits {
    std::vector<Prefix> clients;  ///< empty: everyone
    std::size_t max_connections = 2000;
    std::size_t max_per_client = 100;
  };

  explicit SessionTable(SessionContext& context);
  ~SessionTable();

  void set_limits(Limits limits) { limits_ = std::move(limits); }
  /// Serves an accepted client, or closes it at once, counted, if it's over a limit or not on the list.
  void accept(UniqueFd fd, const Address& peer);
  /// Serves a probe; outside of all limits but kMaxProbes.
  void serve_probe(UniqueFd fd);
  static constexpr std::size_t kMaxProbes = 64;
  /// Ends every session by RST, probes too.
  void end_all(CloseReason reason);
  /// Refuses those that are still to be connected; the others go on.
  void stop_connecting(CloseReason reason);

  /// Open now, probes not counted.
  std::size_t open() const { return sessions_.size() - probes_; }
  /// Called after a session ended and its descriptors are free.
  void on_ended(std::function<void()> callback) { on_ended_ = std::move(callback); }

 private:
  struct Row {
    std::unique_ptr<Session> session;
    Address peer;
  };
  void add(UniqueFd fd, const Address& peer, bool is_probe);
  void remove(Session& session);
  void refuse(UniqueFd fd, CloseReason reason);
  std::vector<Session*> all() const;

  SessionContext& context_;
  Limits limits_;
  std::unordered_map<Session*, Row> sessions_;
  std::map<Address, std::size_t> per_client_;
  std::size_t probes_ = 0;
  std::vector<std::unique_ptr<Session>> ended_;  // a session ends inside its own callbacks: destroyed a turn later
  Timer sweep_;
  std::function<void()> on_ended_ = [] {};
};

}  // namespace dongle
