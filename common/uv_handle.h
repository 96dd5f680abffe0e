#pragma once
#include <uv.h>

#include <functional>
#include <map>
#include <memory>
#include <typeindex>
#include <utility>

#include "common/clock.h"
#include "common/error.h"

namespace dongle {

/// The process's event loop. Declared first, dies last; dies loudly if a handle is still open.
class UvLoop {
 public:
  UvLoop();
  ~UvLoop();
  UvLoop(const UvLoop&) = delete;
  UvLoop& operator=(const UvLoop&) = delete;

  uv_loop_t* raw() { return &loop_; }
  /// Runs until stop() or until no handle is active.
  void run() { uv_run(&loop_, UV_RUN_DEFAULT); }
  void stop() { uv_stop(&loop_); }
  /// The loop's cached monotonic time is too coarse for measuring; this asks the clock.
  static TimePoint now() { return std::chrono::steady_clock::now(); }
  /// The T of this loop, made by T(UvLoop&) at the first call. It is destroyed with the loop, after everything that the
  /// loop waits for has ended.
  template <class T>
  T& local() {
    auto& slot = locals_[typeid(T)];
    if (!slot) slot = std::make_shared<T>(*this);
    return *static_cast<T*>(slot.get());
  }

 private:
  uv_loop_t loop_{};
  std::map<std::type_index, std::shared_ptr<void>> locals_;
};

/// Owns a libuv handle whose memory lives until its close callback. Its owner may die inside its own callback:
/// destroying it clears `data`, so no later callback reaches the owner.
template <class T>
class UvHandle {
 public:
  UvHandle() : handle_(new T{}) {}
  UvHandle(const UvHandle&) = delete;
  UvHandle& operator=(const UvHandle&) = delete;
  ~UvHandle() {
    auto* h = reinterpret_cast<uv_handle_t*>(handle_);
    handle_->data = nullptr;
    if (h->type == UV_UNKNOWN_HANDLE) {
      delete handle_;
    } else {
      uv_close(h, [](uv_handle_t* closed) { delete reinterpret_cast<T*>(closed); });
    }
  }
  T* get() { return handle_; }
  const T* get() const { return handle_; }
  T* operator->() { return handle_; }

 private:
  T* handle_;
};

/// A one-shot or repeating timer. Destroying it cancels it.
class Timer {
 public:
  explicit Timer(UvLoop& loop);
  /// Calls back once after `delay`, replacing what was scheduled before.
  void start(Millis delay, std::function<void()> callback);
  /// Calls back every `interval`, the first time after `interval`.
  void repeat(Millis interval, std::function<void()> callback);
  void stop();
  bool is_active() const { return uv_is_active(reinterpret_cast<const uv_handle_t*>(handle_.get())) != 0; }

 private:
  void arm(Millis delay, Millis interval, std::function<void()> callback);
  UvHandle<uv_timer_t> handle_;
  std::function<void()> callback_;
};

/// Watches a descriptor that somebody else owns; the owner destroys the Poll before closing the descriptor.
class Poll {
 public:
  /// events: UV_READABLE | UV_WRITABLE | UV_DISCONNECT. callback(status, events): status < 0 is a uv error.
  using Callback = std::function<void(int status, int events)>;
  Poll(UvLoop& loop, int fd, int events, Callback callback);
  /// Changes what is waited for; 0 pauses.
  void set_events(int events);

 private:
  UvHandle<uv_poll_t> handle_;
  Callback callback_;
};

/// Calls back for each arrival of a signal (coalesced by the kernel).
class SignalWatch {
 public:
  SignalWatch(UvLoop& loop, int signum, std::function<void()> callback);

 private:
  UvHandle<uv_signal_t> handle_;
  std::function<void()> callback_;
};

}  // namespace dongle
