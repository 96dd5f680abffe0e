#include "supervisor/hilink_client.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include <openssl/rand.h>

#include "common/bind_device.h"

namespace dongle {
namespace {

constexpr std::size_t kMaxTokens = 64;
constexpr std::size_t kMaxCountedCodes = 64;
constexpr std::string_view kApi = "/api/";
constexpr int kMaxBackOffs = 3;
constexpr int kLoginStateTries = 5;

std::string random_nonce() {
  std::string bytes(32, '\0');
  CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size())) == 1);
  return to_hex(bytes);
}

bool is_redirect(long status) {
  return status >= 300 && status < 400;
}
bool was_cut_off(const Error& error) {
  return error.sys == ECONNRESET || error.sys == EPIPE;
}
/// It answered, but not to the question.
bool is_nonsense(const Error& error) {
  return error.code == Errc::Protocol || error.code == Errc::Full;
}
bool is_login_path(std::string_view path) {
  return path == "user/login" || path == "user/challenge_login" || path == "user/authentication_login";
}

}  // namespace

HilinkClient::HilinkClient(UvLoop& loop, CurlLoop& curl, HilinkTarget target, HilinkTimes times)
    : loop_(loop),
      curl_(curl),
      target_(std::move(target)),
      times_(times),
      pump_timer_(loop),
      wait_timer_(loop),
      idle_timer_(loop) {}

void HilinkClient::set_target(HilinkTarget target) {
  if (target == target_) return;
  // Otherwise a modem that comes and goes on the bus would be an endless supply of login attempts.
  if (target.username != target_.username || target.password != target_.password) {
    login_verdict_.reset();
    next_login_ = {};
  }
  target_ = std::move(target);
  session_ = {};
  known_handshake_.reset();
  unsupported_.clear();
  encrypted_paths_.clear();
  public_key_.reset();
  is_oaep_.reset();
  idle_timer_.stop();
  if (!active_) return;
  // A reboot that was on its way has taken the modem off the bus, which is what it was to do.
  request_.reset();
  const bool succeeded = active_->is_reboot && active_->was_sent;
  wait_then(Millis{0}, [this, succeeded] {
    if (succeeded) return finish(XmlElement{});
    finish(fail(Errc::Cancelled, "{}: the modem changed under the call", active_->path));
  });
}

// --- the calls -----------------------------------------------------------------------------------------------------

template <class T, class Reader>
void HilinkClient::get(const char* path, Reader reader, Done<T> done) {
  enqueue(Call{path, std::nullopt, [path, reader, done = std::move(done)](Result<XmlElement> response) {
                 if (!response) return done(std::unexpected(std::move(response).error()));
                 Result<T> value = reader(*response);
                 if (!value) value = wrap(std::move(value).error(), "{}", path);
                 done(std::move(value));
               }});
}

void HilinkClient::read_status(Done<ModemStatus> done) {
  get<ModemStatus>("monitoring/status", read_modem_status, std::move(done));
}
void HilinkClient::read_pin(Done<PinStatus> done) {
  get<PinStatus>("pin/status", read_pin_status, std::move(done));
}
void HilinkClient::read_signal(Done<Signal> done) {
  get<Signal>("device/signal", dongle::read_signal, std::move(done));
}
void HilinkClient::read_information(Done<DeviceInformation> done) {
  const auto reader = [this](const XmlElement& response) {
    auto info = read_device_information(response);
    // Another firmware may support what the last one didn't.
    if (info && info->software_version != software_version_) {
      if (!software_version_.empty()) unsupported_.clear();
      software_version_ = info->software_version;
    }
    return info;
  };
  get<DeviceInformation>("device/information", reader, std::move(done));
}
void HilinkClient::read_traffic(Done<TrafficStatistics> done) {
  get<TrafficStatistics>("monitoring/traffic-statistics", read_traffic_statistics, std::move(done));
}
void HilinkClient::read_profiles(Done<Profiles> done) {
  get<Profiles>("dialup/profiles", dongle::read_profiles, std::move(done));
}
void HilinkClient::read_plmn(Done<Plmn> done) {
  get<Plmn>("net/current-plmn", dongle::read_plmn, std::move(done));
}
void HilinkClient::read_data_switch(Done<bool> done) {
  get<bool>("dialup/mobile-dataswitch", dongle::read_data_switch, std::move(done));
}
void HilinkClient::read_net_mode(Done<NetMode> done) {
  get<NetMode>("net/net-mode", dongle::read_net_mode, std::move(done));
}

void HilinkClient::post(std::string path, std::string body, Done<void> done) {
  enqueue(Call{std::move(path), std::move(body), [done = std::move(done)](Result<XmlElement> response) {
                 if (!response) return done(std::unexpected(std::move(response).error()));
                 done({});
               }});
}

void HilinkClient::set_data_switch(bool on, Done<void> done) {
  post("dialup/mobile-dataswitch", hilink_request({{"dataswitch", on ? "1" : "0"}}), std::move(done));
}

void HilinkClient::set_net_mode(const NetMode& mode, Done<void> done) {
  auto body = net_mode_request(mode);
  if (body) return post("net/net-mode", std::move(*body), std::move(done));
  Call refused{"net/net-mode", std::nullopt, [done = std::move(done)](Result<XmlElement> response) {
                 done(std::unexpected(std::move(response).error()));
               }};
  refused.invalid = std::move(body).error();
  enqueue(std::move(refused));
}

void HilinkClient::dial(bool connect, Done<void> done) {
  post("dialup/dial", hilink_request({{"Action", connect ? "1" : "0"}}), std::move(done));
}

void HilinkClient::reboot(Done<void> done) {
  // Control 1 only: 2 is a factory reset, 4 powers off until somebody comes and plugs.
  Call call{"device/control", hilink_request({{"Control", "1"}}),
            [done = std::move(done)](Result<XmlElement> response) {
              if (!response) return done(std::unexpected(std::move(response).error()));
              done({});
            }};
  call.is_reboot = true;
  enqueue(std::move(call));
}

void HilinkClient::log_out(Done<void> done) {
  Call call{"user/logout", hilink_request({{"Logout", "1"}}), [done = std::move(done)](Result<XmlElement> response) {
              if (!response) return done(std::unexpected(std::move(response).error()));
              done({});
            }};
  call.is_log_out = true;
  enqueue(std::move(call));
}

// --- the queue -----------------------------------------------------------------------------------------------------

void HilinkClient::enqueue(Call call) {
  if (queue_.size() >= kMaxQueued) {
    ++counters_.refused_full;
    auto path = call.path;
    return call.done(fail(Errc::Full, "{}: {} calls wait for this modem already", path, kMaxQueued));
  }
  auto owned = std::make_unique<Call>(std::move(call));
  owned->deadline = std::make_unique<Timer>(loop_);
  owned->deadline->start(times_.call, [this, raw = owned.get()] { on_deadline(raw); });
  queue_.push_back(std::move(owned));
  pump_soon();
}

void HilinkClient::pump_soon() {
  pump_timer_.start(Millis{0}, [this] { pump(); });
}

void HilinkClient::pump() {
  if (active_ || queue_.empty()) return;
  active_ = std::move(queue_.front());
  queue_.pop_front();
  idle_timer_.stop();
  attempt();
}

void HilinkClient::on_deadline(const Call* call) {
  auto error = fail(Errc::Timeout, "{}: no answer within {}{}", call->path, format_duration(times_.call),
                    call->last_error == 0 ? "" : fmt::format(", the last one was error {}", call->last_error));
  if (active_.get() == call) return finish(std::move(error));
  const auto waiting = std::ranges::find(queue_, call, &std::unique_ptr<Call>::get);
  CHECK(waiting != queue_.end());
  const auto owned = std::move(*waiting);
  queue_.erase(waiting);
  owned->done(std::move(error));
}

/// Answers the active call. Nothing may follow: the answer can destroy the client.
void HilinkClient::finish(Result<XmlElement> result) {
  request_.reset();
  wait_timer_.stop();
  const auto call = std::move(active_);
  if (call->is_log_out || (call->is_reboot && result)) session_ = {};
  session_.last_used = UvLoop::now();
  if (queue_.empty() && session_.is_logged_in)
    idle_timer_.start(times_.session_idle, [this] { log_out([](const Result<void>&) {}); });
  pump_soon();
  call->done(std::move(result));
}

void HilinkClient::wait_then(Millis delay, std::function<void()> next) {
  wait_timer_.start(delay, std::move(next));
}

// --- one call ------------------------------------------------------------------------------------------------------

void HilinkClient::attempt() {
  if (active_->invalid) return finish(std::unexpected(*active_->invalid));
  if (active_->is_log_out && !session_.is_logged_in) return finish(XmlElement{});
  if (unsupported_.contains(active_->key())) return finish(std::unexpected(hilink_error(active_->path, 100002)));
  // One with a login is ended by idle_timer_ instead, which logs out first.
  const bool is_stale = UvLoop::now() - session_.last_used > times_.session_idle && !session_.is_logged_in;
  if (session_.is_open && !is_stale) return send_active();
  open_session(true, [this](Result<void> opened) {
    if (opened) return relogin_if_needed();
    if (was_cut_off(opened.error()) && !std::exchange(active_->was_cut_off, true)) return attempt();
    finish(wrap(std::move(opened).error(), "{}", active_->path));
  });
}

void HilinkClient::send_active() {
  api(active_->path, active_->body, [this](Result<HilinkReply> reply) { on_reply(std::move(reply)); });
}

void HilinkClient::on_reply(Result<HilinkReply> reply) {
  if (reply) {
    if (reply->error != 0) return on_error_code(reply->error);
    return finish(std::move(reply->root));
  }
  if (was_cut_off(reply.error())) {
    if (active_->is_reboot && active_->was_sent) return finish(XmlElement{});
    // The tiny servers close now and then right after a session was made. Nothing is lost by asking again.
    const bool is_harmless = !active_->body || !active_->was_sent;
    if (is_harmless && !std::exchange(active_->was_cut_off, true)) return attempt();
  }
  finish(std::unexpected(std::move(reply).error()));
}

void HilinkClient::on_error_code(int code) {
  Call& call = *active_;
  call.last_error = code;
  const bool is_first = ++call.seen[code] == 1;
  const auto surface = [&] { finish(std::unexpected(hilink_error(call.path, code))); };
  if (call.is_log_out) return surface();  // the session is gone or will be; not worth a new one
  switch (hilink_error_info(code).rule) {
    case HilinkRule::Surface:
    case HilinkRule::Wait:
    case HilinkRule::Disconnect:
    case HilinkRule::Human:
    case HilinkRule::Credentials:
    case HilinkRule::LockedOut: return surface();
    case HilinkRule::Unsupported: unsupported_.insert(call.key()); return surface();
    case HilinkRule::RetryOnce: return is_first ? attempt() : surface();
    case HilinkRule::BackOff:
      if (call.back_offs == kMaxBackOffs) return surface();
      return wait_then(times_.back_off * (1 << call.back_offs++), [this] { attempt(); });
    case HilinkRule::Encrypt:
      return is_first && call.body && !encrypted_paths_.contains(call.path) ? encrypt_and_retry(code) : surface();
    case HilinkRule::Login: return is_first ? log_in_and_retry(code) : surface();
    case HilinkRule::NewToken:
      if (!is_first) return surface();
      return open_session(false, [this](Result<void> opened) {
        if (!opened) return finish(wrap(std::move(opened).error(), "{}", active_->path));
        send_active();
      });
    case HilinkRule::NewSession:
      if (!is_first) return surface();
      session_.is_open = false;
      // Some firmwares say "wrong session" where others say "no rights".
      call.wants_login_check = true;
      return attempt();
  }
}

/// The firmware may take this path in cipher only. Fetches what that needs, once, and sends the call again.
void HilinkClient::encrypt_and_retry(int code) {
  const auto surface = [this, code] { finish(std::unexpected(hilink_error(active_->path, code))); };
  if (!public_key_) {
    return api("webserver/publickey", std::nullopt, [this, code, surface](Result<HilinkReply> reply) {
      if (!reply || reply->error != 0) return surface();
      RsaPublicKey key{std::string(reply->root.text_of("encpubkeyn")), std::string(reply->root.text_of("encpubkeye"))};
      if (!hilink_encrypt("x", key, false) || !hilink_encrypt("x", key, true)) return surface();
      public_key_ = std::move(key);
      encrypt_and_retry(code);
    });
  }
  if (!is_oaep_) {
    return ask_login_state(kLoginStateTries, [this, code](const Result<LoginState>& state) {
      if (!state) is_oaep_ = false;
      encrypt_and_retry(code);
    });
  }
  encrypted_paths_.insert(active_->path);
  send_active();
}

void HilinkClient::log_in_and_retry(int code) {
  session_.is_logged_in = false;
  if (target_.password.empty()) return finish(wrap(hilink_error(active_->path, code), "no password is configured"));
  // Whatever state-login says: it may mean somebody else's session.
  log_in(true, [this, code](Result<void> in) {
    if (!in && in.error().code == Errc::Unsupported)
      return finish(wrap(hilink_error(active_->path, code), "this firmware has no login"));
    if (!in) return finish(wrap(std::move(in).error(), "{}: error {}: log in", active_->path, code));
    send_active();
  });
}

/// After a new session in answer to a refused one: asks the modem whether it wants a login, and goes on.
void HilinkClient::relogin_if_needed() {
  if (!std::exchange(active_->wants_login_check, false) || target_.password.empty() || !login_allowed())
    return send_active();
  log_in(false, [this](Result<void> in) {
    // Without an answer about logins the refused request itself is the better question.
    if (!in && in.error().code != Errc::Unsupported && in.error().code != Errc::Protocol)
      return finish(wrap(std::move(in).error(), "{}: log in", active_->path));
    send_active();
  });
}

// --- sessions and tokens -------------------------------------------------------------------------------------------

/// A session with tokens, as far as this firmware has them. Not fresh: the session stays, only tokens are fetched.
void HilinkClient::open_session(bool is_fresh, Next next) {
  if (is_fresh) session_ = {};
  // Whoever comes here needs a token or a session; that there are none may have been a passing fault.
  if (known_handshake_ == Handshake::None) known_handshake_.reset();
  const auto known = known_handshake_.value_or(Handshake::HomePage);
  // The token endpoint gives no session; the home page does.
  const bool needs_page = known == Handshake::TokenEndpoint && session_.cookie.empty();
  shake_hands(needs_page ? Handshake::HomePage : known, false, std::move(next));
}

void HilinkClient::shake_hands(Handshake step, bool is_restart, Next next) {
  switch (step) {
    case Handshake::HomePage:
      return fetch("/", std::nullopt, [this, is_restart, next](Result<CurlLoop::Response> page) {
        if (!page && is_nonsense(page.error())) return on_handshake_failed(Handshake::HomePage, is_restart, next);
        if (!page) return next(std::unexpected(std::move(page).error()));
        take_headers(*page, false);
        auto tokens = csrf_tokens_of_page(page->body);
        if (!tokens.empty()) return take_handshake(Handshake::HomePage, std::move(tokens), next);
        if (!is_redirect(page->status)) return on_handshake_failed(Handshake::HomePage, is_restart, next);
        // Not where it says but where it must be: a redirect could point anywhere.
        fetch("/html/home.html", std::nullopt, [this, is_restart, next](Result<CurlLoop::Response> home) {
          if (!home) return next(std::unexpected(std::move(home).error()));
          take_headers(*home, false);
          auto home_tokens = csrf_tokens_of_page(home->body);
          if (home_tokens.empty()) return on_handshake_failed(Handshake::HomePage, is_restart, next);
          take_handshake(Handshake::HomePage, std::move(home_tokens), next);
        });
      });
    case Handshake::TokenEndpoint:
      return send_api("webserver/token", std::nullopt, [this, is_restart, next](Result<HilinkReply> reply) {
        if (!reply && !is_nonsense(reply.error())) return next(std::unexpected(std::move(reply).error()));
        // WebUI 10 and 21 put something else in front of the token's 32 characters.
        std::string_view token = reply ? reply->root.text_of("token") : std::string_view{};
        if (token.size() > 32) token.remove_prefix(token.size() - 32);
        auto tokens = split_tokens(token);
        if (tokens.empty()) return on_handshake_failed(Handshake::TokenEndpoint, is_restart, next);
        take_handshake(Handshake::TokenEndpoint, std::move(tokens), next);
      });
    case Handshake::SesTokInfo:
      return send_api("webserver/SesTokInfo", std::nullopt, [this, is_restart, next](Result<HilinkReply> reply) {
        if (!reply && !is_nonsense(reply.error())) return next(std::unexpected(std::move(reply).error()));
        auto cookie = reply ? session_cookie_of_ses_info(reply->root.text_of("SesInfo")) : std::nullopt;
        auto tokens = reply ? split_tokens(reply->root.text_of("TokInfo")) : std::vector<std::string>{};
        if (!cookie || tokens.empty()) return on_handshake_failed(Handshake::SesTokInfo, is_restart, next);
        session_.cookie = *cookie;
        take_handshake(Handshake::SesTokInfo, std::move(tokens), next);
      });
    case Handshake::None: return take_handshake(Handshake::None, {}, next);
  }
}

void HilinkClient::on_handshake_failed(Handshake step, bool is_restart, Next next) {
  // What worked before doesn't any more (a new firmware): try all of them, once.
  if (step == known_handshake_ && !is_restart) {
    known_handshake_.reset();
    return shake_hands(Handshake::HomePage, true, std::move(next));
  }
  shake_hands(static_cast<Handshake>(std::to_underlying(step) + 1), is_restart, std::move(next));
}

void HilinkClient::take_handshake(Handshake step, std::vector<std::string> tokens, const Next& next) {
  known_handshake_ = step;
  session_.is_open = true;
  session_.last_used = UvLoop::now();
  session_.tokens.assign(tokens.begin(), tokens.end());
  next({});
}

/// Sessions and tokens that came along with an answer.
void HilinkClient::take_headers(const CurlLoop::Response& response, bool is_login) {
  bool is_new_session = is_login;
  std::vector<std::string> single, pair;
  for (const auto& [name, value] : response.headers) {
    if (name == "set-cookie") {
      if (auto cookie = session_cookie(value); cookie && *cookie != session_.cookie) {
        session_.cookie = *cookie;
        is_new_session = true;
      }
    } else if (name == "__requestverificationtoken") {
      single = split_tokens(value);
    } else if (name == "__requestverificationtokenone" || name == "__requestverificationtokentwo") {
      for (auto& token : split_tokens(value)) pair.push_back(std::move(token));
    }
  }
  const auto& fresh = pair.empty() ? single : pair;
  // A pool replaces what there was; a token by itself is the next one.
  if (is_new_session || fresh.size() > 1) session_.tokens.clear();
  for (const auto& token : fresh)
    if (session_.tokens.size() < kMaxTokens) session_.tokens.push_back(token);
}

// --- login ---------------------------------------------------------------------------------------------------------

Result<void> HilinkClient::login_allowed() const {
  if (login_verdict_) return std::unexpected(*login_verdict_);
  if (const auto now = UvLoop::now(); now < next_login_)
    return fail(Errc::Busy, "no further login for {}",
                format_duration(std::chrono::duration_cast<Millis>(next_login_ - now)));
  return {};
}

/// Unsupported: this firmware knows no login. is_forced: also if the modem thinks that we are logged in.
void HilinkClient::log_in(bool is_forced, Next next) {
  if (auto allowed = login_allowed(); !allowed) return next(std::unexpected(std::move(allowed).error()));
  ask_login_state(kLoginStateTries, [this, is_forced, next = std::move(next)](Result<LoginState> state) {
    if (!state) return next(std::unexpected(std::move(state).error()));
    if (state->state == 0 && !is_forced) return next({});
    if (state->wait_time > Seconds{0}) {
      next_login_ = UvLoop::now() + state->wait_time;
      return next(login_allowed());
    }
    next_login_ = UvLoop::now() + times_.login_interval;
    ++counters_.login_attempts;
    if (state->is_scram) return log_in_by_challenge(next);
    log_in_by_hash(*state, next);
  });
}

void HilinkClient::ask_login_state(int tries_left, std::function<void(Result<LoginState>)> next) {
  api("user/state-login", std::nullopt, [this, tries_left, next = std::move(next)](Result<HilinkReply> reply) {
    if (!reply && was_cut_off(reply.error()) && tries_left > 1) {
      return wait_then(times_.login_retry * (kLoginStateTries + 1 - tries_left),
                       [this, tries_left, next] { ask_login_state(tries_left - 1, next); });
    }
    if (!reply) return next(std::unexpected(std::move(reply).error()));
    if (reply->error != 0) return next(std::unexpected(hilink_error("user/state-login", reply->error)));
    auto state = read_login_state(reply->root);
    if (state) is_oaep_ = state->is_oaep;
    next(std::move(state));
  });
}

void HilinkClient::log_in_by_hash(const LoginState& state, const Next& next) {
  const auto send = [this, type = state.password_type, next] {
    // The hash takes in the very token that goes along; there is none where there are no tokens at all.
    const std::string token = session_.tokens.empty() ? "" : session_.tokens.front();
    const std::string password = type == 4 ? hilink_password_sha256(target_.username, target_.password, token)
                                           : hilink_password_base64(target_.password);
    api("user/login",
        hilink_request(
            {{"Username", target_.username}, {"Password", password}, {"password_type", std::to_string(type)}}),
        [this, next](Result<HilinkReply> reply) { on_login_reply(std::move(reply), next); });
  };
  if (!session_.tokens.empty()) return send();
  open_session(false, [send, next](Result<void> opened) {
    if (!opened) return next(std::move(opened));
    send();
  });
}

void HilinkClient::log_in_by_challenge(const Next& next) {
  const std::string nonce = random_nonce();
  api("user/challenge_login", hilink_request({{"username", target_.username}, {"firstnonce", nonce}, {"mode", "1"}}),
      [this, nonce, next](Result<HilinkReply> reply) {
        if (!reply || reply->error != 0) return on_login_reply(std::move(reply), next);
        ScramChallenge challenge{nonce, std::string(reply->root.text_of("servernonce")),
                                 std::string(reply->root.text_of("salt")), 0};
        if (auto n = parse_decimal(reply->root.text_of("iterations"), 1, 1'000'000'000))
          challenge.iterations = static_cast<int>(*n);
        auto proof = hilink_scram_proof(target_.password, challenge);
        if (!proof) return next(std::unexpected(std::move(proof).error()));
        api("user/authentication_login",
            hilink_request({{"clientproof", *proof}, {"finalnonce", challenge.server_nonce}}),
            [this, next](Result<HilinkReply> answer) { on_login_reply(std::move(answer), next); });
      });
}

void HilinkClient::on_login_reply(Result<HilinkReply> reply, const Next& next) {
  if (!reply) return next(std::unexpected(std::move(reply).error()));
  if (reply->error == 0) {
    session_.is_logged_in = true;
    return next({});
  }
  Error error = hilink_error("user/login", reply->error);
  const auto rule = hilink_error_info(reply->error).rule;
  // 100006 is how sticks without a password answer a login.
  if (rule == HilinkRule::Credentials || reply->error == 100006) login_verdict_ = error;
  if (rule != HilinkRule::LockedOut) return next(std::unexpected(std::move(error)));
  // How long the lock lasts is known to state-login alone.
  ask_login_state(1, [this, next, error = std::move(error)](const Result<LoginState>& state) {
    if (state) next_login_ = std::max(next_login_, UvLoop::now() + state->wait_time);
    next(std::unexpected(error));
  });
}

// --- one request ---------------------------------------------------------------------------------------------------

/// Asks /api/PATH, with a token if it is a POST and tokens are known here.
void HilinkClient::api(const std::string& path, std::optional<std::string> body, OnReply next) {
  if (!body || !session_.tokens.empty() || known_handshake_ == Handshake::None)
    return send_api(path, std::move(body), next);
  open_session(false, [this, path, body = std::move(body), next = std::move(next)](Result<void> opened) {
    if (!opened) return next(std::unexpected(std::move(opened).error()));
    send_api(path, body, next);
  });
}

void HilinkClient::send_api(const std::string& path, std::optional<std::string> body, const OnReply& next) {
  if (path == active_->path) active_->was_sent = true;
  fetch(std::string(kApi) + path, std::move(body), [this, path, next](Result<CurlLoop::Response> response) {
    if (!response) return next(wrap(std::move(response).error(), "{}", path));
    auto reply = parse_hilink_reply(response->body);
    if (!reply && (is_redirect(response->status) || response->status == 404)) reply = HilinkReply{100002};
    if (!reply) {
      ++counters_.transport_failures;
      return next(wrap(std::move(reply).error(), "{}: HTTP {}", path, response->status));
    }
    take_headers(*response, is_login_path(path));
    if (reply->error != 0) {
      const bool has_room = counters_.errors.size() < kMaxCountedCodes || counters_.errors.contains(reply->error);
      ++counters_.errors[has_room ? reply->error : 0];
    }
    next(std::move(reply));
  });
}

void HilinkClient::fetch(const std::string& url_path, std::optional<std::string> body, OnResponse next) {
  CurlLoop::Options options;
  const std::string base = "http://" + target_.endpoint.to_string();
  options.url = base + url_path;
  options.timeout = times_.http;
  options.connect_timeout = std::min(times_.connect, times_.http);
  // Referer: E5576 refuses requests without it. The misspelt header is what the web pages themselves send.
  options.headers = {"Referer: " + base + "/html/home.html", "X-Requested-With: XMLHttpRequest",
                     "_ResponseSource: Broswer", "Connection: close"};
  if (!session_.cookie.empty()) options.headers.push_back("Cookie: " + session_.cookie);
  if (body) {
    const bool is_encrypted = encrypted_paths_.contains(url_path.substr(std::min(kApi.size(), url_path.size())));
    if (is_encrypted) {
      auto cipher = hilink_encrypt(*body, *public_key_, *is_oaep_);
      CHECK(cipher.has_value());  // the key was tried when it came
      body = std::move(*cipher);
      options.headers.push_back("encrypt_transmit: encrypt_transmit");
    }
    options.headers.push_back(std::string("Content-Type: application/x-www-form-urlencoded; charset=UTF-8") +
                              (is_encrypted ? ";enc" : ""));
    if (!session_.tokens.empty()) {
      options.headers.push_back("__RequestVerificationToken: " + session_.tokens.front());
      session_.tokens.pop_front();
    }
  }
  options.body = std::move(body);
  options.open_socket = [device = target_.device](int family) -> Result<UniqueFd> {
    UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return fail_errno(errno, "socket");
    if (auto bound = bind_to_device(fd.get(), device); !bound) return std::unexpected(std::move(bound).error());
    return fd;
  };
  ++counters_.requests;
  request_ = curl_.fetch(std::move(options), [this, next = std::move(next)](Result<CurlLoop::Response> response) {
    if (!response) ++counters_.transport_failures;
    next(std::move(response));
  });
}

}  // namespace dongle
