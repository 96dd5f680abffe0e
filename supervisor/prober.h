#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/unique_fd.h"
#include "common/uv_handle.h"
#include "supervisor/curl_loop.h"

namespace dongle {

/// Whether an HTTP answer proves that the Internet was reached, and if not, why. A captive portal answers too. Pure.
Result<void> judge_probe_response(const std::string& url, const CurlLoop::Response& response);

/// Asks the configured targets through a dongle's own worker: the same way that a client's bytes take.
class Prober {
 public:
  /// serve: hands the far end of a stream to the worker, which serves it as SOCKS5.
  Prober(UvLoop& loop, CurlLoop& curl, ProbeConfig config, std::function<Result<void>(UniqueFd)> serve);
  ~Prober();

  /// One round: the targets one after another, the next when one fails or takes over a second; the first success ends
  /// the round well. A failed round's error tells what each target met. A round under way is replaced, its callback
  /// never called. At most config.timeout.
  void probe(std::function<void(Result<void>)> done);
  /// The public address as public_ip_url sees it. A question under way is replaced, its callback never called.
  void fetch_public_ip(Millis timeout, std::function<void(Result<Address>)> done);
  /// No callback of what is under way follows.
  void cancel();
  bool is_probing() const { return round_ != nullptr; }
  Millis timeout() const { return config_.timeout; }
  void set_config(ProbeConfig config) { config_ = std::move(config); }

 private:
  struct Round;
  void start_next_target();
  void target_done(std::size_t index, Result<void> outcome);
  void finish(Result<void> outcome);

  UvLoop& loop_;
  CurlLoop& curl_;
  ProbeConfig config_;
  std::function<Result<void>(UniqueFd)> serve_;
  std::unique_ptr<Round> round_;
  std::size_t first_target_ = 0;  ///< moves on every round, so that no target gets all the questions
  std::unique_ptr<CurlLoop::Request> ip_request_;
};

}  // namespace dongle
