#include "supervisor/usb_undo.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "common/log.h"

namespace dongle {
namespace {

std::vector<int> ports_of(const Json& intent) {
  std::vector<int> ports;
  auto list = intent.find("ports");
  if (list == intent.end() || !list->is_array()) return ports;
  for (const Json& port : *list)
    if (port.is_number_integer() && port.get<std::int64_t>() > 0 && port.get<std::int64_t>() < 256)
      ports.push_back(port.get<int>());
  return ports;
}

}  // namespace

UsbUndo::UsbUndo(UsbContext& context, std::string key, Json intent, HelperRunPtr after)
    : context_(context),
      key_(std::move(key)),
      intent_(std::move(intent)),
      run_(std::move(after)),
      timer_(context.loop()),
      backoff_(context.times().first_retry, context.times().longest_retry, context.times().longest_retry) {
  std::string place = key_.substr(std::min(key_.size(), key_.find(' ') + 1));
  if (key_.starts_with("device ")) device_ = place;
  hub_ = device_.empty() ? place : usb_parent(device_);
}

UsbUndo::~UsbUndo() {
  if (run_) run_->then = nullptr;
}

void UsbUndo::start() {
  if (!run_ || run_->is_over) return timer_.start(backoff_.next(Millis{0}), [this] { attempt(); });
  run_->then = [this](UsbHelper::Reply) {
    run_.reset();
    attempt();
  };
}

void UsbUndo::retry_now() {
  if (!run_) timer_.start(Millis{0}, [this] { attempt(); });
}

void UsbUndo::attempt() {
  std::vector<int> ports = ports_of(intent_);
  if (device_.empty() && ports.empty()) return finish("the intent names no port");
  hung_at_start_ = context_.is_hanging(hub_);
  auto words = device_.empty() ? port_arguments(hub_, ports, true, hung_at_start_)
                               : std::vector<std::string>{"authorize", device_, "1"};
  run_ = context_.run(hub_, std::move(words), context_.times().switching, [this](UsbHelper::Reply reply) {
    run_.reset();
    on_reply(reply);
  });
}

void UsbUndo::on_reply(const UsbHelper::Reply& reply) {
  if (reply.result) {
    if (context_.is_hanging(hub_)) return retry_later("on, but a helper that hangs may still switch it off");
    if (hung_at_start_) return attempt();  // its end may have come after our "on"
    return finish(device_.empty() ? "the power is on again" : "authorized again");
  }
  switch (reply.result.error().code) {
    case Errc::NotFound: return finish("it left the bus; it has power when it returns");
    case Errc::Unsupported: return finish("nothing can be switched there: " + reply.result.error().message());
    default: return retry_later(reply.result.error().message());
  }
}

void UsbUndo::finish(const std::string& outcome) {
  log_event(LogEvent::usb_undone, {{"place", key_}, {"outcome", outcome}});
  context_.intents().clear(key_);
  context_.end_undo(key_);  // ends this
}

void UsbUndo::retry_later(const std::string& reason) {
  if (!std::exchange(complained_, true)) log_event(LogEvent::usb_undo_failed, {{"place", key_}, {"reason", reason}});
  Millis pause = context_.is_hanging(hub_) ? context_.times().hanging_retry
                                           : std::max(backoff_.next(Millis{0}), context_.times().first_retry);
  timer_.start(pause, [this] { attempt(); });
}

}  // namespace dongle
