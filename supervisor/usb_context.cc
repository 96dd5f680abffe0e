#include "supervisor/usb_context.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "common/log.h"
#include "supervisor/usb_undo.h"

namespace dongle {
namespace {

HubMemory load_memory(const std::string& file) {
  auto json = read_state_file(file);
  if (json) return HubMemory::from_json(*json);
  if (json.error().code != Errc::NotFound) log_event(LogEvent::state_read_failed, {{"reason", json.error().message()}});
  return {};
}

}  // namespace

UsbContext::UsbContext(UvLoop& loop, IntentLog& intents, std::string program, const std::string& memory_file,
                       UsbTimes times)
    : loop_(loop),
      intents_(intents),
      program_(std::move(program)),
      times_(times),
      memory_(load_memory(memory_file)),
      memory_writer_(loop, memory_file) {}

UsbContext::~UsbContext() {
  *alive_ = false;
}

void UsbContext::set_tree(const UsbTree& tree) {
  // A hub that has enumerated anew is none that the kernel holds.
  for (const auto& [hub, text] : std::map(held_)) {
    const UsbDevice *before = tree_.find(hub), *now = tree.find(hub);
    if (!now || (before && before->devnum == now->devnum)) continue;
    hanging_.erase(hub);
    release(hub);
  }
  tree_ = tree;
}

HelperRunPtr UsbContext::run(const std::string& hub, std::vector<std::string> arguments, Millis deadline,
                             std::function<void(UsbHelper::Reply)> then) {
  auto run = std::make_shared<HelperRun>();
  run->then = std::move(then);
  running_.insert(run);
  std::string verb = fmt::format("dongle-usb {}", fmt::join(arguments, " "));
  run->helper = std::make_unique<UsbHelper>(
      loop_, program_, std::move(arguments), deadline,
      [this, hub, verb, weak = std::weak_ptr(run)](UsbHelper::Reply reply) {
        auto self = weak.lock();
        running_.erase(self);
        self->is_over = true;
        if (reply.stuck) hold(hub, verb + " hangs in it");
        if (auto call = std::exchange(self->then, nullptr)) call(std::move(reply));
      },
      [this, hub, alive = alive_] {
        if (*alive) let_go(hub);
      });
  return run;
}

void UsbContext::hold(const std::string& hub, const std::string& why) {
  ++given_up_;
  if (hub.empty()) return;  // it was asking all of them
  ++hanging_[hub];
  held_[hub] = fmt::format("{} since {}", why, to_rfc3339(std::chrono::system_clock::now()));
  held_until_.try_emplace(hub, loop_).first->second.start(times_.held, [this, hub] { release(hub); });
  log_event(LogEvent::usb_hub_held, {{"hub", hub}, {"reason", why}});
}

void UsbContext::let_go(const std::string& hub) {
  auto it = hanging_.find(hub);
  if (it != hanging_.end() && --it->second > 0) return;
  hanging_.erase(hub);
  release(hub);
  // What the helper was told to do may only now have been done.
  if (auto undo = undos_.find("hub " + hub); undo != undos_.end()) undo->second->retry_now();
}

void UsbContext::release(const std::string& hub) {
  held_until_.erase(hub);
  if (held_.erase(hub)) log_event(LogEvent::usb_hub_free, {{"hub", hub}});
}

void UsbContext::learn(const std::string& hub, int port, bool effective, const std::string& evidence) {
  const UsbDevice* device = tree_.find(hub);
  if (!device) return;
  HubIdentity identity{hub, device->vendor, device->product};
  auto now = std::chrono::system_clock::now();
  const PowerLesson* known = memory_.find(identity, port, now);
  bool is_news = !known || known->effective != effective;
  memory_.learn(identity, port, {effective, now, evidence});
  memory_writer_.write(memory_.to_json());
  if (is_news)
    log_event(LogEvent::usb_power_lesson,
              {{"hub", hub}, {"port", port}, {"effective", effective}, {"evidence", evidence}});
}

void UsbContext::undo(const std::string& key, const Json& intent, HelperRunPtr after) {
  auto& undo = undos_[key];
  undo = std::make_unique<UsbUndo>(*this, key, intent, std::move(after));
  undo->start();
}

void UsbContext::end_undo(const std::string& key) {
  undos_.erase(key);
  if (undos_.empty() && on_undone_) std::exchange(on_undone_, nullptr)();
}

std::vector<std::string> port_arguments(const std::string& hub, const std::vector<int>& ports, bool on, bool raw) {
  std::vector<std::string> words{"port", hub, fmt::format("{}", fmt::join(ports, ",")), on ? "on" : "off"};
  if (raw) words.emplace_back("--raw");
  return words;
}

std::string seconds_text(Millis time) {
  double s = static_cast<double>(time.count()) / 1000.0;
  if (time.count() % 1000 == 0) return fmt::format("{} s", time.count() / 1000);
  return s < 0.1 ? fmt::format("{:.2f} s", s) : s < 10 ? fmt::format("{:.1f} s", s) : fmt::format("{:.0f} s", s);
}

}  // namespace dongle
