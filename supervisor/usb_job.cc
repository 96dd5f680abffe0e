#include "supervisor/usb_job.h"

#include <utility>

namespace dongle {

UsbJob::~UsbJob() {
  if (run_) run_->then = nullptr;
}

void UsbJob::on_tree() {
  if (seen_ && seen_()) end_wait(true);
}

void UsbJob::run(const std::string& hub, std::vector<std::string> arguments, Millis deadline,
                 std::function<void(UsbHelper::Reply)> then) {
  run_ = context_.run(hub, std::move(arguments), deadline, [this, then = std::move(then)](UsbHelper::Reply reply) {
    run_.reset();
    then(std::move(reply));
  });
}

void UsbJob::wait_for(std::function<bool()> seen, Millis deadline, Look look, std::function<void(bool)> then) {
  if (look == Look::Now && seen()) return then(true);
  seen_ = std::move(seen);
  then_ = std::move(then);
  timer_.start(deadline, [this] { end_wait(false); });
}

void UsbJob::end_wait(bool seen) {
  timer_.stop();
  seen_ = nullptr;
  auto then = std::exchange(then_, nullptr);
  then(seen);
}

void UsbJob::after(Millis delay, std::function<void()> then) {
  timer_.start(delay, std::move(then));
}

void UsbJob::finish(Result<std::string> outcome) {
  auto done = std::exchange(done_, nullptr);
  done(std::move(outcome));
}

HelperRunPtr UsbJob::release_run() {
  if (run_) run_->then = nullptr;
  return std::exchange(run_, nullptr);
}

}  // namespace dongle
