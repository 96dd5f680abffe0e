#include "worker/session.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "common/log.h"

namespace dongle {
namespace {

constexpr std::size_t kHandshakeRead = 16 * 1024;
constexpr std::uint32_t kHangup = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

CloseReason resolve_failure(const Error& error) {
  switch (error.code) {
    case Errc::NotFound: return CloseReason::dns_not_found;
    case Errc::Timeout: return CloseReason::dns_timeout;
    case Errc::Unreachable: return CloseReason::no_device;
    case Errc::Full: return CloseReason::no_resources;
    case Errc::Cancelled: return CloseReason::interrupted;
    case Errc::InvalidArgument:
    case Errc::Exists:
    case Errc::Busy:
    case Errc::Refused:
    case Errc::Permission:
    case Errc::Unsupported:
    case Errc::Protocol:
    case Errc::Io: return CloseReason::dns_failed;
  }
  return CloseReason::dns_failed;
}

// What a refusal says of the way out (see DialResult): nullopt: nothing, "": it works.
std::optional<std::string_view> evidence(CloseReason reason) {
  if (reason == CloseReason::connect_refused) return "";
  if (reason == CloseReason::unreachable_host || reason == CloseReason::unreachable_network) return "unreachable";
  if (reason == CloseReason::connect_timeout || reason == CloseReason::dns_timeout ||
      reason == CloseReason::dns_failed || reason == CloseReason::no_device || reason == CloseReason::link_down)
    return close_info(reason).name;
  return std::nullopt;
}

}  // namespace

Session::Session(SessionContext& context, bool is_probe, Ended ended)
    : context_(context),
      ended_(std::move(ended)),
      is_probe_(is_probe),
      opening_(std::make_unique<Opening>()),
      timer_(context.loop),
      started_(UvLoop::now()) {}

void Session::start(UniqueFd client) {
  tune_tcp(client.get());
  auto added = context_.poller.add(std::move(client), *this);
  if (!added) return end(CloseReason::no_resources);
  client_ = std::move(*added);
  timer_.start(context_.handshake_timeout, [this] { refuse(CloseReason::handshake_timeout); });
}

void Session::on_ready(PolledSocket&, std::uint32_t events) {
  client_events_ |= events;
  switch (state_) {
    case State::Handshake: return read_handshake();
    case State::Connecting: return watch_waiting_client();
    case State::Closing: return drain_client();
    case State::Relaying:  // the relay has the sockets
    case State::Ended: return;
  }
}

void Session::read_handshake() {
  while (state_ == State::Handshake) {
    ssize_t n = recv(client_->fd(), context_.buffer.data(), kHandshakeRead, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      client_events_ &= ~static_cast<std::uint32_t>(EPOLLIN);
      return;
    }
    if (n <= 0) return end(CloseReason::client_gone);
    opening_->in.append(context_.buffer.data(), static_cast<std::size_t>(n));
    advance_handshake();
  }
  if (state_ == State::Connecting) watch_waiting_client();
}

void Session::advance_handshake() {
  if (opening_->protocol == Protocol::Unknown && !sniff()) return;
  if (opening_->protocol == Protocol::Socks5) return advance_socks();
  advance_http();
}

bool Session::sniff() {
  char first = opening_->in.front();
  if (first == 5) {
    opening_->protocol = Protocol::Socks5;
  } else if ((first >= 'A' && first <= 'Z') || (first >= 'a' && first <= 'z')) {
    opening_->protocol = Protocol::Http;
  } else {
    // TLS and others get no answer: none that they would understand.
    if (first == 4)
      linger(CloseReason::unsupported, socks5::socks4_refusal());
    else
      end(CloseReason::unsupported);
    return false;
  }
  return true;
}

void Session::advance_socks() {
  if (!opening_->greeted) {
    auto greeting = socks5::read_greeting(opening_->in);
    if (!greeting) return;
    bool acceptable = greeting->offers_no_authentication && (is_probe_ || !context_.refuse_clients);
    if (!acceptable)
      return linger(greeting->offers_no_authentication ? CloseReason::client_refused : CloseReason::unsupported,
                    socks5::method_reply(0xff));
    if (!send_to_client(socks5::method_reply(0))) return end(CloseReason::client_gone);
    opening_->greeted = true;
    opening_->in.erase(0, greeting->size);
  }
  auto request = socks5::read_request(opening_->in);
  if (!request) return;
  if (!*request) return refuse(request->error());
  opening_->to_server = opening_->in.substr((*request)->size);
  opening_->client_spoke = !opening_->to_server.empty();
  connect_to(std::move((*request)->target));
}

void Session::advance_http() {
  auto read = opening_->head.read(opening_->in);
  if (!read) return;
  if (!*read) return refuse(read->error().reason, read->error().text, read->error().status);
  if (!is_probe_ && context_.refuse_clients) return refuse(CloseReason::client_refused);
  auto& request = **read;
  std::string_view behind = std::string_view(opening_->in).substr(request.size);
  opening_->client_spoke = !request.is_connect || !behind.empty();
  if (!request.is_connect) {
    auto of_body = request.body.take(behind);
    if (!of_body) return refuse(CloseReason::bad_request, "the chunked body is malformed");
    behind = behind.substr(0, *of_body);
    opening_->body = request.body;
  }
  opening_->to_server = request.head;
  opening_->to_server += behind;
  connect_to(std::move(request.target));
}

void Session::connect_to(Target target) {
  state_ = State::Connecting;
  timer_.stop();
  std::string().swap(opening_->in);
  opening_->target = std::move(target);
  if (context_.log_connections) target_text_ = opening_->target.to_string();
  if (!context_.egress.is_usable()) return refuse(CloseReason::no_device);
  if (!context_.link_up) return refuse(CloseReason::link_down);
  if (auto* address = std::get_if<Address>(&opening_->target.host)) return dial({*address});
  const auto& name = std::get<std::string>(opening_->target.host);
  if (const auto* known = context_.resolver.find(name)) {
    if (known->empty()) return refuse(CloseReason::dns_not_found);
    return dial(*known);
  }
  auto ticket = context_.resolver.lookup(name, [this](const auto& addresses) { on_resolved(addresses); });
  if (!ticket) return refuse(resolve_failure(ticket.error()));
  opening_->ticket = std::move(*ticket);
}

void Session::on_resolved(const Result<std::vector<Address>>& addresses) {
  if (!addresses) return refuse(resolve_failure(addresses.error()));
  dial(*addresses);
}

void Session::dial(const std::vector<Address>& addresses) {
  // All of a name's addresses must pass: one that points inside is no accident.
  if (!is_probe_ && !std::ranges::all_of(addresses, [&](const Address& a) { return context_.guard.allows(a); }))
    return refuse(CloseReason::destination_refused);
  std::vector<Endpoint> targets;
  for (const auto& address : addresses)
    if (context_.egress.source_for(address.family())) targets.push_back({address, opening_->target.port});
  if (targets.empty()) return refuse(CloseReason::unreachable_network);
  opening_->dial = std::make_unique<Dial>(context_.loop, context_.poller, context_.egress);
  opening_->dial->start(std::move(targets), context_.connect_timeout,
                        [this](Dial::Outcome outcome) { on_dialed(std::move(outcome)); });
}

void Session::on_dialed(Dial::Outcome outcome) {
  if (!outcome.socket) return refuse(outcome.failure);
  if (!is_probe_) context_.on_dial("");
  Relay::Start start;
  if (opening_->protocol == Protocol::Socks5) {
    sockaddr_storage bound{};
    socklen_t length = sizeof bound;
    getsockname(outcome.socket->fd(), reinterpret_cast<sockaddr*>(&bound), &length);
    start.to_client = socks5::success_reply(Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&bound)));
  } else if (!opening_->body) {
    start.to_client = http::connect_reply();
  }
  start.client = std::move(client_);
  start.server = std::move(outcome.socket);
  start.client_events = client_events_ | EPOLLIN;
  start.server_events = outcome.events;
  start.to_server = std::move(opening_->to_server);
  start.body = opening_->body;
  opening_.reset();
  state_ = State::Relaying;
  relay_ =
      std::make_unique<Relay>(context_.loop, context_.poller, context_.buffer, is_probe_ ? nullptr : &context_.counters,
                              std::move(start), [this](CloseReason reason) {
                                if (close_info(reason).is_error) relay_->reset_both();
                                end(reason);
                              });
  check_idle();
  relay_->run();
}

// A client that is gone while it waits need not be waited for. One that sent all it has to say and closed its side
// still wants the answer.
void Session::watch_waiting_client() {
  if (!(client_events_ & kHangup)) return;
  char peeked;
  bool only_end = recv(client_->fd(), &peeked, 1, MSG_PEEK) == 0;
  if ((client_events_ & (EPOLLHUP | EPOLLERR)) || (only_end && !opening_->client_spoke)) end(CloseReason::client_gone);
}

void Session::refuse(CloseReason reason, const std::string& http_text, int http_status) {
  if (auto told = evidence(reason); told && !is_probe_) context_.on_dial(*told);
  const auto& info = close_info(reason);
  if (opening_->protocol == Protocol::Socks5 && opening_->greeted && info.socks_rep != 0)
    return linger(reason, socks5::failure_reply(info.socks_rep));
  int status = http_status != 0 ? http_status : info.http_status;
  if (opening_->protocol == Protocol::Http && status != 0)
    return linger(reason, http::error_reply(status, http_text.empty() ? info.text : http_text));
  end(reason);
}

// Closing with bytes unread would reset the connection and take our last words with it; so the client gets a moment
// to read them and to close.
void Session::linger(CloseReason reason, std::string_view last_words) {
  opening_->ticket.reset();
  opening_->dial.reset();
  refused_with_ = reason;
  state_ = State::Closing;
  if (!send_to_client(last_words)) return end(reason);
  shutdown(client_->fd(), SHUT_WR);
  timer_.start(kLinger, [this] { end(refused_with_); });
  drain_client();
}

void Session::drain_client() {
  for (int i = 0; i < 8; ++i) {
    ssize_t n = recv(client_->fd(), context_.buffer.data(), context_.buffer.size(), 0);
    if (n > 0 || (n < 0 && errno == EINTR)) continue;
    if (n < 0 && errno == EAGAIN) return;
    return end(refused_with_);
  }
}

void Session::check_idle() {
  Millis limit = context_.idle_timeout;
  Millis half_open_limit = std::min(limit, kHalfOpenTimeout);
  if (relay_->is_half_open()) limit = half_open_limit;
  Millis idle{static_cast<std::int64_t>(uv_now(context_.loop.raw()) - relay_->last_activity_ms())};
  if (idle >= limit) return kill(relay_->is_half_open() ? CloseReason::half_open_timeout : CloseReason::idle_timeout);
  timer_.start(std::min(limit - idle, half_open_limit), [this] { check_idle(); });
}

bool Session::send_to_client(std::string_view bytes) {
  // A few bytes into an empty socket buffer: they fit, or the connection is of no use.
  return send(client_->fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

void Session::stop_connecting(CloseReason reason) {
  if (state_ == State::Connecting) refuse(reason);
}

void Session::kill(CloseReason reason) {
  if (state_ == State::Closing) reason = refused_with_;
  if (client_) client_->reset_on_close();
  if (relay_) relay_->reset_both();
  end(reason);
}

void Session::end(CloseReason reason) {
  if (state_ == State::Ended) return;
  state_ = State::Ended;
  timer_.stop();
  if (context_.log_connections) {
    log_event(LogEvent::session_closed,
              {{"reason", close_info(reason).name},
               {"target", target_text_},
               {"rx_bytes", relay_ ? relay_->rx_bytes() : 0},
               {"tx_bytes", relay_ ? relay_->tx_bytes() : 0},
               {"probe", is_probe_},
               {"took_ms", std::chrono::duration_cast<Millis>(UvLoop::now() - started_).count()}});
  }
  if (!is_probe_) ++context_.counters.closed[static_cast<std::size_t>(reason)];
  opening_.reset();
  relay_.reset();
  client_.reset();
  ended_(*this, reason);
}

}  // namespace dongle
