#pragma once
#include <functional>

#include "common/net_address.h"
#include "common/unique_fd.h"
#include "common/uv_handle.h"

namespace dongle {

/// Accepts on one listening socket, which it shares with the supervisor: it never shuts it down. Without descriptors
/// or memory it stops and lets clients wait in the kernel's queue until there is room again.
class Listener {
 public:
  static constexpr int kBatch = 64;     ///< accepted in one turn
  static constexpr Millis kRetry{200};  ///< the longest pause before another look

  struct Handlers {
    std::function<bool()> has_room;                         ///< whether one more can be served
    std::function<void(UniqueFd, const Endpoint&)> accept;  ///< a non-blocking socket and its peer
    std::function<void()> limited;                          ///< accepting paused
  };
  Listener(UvLoop& loop, UniqueFd fd, Handlers handlers);

  int fd() const { return fd_.get(); }
  /// There may be room again.
  void resume();

 private:
  void accept_batch();
  void pause();

  UniqueFd fd_;
  Handlers handlers_;
  Timer retry_;
  bool paused_ = false;
  Poll poll_;
};

}  // namespace dongle
