#pragma once
#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/unique_fd.h"
#include "common/uv_handle.h"

namespace dongle {

class PolledSocket;

/// All sockets of the relay in one edge-triggered epoll set, each registered once; the loop watches the set by a
/// single handle. libuv's own poll handles re-arm by system calls for each change of interest, which a relay with its
/// stop-and-go of back-pressure pays for at every turn.
class Poller {
 public:
  /// Gets a socket's events. It may destroy the socket, itself and others while it is called.
  class Sink {
   public:
    virtual ~Sink() = default;
    /// events: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR; 0: the turn that requeue() asked for.
    virtual void on_ready(PolledSocket& socket, std::uint32_t events) = 0;
  };

  explicit Poller(UvLoop& loop);
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  /// Registers a non-blocking socket. Its sink hears of what is ready already. Full if the kernel has no room.
  Result<std::unique_ptr<PolledSocket>> add(UniqueFd fd, Sink& sink);
  /// Gives the socket another turn after the events that wait now: for work that was cut short to be fair.
  void requeue(PolledSocket& socket);

 private:
  friend class PolledSocket;
  void dispatch_events();
  void run_queue();
  void forget(PolledSocket& socket);

  UniqueFd epoll_;
  std::array<epoll_event, 64> batch_{};
  int batch_size_ = 0;
  std::vector<PolledSocket*> queue_, running_;
  UvHandle<uv_idle_t> idle_;  // active while somebody is queued, so that the loop doesn't sleep
  Poll poll_;
};

/// A socket with its registration. Destroying it ends both; no event reaches the sink after that.
class PolledSocket {
 public:
  PolledSocket(Poller& poller, UniqueFd fd, Poller::Sink& sink) : poller_(poller), fd_(std::move(fd)), sink_(&sink) {}
  ~PolledSocket() { poller_.forget(*this); }
  PolledSocket(const PolledSocket&) = delete;
  PolledSocket& operator=(const PolledSocket&) = delete;

  int fd() const { return fd_.get(); }
  /// From now on another sink gets the events; costs no system call.
  void set_sink(Poller::Sink& sink) { sink_ = &sink; }
  /// Makes the closing that follows a reset (RST), dropping what is unsent.
  void reset_on_close();

 private:
  friend class Poller;
  Poller& poller_;
  UniqueFd fd_;
  Poller::Sink* sink_;
  bool queued_ = false;
};

}  // namespace dongle
