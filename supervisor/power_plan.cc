#include "supervisor/power_plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "common/stick_ids.h"
#include "common/usb_modes.h"

namespace dongle {
namespace {

/// What a plan respects beside what can be done at all.
struct Rules {
  bool remembers = true;                 ///< a hub that was seen to lie is left alone
  std::optional<HubPowerPolicy> policy;  ///< absent: a person answers for the bystanders
};

bool is_root_hub(std::string_view location) {
  return location.starts_with("usb");
}

bool is_disk(const UsbDevice& device) {
  // A stick's card reader stands beside its network card; its CD-ROM goes with the mode switch.
  bool storage = false, network = false;
  for (const UsbInterface& i : device.interfaces) {
    UsbFunction function = usb_function(i.interface_class, i.subclass, i.protocol);
    storage = storage || function == UsbFunction::MassStorage;
    network = network || !i.net_devices.empty() || (function != UsbFunction::MassStorage && i.interface_class == 0x02);
  }
  return storage && !network && !is_zero_cd_id(id_of(device));
}

std::string describe(const UsbDevice& device) {
  std::string name = device.product_name.empty() ? "USB device" : device.product_name;
  return fmt::format("{} ({:04x}:{:04x}) at {}", name, device.vendor, device.product, device.path);
}

// "2-1", or with the controller in front as udev's ID_PATH has it: "pci-0000:00:14.0-usb-0:1".
bool is_at(const UsbDevice& hub, std::string_view location) {
  auto mark = location.rfind("-usb-0:");
  if (mark == std::string_view::npos) return hub.path == location;
  auto ports = std::string_view(hub.path).substr(std::min(hub.path.find('-') + 1, hub.path.size()));
  return location.substr(mark + 7) == ports && !hub.controller.empty() &&
         location.substr(0, mark).ends_with(hub.controller);
}

/// One plan in the making.
class Planner {
 public:
  Planner(const PowerView& view, DongleId id, Rules rules) : view_(view), id_(id), rules_(rules) {}

  PowerPlan port() {
    if (auto why = locate(PowerPlan::Kind::Port)) return refuse(*why);
    if (switching_ == PowerSwitching::Ganged)
      return refuse(fmt::format("hub {} switches all its ports together", plan_.hub_name));
    PortCut cut = cut_of(own_.port);
    if (has_hub_behind(cut)) return refuse(fmt::format("a hub is plugged into {}", to_string(own_)));
    if (facts_ && !facts_->ports.empty() && !facts_->ports.contains(own_.port))
      return refuse(fmt::format("hub {} has no port {}", plan_.hub_name, own_.port));
    plan_.cuts = {cut};
    note_bystanders();
    if (auto why = remembered(own_.port)) return refuse(*why);
    if (rules_.policy && plan_.hurts_others()) return refuse("would cut off " + hurt_bystanders());
    return plan_;
  }

  PowerPlan hub(bool is_a_persons_wish = false) {
    if (auto why = locate(PowerPlan::Kind::Hub)) return refuse(*why);
    if (is_root_hub(plan_.hub))
      return refuse(
          fmt::format("{} is the computer's own root hub: it feeds what the computer itself needs", plan_.hub));
    std::vector<PortRef> chained = collect_cuts();
    if (switching_ == PowerSwitching::Ganged && !chained.empty()) {
      plan_.cuts.clear();
      return refuse(fmt::format("hub {} switches all its ports together, and another hub hangs on port {}",
                                plan_.hub_name, chained.front().port));
    }
    if (switching_ == PowerSwitching::Ganged && off_on_purpose_) {
      plan_.cuts.clear();
      return refuse(fmt::format("an operator has switched hub {} off", plan_.hub_name));
    }
    bool own_is_cut = std::ranges::any_of(plan_.cuts, [this](const PortCut& c) { return c.port == own_; });
    if (!own_is_cut) {
      plan_.cuts.clear();
      return refuse(fmt::format("{} can't be switched: {}", to_string(own_),
                                chained.empty() ? "the hub has no such port" : "a hub is plugged in there"));
    }
    note_bystanders();
    if (auto why = remembered(HubMemory::kWholeHub)) return refuse(*why);
    if (is_a_persons_wish) return plan_;
    return judge_by_policy();
  }

 private:
  // Fills in what every plan needs; returns why there can be none.
  std::optional<std::string> locate(PowerPlan::Kind kind) {
    plan_.kind = kind;
    auto self = std::ranges::find(view_.dongles, id_, &DongleStanding::id);
    std::string path = self == view_.dongles.end() ? "" : self->usb_path;
    own_ = {usb_parent(path), usb_port(path)};
    if (own_.hub.empty() || !own_) return "it isn't known which USB port the dongle is plugged into";
    plan_.device_path = path;
    plan_.hub = plan_.hub_name = own_.hub;
    const UsbDevice* hub = view_.tree.find(own_.hub);
    if (!hub || !hub->is_hub) return fmt::format("hub {} isn't on the bus", own_.hub);
    identity_ = {hub->path, hub->vendor, hub->product};
    auto named = std::ranges::find_if(view_.hubs, [hub](const HubConfig& h) { return is_at(*hub, h.location); });
    const HubConfig* config = named == view_.hubs.end() ? nullptr : &*named;
    if (config) plan_.hub_name = fmt::format("{} ({})", config->name, own_.hub);
    if (auto held = view_.held.find(own_.hub); held != view_.held.end()) {
      plan_.is_held = true;
      return fmt::format("the kernel holds hub {}: {}", plan_.hub_name, held->second);
    }
    auto facts = view_.facts.find(own_.hub);
    if (facts != view_.facts.end()) facts_ = &facts->second;
    switching_ = switching_of(config);
    switch (switching_) {
      case PowerSwitching::Unknown: {
        std::string because = facts_ && !facts_->error.empty() ? ": " + facts_->error : "";
        return fmt::format("it isn't known how hub {} switches the power of its ports{}", plan_.hub_name, because);
      }
      case PowerSwitching::None:
        return is_root_hub(own_.hub) ? fmt::format("the computer's own USB ports ({}) can't be switched off", own_.hub)
                                     : fmt::format("hub {} can't switch the power of its ports", plan_.hub_name);
      case PowerSwitching::Ganged:
      case PowerSwitching::PerPort: return std::nullopt;
    }
    return std::nullopt;
  }

  PowerSwitching switching_of(const HubConfig* config) const {
    PowerSwitching told = facts_ ? facts_->switching : PowerSwitching::Unknown;
    switch (config ? config->power : HubSwitching::Auto) {
      case HubSwitching::Auto: return told;
      case HubSwitching::PerPort: return PowerSwitching::PerPort;
      case HubSwitching::Ganged: return PowerSwitching::Ganged;
      case HubSwitching::None: return PowerSwitching::None;
    }
    return told;
  }

  PortCut cut_of(int port) const {
    PortCut cut{{own_.hub, port}, {}};
    if (!facts_) return cut;
    if (auto it = facts_->ports.find(port); it != facts_->ports.end()) cut.peer = it->second.peer;
    return cut;
  }

  bool is_chain(const PortRef& port) const {
    if (!port) return false;
    const UsbDevice* device = view_.tree.find(usb_child(port.hub, port.port));
    if (device && device->is_hub) return true;
    auto hub = view_.facts.find(port.hub);
    if (hub == view_.facts.end()) return false;
    auto facts = hub->second.ports.find(port.port);
    return facts != hub->second.ports.end() && facts->second.hub_behind;
  }
  bool has_hub_behind(const PortCut& cut) const { return is_chain(cut.port) || is_chain(cut.peer); }

  // Every port that may be switched; returns the others.
  std::vector<PortRef> collect_cuts() {
    std::vector<PortRef> chained;
    auto take = [&](int port) {
      PortCut cut = cut_of(port);
      if (has_hub_behind(cut))
        chained.push_back(cut.port);
      else if (rules_.policy && is_off_on_purpose(port))
        off_on_purpose_ = true;
      else
        plan_.cuts.push_back(cut);
    };
    if (facts_ && !facts_->ports.empty()) {
      for (const auto& [port, facts] : facts_->ports) take(port);
    } else {
      for (int port = 1; port <= view_.tree.find(own_.hub)->port_count; ++port) take(port);
    }
    return chained;
  }

  bool is_off_on_purpose(int port) const {
    std::string path = usb_child(own_.hub, port);
    auto is_it = [&](const DongleStanding& d) { return d.usb_path == path && d.is_powered_off; };
    return std::ranges::any_of(view_.dongles, is_it);
  }

  void note_bystanders() {
    for (const PortCut& cut : plan_.cuts)
      for (const PortRef& port : {cut.port, cut.peer}) {
        if (!port) continue;
        std::string path = usb_child(port.hub, port.port);
        if (path == plan_.device_path) continue;
        auto other = std::ranges::find(view_.dongles, path, &DongleStanding::usb_path);
        const UsbDevice* device = view_.tree.find(path);
        if (other != view_.dongles.end())
          plan_.bystanders.push_back(
              {other->id, path, fmt::format("dongle {} ({})", other->id, other->state), other->serves});
        else if (device)
          plan_.bystanders.push_back({std::nullopt, path, describe(*device), true});
      }
  }

  std::optional<std::string> remembered(int port) const {
    if (!rules_.remembers) return std::nullopt;
    const PowerLesson* lesson = view_.memory.find(identity_, port, view_.now);
    if (!lesson || lesson->effective) return std::nullopt;
    std::string what =
        port == HubMemory::kWholeHub ? "hub " + plan_.hub_name : fmt::format("port {} of hub {}", port, plan_.hub_name);
    return fmt::format("{} does not cut the power ({}, seen {}); tried again after {}", what, lesson->evidence,
                       to_rfc3339(lesson->at), format_duration(HubMemory::kForget));
  }

  PowerPlan judge_by_policy() {
    switch (rules_.policy.value_or(HubPowerPolicy::Never)) {
      case HubPowerPolicy::Never: return refuse("recovery.hub_power is never");
      case HubPowerPolicy::WhenAllDown:
        if (plan_.hurts_others())
          return refuse(fmt::format("would cut off {}; recovery.hub_power is when_all_down", hurt_bystanders()));
        return plan_;
      case HubPowerPolicy::Always:
        for (const Bystander& b : plan_.bystanders)
          if (const UsbDevice* device = view_.tree.find(b.usb_path); device && !b.id && is_disk(*device))
            return refuse(fmt::format("{} could lose data", b.text));
        return plan_;
    }
    return plan_;
  }

  std::string hurt_bystanders() const {
    std::vector<std::string> names;
    for (const Bystander& b : plan_.bystanders)
      if (b.is_hurt) names.push_back(b.text);
    return fmt::format("{}", fmt::join(names, ", "));
  }

  PowerPlan refuse(std::string why) {
    plan_.obstacle = std::move(why);
    return plan_;
  }

  const PowerView& view_;
  DongleId id_;
  Rules rules_;
  bool off_on_purpose_ = false;
  PowerPlan plan_;
  PortRef own_;
  HubIdentity identity_;
  const HubFacts* facts_ = nullptr;
  PowerSwitching switching_ = PowerSwitching::Unknown;
};

}  // namespace

bool PowerPlan::hurts_others() const {
  return std::ranges::any_of(bystanders, &Bystander::is_hurt);
}

PowerPlan plan_port_power(const PowerView& view, DongleId id) {
  return Planner(view, id, {true, HubPowerPolicy::Never}).port();
}

PowerPlan plan_hub_power(const PowerView& view, DongleId id, HubPowerPolicy policy) {
  return Planner(view, id, {true, policy}).hub();
}

PowerPlan plan_operator_power(const PowerView& view, DongleId id) {
  Rules person{false, std::nullopt};
  PowerPlan port = Planner(view, id, person).port();
  if (port.allowed() || port.is_held) return port;
  // A hub that can't switch one port may be able to switch all. Its own reason is the better one if it can't.
  return Planner(view, id, person).hub(true);
}

}  // namespace dongle
