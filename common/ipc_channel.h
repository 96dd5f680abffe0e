#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/ipc_message.h"
#include "common/unique_fd.h"
#include "common/uv_handle.h"

namespace dongle {

/// One packet as it came, with its descriptors.
struct IpcPacket {
  std::string bytes;
  std::vector<UniqueFd> fds;
};
/// Reads one packet without blocking. sys == EAGAIN: none there now. Cancelled: the other side has closed.
Result<IpcPacket> receive_ipc(int fd);

/// One side of a worker.sock connection. Messages arrive whole with their descriptors; sending never blocks.
class IpcChannel {
 public:
  struct Handlers {
    std::function<void(IpcMessage, std::vector<UniqueFd>)> on_message;
    /// The other side is gone or broke the protocol; the channel is dead, no handler is called after this.
    /// The owner may destroy the channel inside any handler.
    std::function<void(const Error&)> on_closed;
  };
  /// fd: a connected SOCK_SEQPACKET socket, non-blocking.
  IpcChannel(UvLoop& loop, UniqueFd fd, Handlers handlers);
  ~IpcChannel();

  /// Sends one message and duplicates of `fds`. InvalidArgument if it is over the size limit; Full if the peer doesn't
  /// read (the message is lost; the caller closes the channel or sends the state again later).
  Result<void> send(const IpcMessage& message, std::initializer_list<int> fds = {});
  Result<void> send(const IpcMessage& message, const std::vector<int>& fds);
  int fd() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace dongle
