#include "common/uv_handle.h"

#include <algorithm>

namespace dongle {

UvLoop::UvLoop() {
  CHECK(uv_loop_init(&loop_) == 0);
}

UvLoop::~UvLoop() {
  // Owners have closed their handles; their close callbacks are still to run.
  uv_run(&loop_, UV_RUN_NOWAIT);
  uv_run(&loop_, UV_RUN_DEFAULT);
  locals_.clear();
  uv_run(&loop_, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(&loop_) == 0);
}

Timer::Timer(UvLoop& loop) {
  CHECK(uv_timer_init(loop.raw(), handle_.get()) == 0);
}

void Timer::start(Millis delay, std::function<void()> callback) {
  arm(delay, Millis{0}, std::move(callback));
}

void Timer::repeat(Millis interval, std::function<void()> callback) {
  arm(interval, std::max(interval, Millis{1}), std::move(callback));
}

void Timer::arm(Millis delay, Millis interval, std::function<void()> callback) {
  callback_ = std::move(callback);
  handle_->data = this;
  uv_update_time(handle_->loop);
  uv_timer_start(
      handle_.get(),
      [](uv_timer_t* h) {
        if (auto* self = static_cast<Timer*>(h->data)) {
          // A copy: the callback may replace itself or destroy the timer.
          auto call = self->callback_;
          call();
        }
      },
      static_cast<std::uint64_t>(std::max<std::int64_t>(delay.count(), 0)),
      static_cast<std::uint64_t>(interval.count()));
}

void Timer::stop() {
  uv_timer_stop(handle_.get());
}

Poll::Poll(UvLoop& loop, int fd, int events, Callback callback) : callback_(std::move(callback)) {
  CHECK(uv_poll_init(loop.raw(), handle_.get(), fd) == 0);
  handle_->data = this;
  set_events(events);
}

void Poll::set_events(int events) {
  if (events == 0) {
    uv_poll_stop(handle_.get());
    return;
  }
  uv_poll_start(handle_.get(), events, [](uv_poll_t* h, int status, int ev) {
    if (auto* self = static_cast<Poll*>(h->data)) {
      auto call = self->callback_;
      call(status, ev);
    }
  });
}

SignalWatch::SignalWatch(UvLoop& loop, int signum, std::function<void()> callback) : callback_(std::move(callback)) {
  CHECK(uv_signal_init(loop.raw(), handle_.get()) == 0);
  handle_->data = this;
  uv_signal_start(
      handle_.get(),
      [](uv_signal_t* h, int) {
        if (auto* self = static_cast<SignalWatch*>(h->data)) {
          auto call = self->callback_;
          call();
        }
      },
      signum);
}

}  // namespace dongle
