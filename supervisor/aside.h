#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "common/error.h"
#include "common/uv_handle.h"

namespace dongle {

/// Runs what may block in the kernel on a thread of its own and hands the outcome to the loop. Unlike the loop's thread
/// pool it can be left behind: a call that never returns keeps neither the pool's threads nor the end of the program
/// waiting. One call at a time.
template <class T>
class Aside {
 public:
  explicit Aside(UvLoop& loop) {
    CHECK(uv_async_init(loop.raw(), async_.get(), [](uv_async_t* h) {
            if (auto* self = static_cast<Aside*>(h->data)) self->on_ready();
          }) == 0);
    async_->data = this;
    uv_unref(reinterpret_cast<uv_handle_t*>(async_.get()));
  }
  /// A call under way is left to itself; nobody hears of its outcome.
  ~Aside() {
    if (!call_) return;
    std::lock_guard lock(call_->mutex);
    call_->wake = nullptr;
  }
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;

  bool is_running() const { return call_ != nullptr; }

  /// work runs on the other thread and owns all that it touches; done runs on the loop. Full: no thread to be had.
  Result<void> start(std::function<T()> work, std::function<void(T)> done) {
    CHECK(!is_running());
    auto call = std::make_shared<Call>();
    call->wake = async_.get();
    try {
      std::thread([call, work = std::move(work)] {
        T outcome = work();
        std::lock_guard lock(call->mutex);
        call->outcome = std::move(outcome);
        if (call->wake != nullptr) uv_async_send(call->wake);
      }).detach();
    } catch (const std::system_error& e) {
      return fail(Errc::Full, "start a thread: {}", e.what());
    }
    call_ = std::move(call);
    done_ = std::move(done);
    return {};
  }

 private:
  struct Call {
    std::mutex mutex;
    uv_async_t* wake = nullptr;  // null: the owner is gone
    std::optional<T> outcome;
  };

  void on_ready() {
    if (!call_) return;
    std::unique_lock lock(call_->mutex);
    if (!call_->outcome) return;
    T outcome = std::move(*call_->outcome);
    lock.unlock();
    call_.reset();
    std::exchange(done_, nullptr)(std::move(outcome));
  }

  UvHandle<uv_async_t> async_;
  std::shared_ptr<Call> call_;
  std::function<void(T)> done_;
};

}  // namespace dongle
