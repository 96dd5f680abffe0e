#include "supervisor/usb_actions.h"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/log.h"
#include "supervisor/usb_context.h"
#include "supervisor/usb_job.h"

namespace dongle {
namespace {

using HubSignature = std::vector<std::tuple<std::string, int, std::uint16_t, std::uint16_t>>;

// What must be the same for the facts to be true still.
HubSignature hubs_of(const UsbTree& tree) {
  HubSignature hubs;
  for (const auto& [path, device] : tree.devices)
    if (device.is_hub) hubs.emplace_back(path, device.devnum, device.vendor, device.product);
  return hubs;
}

}  // namespace

struct UsbActions::Impl {
  UsbContext context;
  HubFactsMap facts;
  HubSignature hubs;
  std::map<DongleId, std::unique_ptr<UsbDeviceJob>> device_jobs;
  std::map<DongleId, std::unique_ptr<UsbPowerJob>> power_jobs;
  HelperRunPtr asking_hubs;
  std::vector<std::function<void()>> waiting_for_this, waiting_for_next;
  std::vector<std::pair<DongleId, std::function<void()>>> refusals;  // to be told
  Timer refusal_timer, shutdown_timer;

  Impl(UvLoop& loop, IntentLog& intents, std::string helper, const std::string& memory_file, UsbTimes times)
      : context(loop, intents, std::move(helper), memory_file, times), refusal_timer(loop), shutdown_timer(loop) {}

  template <class Jobs, class Job>
  void start(Jobs& jobs, DongleId id, std::unique_ptr<Job> job) {
    Job& started = *job;
    jobs[id] = std::move(job);
    started.start();
  }
  // A job that ends is gone before its outcome is told, so that the next one can be started from there. What is half
  // done has been handed to an undo by then.
  template <class Jobs>
  static Done ending(Jobs& jobs, DongleId id, Done done) {
    return [&jobs, id, done = std::move(done)](Result<std::string> outcome) {
      jobs.erase(id);
      done(std::move(outcome));
    };
  }
  // Not at once: the caller may not be ready for it.
  void refuse(DongleId id, Done done, Error error) {
    refusals.emplace_back(id, [done = std::move(done), error = std::move(error)] { done(std::unexpected(error)); });
    refusal_timer.start(Millis{0}, [this] {
      for (auto& [to, tell] : std::exchange(refusals, {})) tell();
    });
  }

  bool is_busy(DongleId id) const { return device_jobs.contains(id) || power_jobs.contains(id); }
  bool is_power_busy(const std::string& hub) const {
    return context.is_undoing("hub " + hub) ||
           std::ranges::any_of(power_jobs, [&](const auto& job) { return job.second->hub() == hub; });
  }
  bool is_hub_busy(const std::string& hub) const {
    return is_power_busy(hub) ||
           std::ranges::any_of(device_jobs, [&](const auto& job) { return usb_parent(job.second->path()) == hub; });
  }
  std::optional<Error> obstacle(DongleId id, const std::string& hub, bool for_power) const {
    if (is_busy(id)) return Error{Errc::Busy, 0, fmt::format("dongle {} has a USB action under way", id)};
    if (auto held = context.held_hubs().find(hub); held != context.held_hubs().end())
      return Error{Errc::Busy, 0, fmt::format("the kernel holds hub {}: {}", hub, held->second)};
    if (for_power ? is_hub_busy(hub) : is_power_busy(hub))
      return Error{Errc::Busy, 0, fmt::format("hub {} has an action under way", hub)};
    return std::nullopt;
  }

  void start_device_job(DongleId id, UsbDeviceJob::Verb verb, const std::string& path, Done done) {
    if (auto error = obstacle(id, usb_parent(path), false)) return refuse(id, std::move(done), std::move(*error));
    start(device_jobs, id,
          std::make_unique<UsbDeviceJob>(context, verb, path, ending(device_jobs, id, std::move(done))));
  }
  void start_power_job(DongleId id, UsbPowerJob::Goal goal, const PowerPlan& plan, int attempt, Done done) {
    if (plan.cuts.empty()) return refuse(id, std::move(done), {Errc::Unsupported, 0, plan.obstacle});
    if (auto error = obstacle(id, plan.hub, true)) return refuse(id, std::move(done), std::move(*error));
    start(power_jobs, id,
          std::make_unique<UsbPowerJob>(context, goal, plan, attempt, ending(power_jobs, id, std::move(done))));
  }

  template <class Jobs>
  static void show_tree(Jobs& jobs) {
    std::vector<DongleId> ids;
    for (const auto& [id, job] : jobs) ids.push_back(id);
    for (DongleId id : ids)  // each may end itself or start others
      if (auto it = jobs.find(id); it != jobs.end()) it->second->on_tree();
  }

  void ask_hubs() {
    waiting_for_this = std::exchange(waiting_for_next, {});
    asking_hubs = context.run("", {"hubs"}, context.times().hubs, [this](const UsbHelper::Reply& reply) {
      asking_hubs.reset();
      if (reply.result)
        facts = hub_facts_from_json(*reply.result);
      else
        log_event(LogEvent::usb_hubs_unknown, {{"reason", reply.result.error().message()}});
      for (auto& call : std::exchange(waiting_for_this, {}))
        if (call) call();
      if (!waiting_for_next.empty() && !asking_hubs) ask_hubs();
    });
  }
};

UsbActions::UsbActions(UvLoop& loop, IntentLog& intents, std::string helper, const std::string& memory_file,
                       UsbTimes times)
    : impl_(std::make_unique<Impl>(loop, intents, std::move(helper), memory_file, times)) {}

UsbActions::~UsbActions() = default;

void UsbActions::on_tree(const UsbTree& tree) {
  impl_->context.set_tree(tree);
  Impl::show_tree(impl_->device_jobs);
  Impl::show_tree(impl_->power_jobs);
  auto hubs = hubs_of(tree);
  if (hubs == impl_->hubs) return;
  impl_->hubs = std::move(hubs);
  refresh_hub_facts({});
}

void UsbActions::mode_switch(DongleId id, const std::string& path, Done done) {
  impl_->start_device_job(id, UsbDeviceJob::Verb::ModeSwitch, path, std::move(done));
}
void UsbActions::set_configuration(DongleId id, const std::string& path, Done done) {
  impl_->start_device_job(id, UsbDeviceJob::Verb::Configuration, path, std::move(done));
}
void UsbActions::rebind(DongleId id, const std::string& path, Done done) {
  impl_->start_device_job(id, UsbDeviceJob::Verb::Rebind, path, std::move(done));
}
void UsbActions::reauthorize(DongleId id, const std::string& path, Done done) {
  impl_->start_device_job(id, UsbDeviceJob::Verb::Reauthorize, path, std::move(done));
}

void UsbActions::power_cycle(DongleId id, const PowerPlan& plan, int attempt, Done done) {
  impl_->start_power_job(id, UsbPowerJob::Goal::Cycle, plan, attempt, std::move(done));
}
void UsbActions::power_off(DongleId id, const PowerPlan& plan, Done done) {
  impl_->start_power_job(id, UsbPowerJob::Goal::Off, plan, 1, std::move(done));
}
void UsbActions::power_on(DongleId id, const PowerPlan& plan, Done done) {
  impl_->start_power_job(id, UsbPowerJob::Goal::On, plan, 1, std::move(done));
}

void UsbActions::cancel(DongleId id) {
  impl_->device_jobs.erase(id);
  impl_->power_jobs.erase(id);
  std::erase_if(impl_->refusals, [id](const auto& refusal) { return refusal.first == id; });
}
bool UsbActions::is_busy(DongleId id) const {
  return impl_->is_busy(id);
}
bool UsbActions::is_hub_busy(const std::string& hub) const {
  return impl_->is_hub_busy(hub);
}

void UsbActions::undo_pending() {
  for (const auto& [key, intent] : impl_->context.intents().pending_usb())
    if (!impl_->context.is_undoing(key)) impl_->context.undo(key, intent);
}

void UsbActions::shut_down(Millis patience, std::function<void()> done) {
  impl_->device_jobs.clear();
  impl_->power_jobs.clear();
  impl_->refusals.clear();
  auto finish = [this, done = std::move(done)] {
    impl_->context.set_on_undone(nullptr);
    impl_->shutdown_timer.stop();
    done();
  };
  if (!impl_->context.is_undoing()) return impl_->shutdown_timer.start(Millis{0}, finish);
  impl_->context.set_on_undone(finish);
  impl_->shutdown_timer.start(patience, finish);
}

void UsbActions::refresh_hub_facts(std::function<void()> done) {
  impl_->waiting_for_next.push_back(std::move(done));
  if (!impl_->asking_hubs) impl_->ask_hubs();
}

const HubFactsMap& UsbActions::hub_facts() const {
  return impl_->facts;
}
const HubMemory& UsbActions::memory() const {
  return impl_->context.memory();
}
const std::map<std::string, std::string>& UsbActions::held_hubs() const {
  return impl_->context.held_hubs();
}
int UsbActions::helpers_given_up() const {
  return impl_->context.helpers_given_up();
}

}  // namespace dongle
