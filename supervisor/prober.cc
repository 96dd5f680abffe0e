#include "supervisor/prober.h"

#include <sys/socket.h>

#include <cerrno>

#include "common/log.h"
#include "supervisor/socks_connect.h"

namespace dongle {
namespace {

// How long one target may be silent before the next is asked as well.
constexpr Millis kPatience = Seconds(1);
constexpr std::size_t kMaxProbeBody = 64 * 1024;

}  // namespace

Result<void> judge_probe_response(const std::string& url, const CurlLoop::Response& response) {
  // The well-known check pages answer 204 without a body; a portal in between answers 200 with its own page.
  // Firefox's answers 200 with the word itself.
  bool is_well;
  if (url.ends_with("/generate_204"))
    is_well = response.status == 204;
  else if (url.ends_with("/success.txt"))
    is_well = response.status == 200 && response.body.starts_with("success");
  else
    is_well = response.status >= 200 && response.status < 300;
  if (is_well) return {};
  bool portal = response.status == 200 || (response.status >= 300 && response.status < 400);
  return fail(Errc::Refused, "status {}{}", response.status, portal ? ", a captive portal?" : "");
}

struct Prober::Round {
  Round(UvLoop& loop, std::vector<ProbeTarget> all) : targets(std::move(all)), patience(loop), deadline(loop) {}
  std::vector<ProbeTarget> targets;  // a reload may change the configured ones meanwhile
  std::function<void(Result<void>)> done;
  std::size_t started = 0;
  std::size_t failed = 0;
  std::string errors;
  std::vector<std::unique_ptr<CurlLoop::Request>> requests;
  std::vector<std::unique_ptr<SocksConnect>> connects;
  Timer patience;
  Timer deadline;
};

Prober::Prober(UvLoop& loop, CurlLoop& curl, ProbeConfig config, std::function<Result<void>(UniqueFd)> serve)
    : loop_(loop), curl_(curl), config_(std::move(config)), serve_(std::move(serve)) {}
Prober::~Prober() = default;

void Prober::cancel() {
  round_.reset();
  ip_request_.reset();
}

void Prober::probe(std::function<void(Result<void>)> done) {
  round_ = std::make_unique<Round>(loop_, config_.targets);
  round_->done = std::move(done);
  first_target_ = (first_target_ + 1) % config_.targets.size();
  round_->deadline.start(config_.timeout, [this, timeout = config_.timeout] {
    std::string errors = round_->errors;
    finish(
        fail(Errc::Timeout, "no answer within {}{}{}", format_duration(timeout), errors.empty() ? "" : "; ", errors));
  });
  start_next_target();
}

void Prober::start_next_target() {
  Round& round = *round_;
  if (round.started == round.targets.size()) return;
  std::size_t index = (first_target_ + round.started++) % round.targets.size();
  const ProbeTarget& target = round.targets[index];
  if (target.kind == ProbeTarget::Kind::Tcp) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
      return target_done(index, fail_errno(errno, "socketpair"));
    UniqueFd ours(ends[0]), theirs(ends[1]);
    if (auto served = serve_(std::move(theirs)); !served) return target_done(index, std::move(served));
    round.connects.push_back(std::make_unique<SocksConnect>(
        loop_, std::move(ours), target.tcp, config_.timeout,
        [this, index](Result<void> outcome) { target_done(index, std::move(outcome)); }));
  } else {
    CurlLoop::Options options;
    options.url = target.url;
    options.timeout = options.connect_timeout = config_.timeout;
    options.max_body = kMaxProbeBody;
    options.route = CurlLoop::Route::OverSocks5;
    options.take_peer = serve_;
    round.requests.push_back(
        curl_.fetch(std::move(options), [this, index, url = target.url](Result<CurlLoop::Response> response) {
          target_done(
              index, response ? judge_probe_response(url, *response) : Result<void>(std::unexpected(response.error())));
        }));
  }
  round.patience.start(kPatience, [this] { start_next_target(); });
}

void Prober::target_done(std::size_t index, Result<void> outcome) {
  if (outcome) return finish({});
  Round& round = *round_;
  if (!round.errors.empty()) round.errors += "; ";
  const std::string& url = round.targets[index].url;
  std::string error = outcome.error().message();
  round.errors += error.starts_with(url) ? error : url + ": " + error;
  if (++round.failed == round.targets.size())
    return finish(fail(outcome.error().code, "{}", std::string(round.errors)));
  if (round.failed == round.started) start_next_target();
}

void Prober::finish(Result<void> outcome) {
  // Freed before the callback, which may start the next round.
  auto done = std::move(round_->done);
  round_.reset();
  done(std::move(outcome));
}

void Prober::fetch_public_ip(Millis timeout, std::function<void(Result<Address>)> done) {
  CurlLoop::Options options;
  options.url = config_.public_ip_url;
  options.timeout = options.connect_timeout = timeout;
  options.max_body = kMaxProbeBody;
  options.route = CurlLoop::Route::OverSocks5;
  options.take_peer = serve_;
  ip_request_ = curl_.fetch(std::move(options), [done = std::move(done)](Result<CurlLoop::Response> response) {
    if (!response) return done(std::unexpected(response.error()));
    if (response->status != 200) return done(fail(Errc::Refused, "status {}", response->status));
    std::string_view text = response->body;
    auto first = text.find_first_not_of(" \t\r\n");
    text = first == text.npos ? "" : text.substr(first);
    text = text.substr(0, text.find_first_of(" \t\r\n"));
    auto address = Address::parse(text);
    if (!address) return done(fail(Errc::Protocol, "the answer isn't an address"));
    done(*address);
  });
}

}  // namespace dongle
