#pragma once
#include <functional>
#include <string>

#include "common/net_address.h"
#include "common/unique_fd.h"
#include "common/uv_handle.h"

namespace dongle {

/// Asks the SOCKS5 server behind a stream to connect somewhere, and hangs up: a TCP probe. Destroying it cancels.
class SocksConnect {
 public:
  /// stream: connected, non-blocking; its peer allows clients without login. done is called once, from the loop.
  SocksConnect(UvLoop& loop, UniqueFd stream, const HostPort& target, Millis timeout,
               std::function<void(Result<void>)> done);

 private:
  void on_readable();
  void finish(Result<void> outcome);

  UniqueFd stream_;
  std::string received_;
  std::function<void(Result<void>)> done_;
  Timer deadline_;
  Poll poll_;
};

}  // namespace dongle
