#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/ipc_channel.h"
#include "common/uv_handle.h"

namespace dongle {

/// The worker's end of worker.sock. Keeps trying to reach the supervisor for as long as it lives.
class SupervisorLink {
 public:
  static constexpr Millis kFirstRetry{50}, kLastRetry{500};

  struct Handlers {
    std::function<void(IpcMessage, std::vector<UniqueFd>)> message;
    std::function<Hello()> hello;           ///< what to register with
    std::function<std::vector<int>()> fds;  ///< and the descriptors beside it; stay the caller's
    std::function<void()> connected;
    std::function<void(const Error&)> lost;         ///< after a connection, not after a failed try
    std::function<void(const Error&)> unreachable;  ///< the tries fail; once until a connection stands
  };
  /// runtime_fd: an open directory, -1: none; runtime_dir: its path, tried next, empty: none.
  SupervisorLink(UvLoop& loop, int runtime_fd, std::string runtime_dir, Handlers handlers);

  /// Begins; the handlers are called from the loop.
  void start();
  bool is_connected() const { return channel_ != nullptr; }
  /// How long there has been no supervisor; zero if there is one.
  Millis away() const;
  /// False: not connected, or it doesn't read; the message is lost.
  bool send(const IpcMessage& message);

 private:
  void try_connect();
  void on_lost(const Error& error);

  UvLoop& loop_;
  int runtime_fd_;
  std::string runtime_dir_;
  Handlers handlers_;
  Timer retry_;
  Millis delay_ = kFirstRetry;
  TimePoint lost_at_;
  bool told_unreachable_ = false;
  std::unique_ptr<IpcChannel> channel_;
};

}  // namespace dongle
