#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "supervisor/usb_job.h"

namespace dongle {
namespace {

Millis since(TimePoint t) {
  return std::chrono::duration_cast<Millis>(UvLoop::now() - t);
}

}  // namespace

UsbPowerJob::UsbPowerJob(UsbContext& context, Goal goal, PowerPlan plan, int attempt, Done done)
    : UsbJob(context, std::move(done)), goal_(goal), plan_(std::move(plan)), attempt_(attempt) {}

UsbPowerJob::~UsbPowerJob() {
  if (owes_power_) context_.undo(intent_key(), intent(), release_run());
}

std::vector<int> UsbPowerJob::ports() const {
  std::vector<int> numbers;
  for (const PortCut& cut : plan_.cuts) numbers.push_back(cut.port.port);
  // Its own first: the kernel sets up what comes back on a hub one after the other.
  std::ranges::stable_partition(numbers, [own = usb_port(plan_.device_path)](int port) { return port == own; });
  return numbers;
}

Json UsbPowerJob::intent() const {
  return {{"undo", "ports_on"}, {"ports", ports()}};
}

int UsbPowerJob::lesson_port() const {
  return plan_.kind == PowerPlan::Kind::Hub ? HubMemory::kWholeHub : plan_.cuts.front().port.port;
}

void UsbPowerJob::start() {
  began_ = UvLoop::now();
  for (const PortCut& cut : plan_.cuts)
    if (const UsbDevice* device = context_.tree().find(usb_child(cut.port.hub, cut.port.port)))
      devnums_before_[device->path] = device->devnum;
  if (goal_ == Goal::On) return switch_on();
  owes_power_ = true;
  // Off for an operator stays off, also over a restart: only a failure is undone.
  if (goal_ == Goal::Off) return switch_off(false);
  context_.intents().record(intent_key(), intent(), guard([this] { switch_off(false); }));
}

void UsbPowerJob::switch_off(bool raw) {
  cut_ = UvLoop::now();
  run(plan_.hub, port_arguments(plan_.hub, ports(), false, raw), context_.times().switching,
      [this, raw](const UsbHelper::Reply& reply) { on_off_reply(raw, reply); });
}

void UsbPowerJob::on_off_reply(bool raw, const UsbHelper::Reply& reply) {
  // The kernel's own way waits for the device's driver. The power itself can be had without it.
  if (reply.stuck && !raw) return switch_off(true);
  if (reply.stuck) return refuse(Errc::Busy, fmt::format("the kernel holds hub {}", plan_.hub_name));
  if (!reply.result) {
    const Error& error = reply.result.error();
    if (error.code == Errc::Unsupported) context_.learn(plan_.hub, lesson_port(), false, error.message());
    return refuse(error.code, error.message());
  }
  if (!json_bool(*reply.result, "effective", true)) {
    std::string why = "the hub takes the request and leaves the port as it was";
    context_.learn(plan_.hub, lesson_port(), false, why);
    return refuse(Errc::Refused, why);
  }
  raw_ = raw;
  if (devnums_before_.empty()) {
    story_ = "nothing was on the bus";
    return stay_off();
  }
  await_leaving();
}

void UsbPowerJob::await_leaving() {
  wait_for([this] { return has_left(); }, context_.times().leaving, Look::Now, [this](bool left) { on_left(left); });
}

bool UsbPowerJob::has_left() const {
  return std::ranges::all_of(devnums_before_, [this](const auto& before) {
    const UsbDevice* device = context_.tree().find(before.first);
    return !device || device->devnum != before.second;
  });
}

void UsbPowerJob::on_left(bool left) {
  if (!left) {
    std::string why = fmt::format("the hub says off, but the stick was still there after {}: it keeps the power on",
                                  seconds_text(context_.times().leaving));
    // Past the kernel's hub driver it can also be that the kernel just didn't notice.
    if (!raw_) context_.learn(plan_.hub, lesson_port(), false, why);
    return refuse(Errc::Refused, why);
  }
  story_ = fmt::format("left the bus after {}", seconds_text(since(cut_)));
  stay_off();
}

void UsbPowerJob::stay_off() {
  if (goal_ == Goal::Off) {
    owes_power_ = false;
    return finish(story_ + ", the power is off");
  }
  Millis off_time = attempt_ > 1 ? context_.times().long_off : context_.times().off;
  story_ += fmt::format(", off for {}", seconds_text(off_time));
  after(off_time, [this] { switch_on(); });
}

void UsbPowerJob::switch_on() {
  hung_at_on_ = context_.is_hanging(plan_.hub);
  run(plan_.hub, port_arguments(plan_.hub, ports(), true, raw_), context_.times().switching,
      [this](const UsbHelper::Reply& reply) { on_on_reply(reply); });
}

void UsbPowerJob::on_on_reply(const UsbHelper::Reply& reply) {
  if (!reply.result) {
    const Error& error = reply.result.error();
    std::string later = owes_power_ ? "; tried again until it works" : "";
    return refuse(
        reply.stuck ? Errc::Busy : error.code,
        fmt::format("{}{}switching on failed: {}{}", story_, story_.empty() ? "" : ", ", error.message(), later));
  }
  // A helper that hangs may still switch it off; then the intent stays, and the undo looks after it.
  if (owes_power_ && !hung_at_on_) {
    owes_power_ = false;
    context_.intents().clear(intent_key());
  }
  on_ = UvLoop::now();
  await_return();
}

void UsbPowerJob::await_return() {
  Millis left = std::max(context_.times().whole - since(began_), Millis{1000});
  wait_for([this] { return is_back(); }, left, Look::Now, [this](bool returned) { on_returned(returned); });
}

bool UsbPowerJob::is_back() const {
  const UsbDevice* device = context_.tree().find(plan_.device_path);
  if (!device) return false;
  auto before = devnums_before_.find(plan_.device_path);
  return goal_ == Goal::On || before == devnums_before_.end() || before->second != device->devnum;
}

void UsbPowerJob::on_returned(bool returned) {
  std::string sofar = story_.empty() ? "" : story_ + ", ";
  if (!returned) {
    auto took = seconds_text(since(on_));
    // Who wanted the power on has it; whether a stick is there is for its ladder to say.
    if (goal_ == Goal::On) return finish(fmt::format("on, but nothing came back within {}", took));
    return fail_with({Errc::Refused, 0, fmt::format("{}on again, but nothing came back within {}", sofar, took)});
  }
  const UsbDevice* device = context_.tree().find(plan_.device_path);
  std::string story =
      fmt::format("{}back as device {} after {}{}", sofar, device->devnum, seconds_text(since(on_)), others_back());
  if (goal_ == Goal::Cycle && devnums_before_.contains(plan_.device_path))
    context_.learn(plan_.hub, lesson_port(), true, story);
  finish(std::move(story));
}

// "; 2 of 3 others are back"
std::string UsbPowerJob::others_back() const {
  int others = 0, back = 0;
  for (const auto& [path, devnum] : devnums_before_) {
    if (path == plan_.device_path) continue;
    ++others;
    const UsbDevice* device = context_.tree().find(path);
    back += device && device->devnum != devnum;
  }
  return others == 0 ? "" : fmt::format("; {} of {} others are back", back, others);
}

void UsbPowerJob::refuse(Errc code, const std::string& why) {
  fail_with({code, 0, why});
}

}  // namespace dongle
