#include "worker/relay.h"

#include <sys/socket.h>

#include <cerrno>

namespace dongle {
namespace {

bool would_block(int error) {
  return error == EAGAIN || error == EWOULDBLOCK;
}

// A vanished peer shows as a time-out of keep-alive or retransmission; anything else is its reset.
bool is_lost(int error) {
  return error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH || error == ENETDOWN;
}

}  // namespace

Relay::Relay(UvLoop& loop, Poller& poller, std::span<char> buffer, Counters* counters, Start start, Finished finished)
    : loop_(loop),
      poller_(poller),
      buffer_(buffer),
      counters_(counters),
      client_(std::move(start.client)),
      server_(std::move(start.server)),
      body_(start.body),
      last_activity_ms_(uv_now(loop.raw())),
      finished_(std::move(finished)) {
  up_.pending = std::move(start.to_server);
  down_.uncounted = start.to_client.size();
  down_.pending = std::move(start.to_client);
  note_events(start.client_events, up_, down_);
  note_events(start.server_events, down_, up_);
  client_->set_sink(*this);
  server_->set_sink(*this);
}

void Relay::on_ready(PolledSocket& socket, std::uint32_t events) {
  bool is_client = &socket == client_.get();
  // Nothing can reach a client whose socket is in error. A server's last words may still wait in front of the error.
  if (is_client && (events & EPOLLERR)) {
    socklen_t length = sizeof error_;
    getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error_, &length);
    return finish(is_lost(error_) ? CloseReason::client_lost : CloseReason::client_reset);
  }
  note_events(events, is_client ? up_ : down_, is_client ? down_ : up_);
  advance();
}

void Relay::note_events(std::uint32_t events, Direction& reads, Direction& writes) {
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) reads.hangup = true;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) reads.readable = true;
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) writes.writable = true;
}

void Relay::advance() {
  switch (pump(down_, *server_, *client_, nullptr)) {
    case Pumped::Ok: break;
    case Pumped::ReadFailed: return finish(is_lost(error_) ? CloseReason::server_lost : CloseReason::server_reset);
    case Pumped::WriteFailed: return finish(is_lost(error_) ? CloseReason::client_lost : CloseReason::client_reset);
  }
  switch (pump(up_, *client_, *server_, body_ ? &*body_ : nullptr)) {
    case Pumped::Ok: break;
    case Pumped::ReadFailed:
      if (error_ == EPROTO) return finish(CloseReason::bad_request);
      return finish(is_lost(error_) ? CloseReason::client_lost : CloseReason::client_reset);
    case Pumped::WriteFailed:
      // The server takes no more, but its answer to what came before may be on its way: read that to its end.
      up_.broken = true;
      down_.readable = down_.hangup = true;
      if (pump(down_, *server_, *client_, nullptr) != Pumped::Ok || down_.eof)
        return finish(is_lost(error_) ? CloseReason::server_lost : CloseReason::server_reset);
  }
  if (up_.broken && down_.fin_sent) return finish(CloseReason::server_reset);
  if (up_.fin_sent && down_.fin_sent)
    return finish(client_ended_first_ ? CloseReason::client_eof : CloseReason::server_eof);
}

Relay::Pumped Relay::pump(Direction& d, PolledSocket& from, PolledSocket& to, http::BodyFramer* body) {
  std::size_t budget = kTurn;
  while (true) {
    if (d.broken) return Pumped::Ok;
    if (!d.pending.empty()) {
      if (!d.writable) return Pumped::Ok;
      std::size_t taken = 0;
      if (!write(d, to, std::string_view(d.pending).substr(d.sent), taken)) return Pumped::WriteFailed;
      d.sent += taken;
      if (d.sent < d.pending.size()) return Pumped::Ok;
      std::string().swap(d.pending);
      d.sent = 0;
    }
    if (d.eof) {
      if (!d.fin_sent) shutdown(to.fd(), SHUT_WR);
      d.fin_sent = true;
      return Pumped::Ok;
    }
    if (!d.readable) return Pumped::Ok;
    if (budget == 0) {
      poller_.requeue(from);
      return Pumped::Ok;
    }
    ssize_t n = recv(from.fd(), buffer_.data(), std::min(buffer_.size(), budget), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && would_block(errno)) {
      d.readable = false;
      return Pumped::Ok;
    }
    if (n < 0) {
      error_ = errno;
      return Pumped::ReadFailed;
    }
    last_activity_ms_ = uv_now(loop_.raw());
    if (n == 0) {
      if (!up_.eof && !down_.eof) client_ended_first_ = &d == &up_;
      d.eof = true;
      continue;
    }
    auto size = static_cast<std::size_t>(n);
    // A short read has emptied the socket, unless its end was announced; whatever comes later is a new event.
    if (size < std::min(buffer_.size(), budget) && !d.hangup) d.readable = false;
    budget -= size;
    std::string_view bytes(buffer_.data(), size);
    if (body) {
      auto of_body = body->take(bytes);
      if (!of_body) {
        error_ = EPROTO;
        return Pumped::ReadFailed;
      }
      bytes = bytes.substr(0, *of_body);  // what lies behind the body is another request: not for this server
    }
    std::size_t taken = 0;
    if (!write(d, to, bytes, taken)) return Pumped::WriteFailed;
    if (taken < bytes.size()) d.pending.assign(bytes.substr(taken));
  }
}

bool Relay::write(Direction& d, PolledSocket& to, std::string_view bytes, std::size_t& taken) {
  while (taken < bytes.size()) {
    ssize_t n = send(to.fd(), bytes.data() + taken, bytes.size() - taken, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && would_block(errno)) {
      d.writable = false;
      return true;
    }
    if (n < 0) {
      error_ = errno;
      return false;
    }
    auto size = static_cast<std::size_t>(n);
    taken += size;
    auto own = std::min(size, d.uncounted);
    d.uncounted -= own;
    d.moved += size - own;
    if (counters_) (&d == &up_ ? counters_->tx_bytes : counters_->rx_bytes) += size - own;
    last_activity_ms_ = uv_now(loop_.raw());
  }
  return true;
}

void Relay::reset_both() {
  client_->reset_on_close();
  server_->reset_on_close();
}

void Relay::finish(CloseReason reason) {
  auto finished = std::move(finished_);
  finished(reason);
}

}  // namespace dongle
