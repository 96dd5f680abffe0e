#pragma once
#include <sys/types.h>

#include <functional>
#include <string>

#include "common/error.h"
#include "common/unique_fd.h"
#include "common/uv_handle.h"

namespace dongle {

/// A listening unix socket at PATH, non-blocking, in place of what was there. type: SOCK_STREAM or SOCK_SEQPACKET.
/// Nobody but us can connect until it has its mode, nor before it belongs to `group` (-1: ours).
Result<UniqueFd> listen_unix(const std::string& path, int type, mode_t mode, gid_t group, int backlog);

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
