#pragma once
#include <functional>

#include "common/unique_fd.h"
#include "common/uv_handle.h"

namespace dongle {

/// Accepts on a listening unix socket and hands each connection over, non-blocking. When the process is out of
/// descriptors it pauses instead of spinning: what waits is accepted later.
class Acceptor {
 public:
  using OnClient = std::function<void(UniqueFd)>;
  /// on_client must not destroy the Acceptor.
  Acceptor(UvLoop& loop, UniqueFd listener, OnClient on_client);

 private:
  void accept_some();

  UniqueFd listener_;
  OnClient on_client_;
  Timer pause_;
  Poll poll_;
};

}  // namespace dongle
