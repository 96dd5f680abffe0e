#include <utility>

#include <nlohmann/json.hpp>

#include "common/stick_ids.h"
#include "common/usb_modes.h"
#include "supervisor/usb_job.h"

namespace dongle {
namespace {

std::vector<std::string> arguments_of(UsbDeviceJob::Verb verb, const std::string& path) {
  switch (verb) {
    case UsbDeviceJob::Verb::ModeSwitch: return {"mode-switch", path};
    case UsbDeviceJob::Verb::Configuration: return {"configuration", path, "network"};
    case UsbDeviceJob::Verb::Rebind: return {"rebind", path};
    case UsbDeviceJob::Verb::Reauthorize: return {"reauthorize", path};
  }
  return {};
}

std::string net_device_of(const UsbDevice* device) {
  if (device)
    for (const UsbInterface& i : device->interfaces)
      if (!i.net_devices.empty()) return i.net_devices.front();
  return {};
}

std::string ids_of(const UsbDevice& device) {
  return fmt::format("{:04x}:{:04x}", device.vendor, device.product);
}

}  // namespace

UsbDeviceJob::UsbDeviceJob(UsbContext& context, Verb verb, std::string path, Done done)
    : UsbJob(context, std::move(done)), verb_(verb), path_(std::move(path)) {}

UsbDeviceJob::~UsbDeviceJob() {
  if (wrote_intent_) context_.undo("device " + path_, {{"undo", "authorize"}}, release_run());
}

void UsbDeviceJob::start() {
  const UsbDevice* device = context_.tree().find(path_);
  if (!device) return fail_with({Errc::NotFound, 0, fmt::format("nothing is plugged in at {}", path_)});
  devnum_before_ = device->devnum;
  if (verb_ != Verb::Reauthorize) return ask();
  wrote_intent_ = true;
  context_.intents().record("device " + path_, {{"undo", "authorize"}}, guard([this] { ask(); }));
}

void UsbDeviceJob::ask() {
  run(usb_parent(path_), arguments_of(verb_, path_), context_.times().device_verb,
      [this](const UsbHelper::Reply& reply) { on_reply(reply); });
}

void UsbDeviceJob::on_reply(const UsbHelper::Reply& reply) {
  if (!reply.result) {
    Error error = reply.result.error();
    if (reply.stuck) error = {Errc::Busy, 0, fmt::format("the kernel holds {}: {}", path_, error.context)};
    return fail_with(std::move(error));
  }
  if (std::exchange(wrote_intent_, false)) context_.intents().clear("device " + path_);
  if (verb_ == Verb::ModeSwitch)
    await_other_mode();
  else
    await_network_device(*reply.result);
}

void UsbDeviceJob::await_other_mode() {
  TimePoint sent = UvLoop::now();
  auto switched = [this] {
    const UsbDevice* device = context_.tree().find(path_);
    return device && device->devnum != devnum_before_ && !is_zero_cd_id(id_of(*device));
  };
  wait_for(switched, context_.times().mode_switch, Look::Now, [this, sent](bool ok) {
    const UsbDevice* device = context_.tree().find(path_);
    auto took = std::chrono::duration_cast<Millis>(UvLoop::now() - sent);
    if (ok)
      return finish(fmt::format("switched from mass storage: back as {}, device {}, after {}", ids_of(*device),
                                device->devnum, seconds_text(took)));
    std::string left = device ? fmt::format("still {}", ids_of(*device)) : "it left the bus and did not come back";
    fail_with({Errc::Refused, 0, fmt::format("{}, {} after the switch message", left, seconds_text(took))});
  });
}

void UsbDeviceJob::await_network_device(const Json& reply) {
  const char* what = verb_ == Verb::Configuration ? "configuration selected"
                     : verb_ == Verb::Rebind      ? "drivers unbound and bound"
                                                  : "authorization taken and given back";
  std::string done = what;
  if (verb_ == Verb::Configuration) done = fmt::format("configuration {} selected", json_int(reply, "configuration"));
  auto devices = reply.find("net_devices");
  if (devices != reply.end() && devices->is_array() && !devices->empty() && devices->front().is_string())
    return finish(fmt::format("{}: {} is there", done, devices->front().get<std::string>()));
  // The tree at hand may be from before.
  auto appeared = [this] { return !net_device_of(context_.tree().find(path_)).empty(); };
  wait_for(appeared, context_.times().network_device, Look::AtNextTree, [this, done](bool ok) {
    std::string device = net_device_of(context_.tree().find(path_));
    if (ok) return finish(fmt::format("{}: {} is there", done, device));
    fail_with(
        {Errc::Refused, 0,
         fmt::format("{}, but no network device within {}", done, seconds_text(context_.times().network_device))});
  });
}

}  // namespace dongle
