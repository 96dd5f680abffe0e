#include "worker/session_table.h"

#include <sys/socket.h>

namespace dongle {

SessionTable::SessionTable(SessionContext& context) : context_(context), sweep_(context.loop) {}
SessionTable::~SessionTable() = default;

void SessionTable::accept(UniqueFd fd, const Address& peer) {
  ++context_.counters.accepted;
  if (!client_allowed(limits_.clients, peer)) return refuse(std::move(fd), CloseReason::client_denied);
  if (open() >= limits_.max_connections) return refuse(std::move(fd), CloseReason::connection_limit);
  auto it = per_client_.find(peer);
  if (it != per_client_.end() && it->second >= limits_.max_per_client)
    return refuse(std::move(fd), CloseReason::client_limit);
  ++per_client_[peer];
  add(std::move(fd), peer, false);
}

void SessionTable::serve_probe(UniqueFd fd) {
  if (probes_ >= kMaxProbes) return;
  ++probes_;
  add(std::move(fd), {}, true);
}

void SessionTable::add(UniqueFd fd, const Address& peer, bool is_probe) {
  auto session = std::make_unique<Session>(context_, is_probe, [this](Session& s, CloseReason) { remove(s); });
  auto& started = *session;
  sessions_[&started] = {std::move(session), peer};
  started.start(std::move(fd));
}

void SessionTable::remove(Session& session) {
  auto it = sessions_.find(&session);
  if (session.is_probe()) {
    --probes_;
  } else if (auto client = per_client_.find(it->second.peer); --client->second == 0) {
    per_client_.erase(client);
  }
  ended_.push_back(std::move(it->second.session));
  sessions_.erase(it);
  if (!sweep_.is_active()) sweep_.start(Millis{0}, [this] { ended_.clear(); });
  on_ended_();
}

void SessionTable::refuse(UniqueFd fd, CloseReason reason) {
  ++context_.counters.closed[static_cast<std::size_t>(reason)];
  linger at_once{1, 0};  // no TIME_WAIT for what a flood makes us refuse
  setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

// A list first: sessions leave the table while they are told.
std::vector<Session*> SessionTable::all() const {
  std::vector<Session*> all;
  all.reserve(sessions_.size());
  for (auto& [session, row] : sessions_) all.push_back(session);
  return all;
}

void SessionTable::end_all(CloseReason reason) {
  for (auto* session : all()) session->kill(reason);
}

void SessionTable::stop_connecting(CloseReason reason) {
  for (auto* session : all()) session->stop_connecting(reason);
}

}  // namespace dongle
