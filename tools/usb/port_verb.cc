// Power of ports. Two ways, and each needs the other:
//   request: a control transfer to the hub. A hub that ignores it is found out before anything was taken from the
//   kernel. disable: the attribute portN/disable (kernel 6.0). It disconnects the device properly, so that its network
//   card goes
//     at once, and keeps the hub driver from switching the port on again, which it does within seconds otherwise.
// Off by `disable` alone would lose the stick on a hub that ignores the request: the kernel forgets the device, the hub
// never reports a change, and switching "on" brings nothing back. So the hub is asked first, and `disable` follows when
// the port really is off. Where usbfs can't be used, `disable` has to do.
#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "common/usb_tree.h"
#include "tools/usb/usb_node.h"
#include "tools/usb/verbs.h"

namespace dongle::usb {
namespace {

// Hubs show a switched port's new state at once or after some tens of milliseconds (bPwrOn2PwrGood is 100 ms at most).
constexpr Millis kStatusPatience{200};
constexpr Millis kStatusPause{20};

struct Port {
  PortRef ref;
  std::string disable;  // the attribute; empty: this kernel or hub has none
};

struct Outcome {
  PortRef ref;
  std::string method;
  std::optional<HubNode::Status> status;
};

Result<HubNode> open_hub(const Roots& roots, const std::string& hub) {
  auto node = UsbNode::open(roots, hub);
  if (!node) return std::unexpected(std::move(node).error());
  return HubNode(std::move(*node), read_number(roots.devices + "/devices/" + hub + "/speed") >= 5000);
}

// The port and its twin. The twin first: else a stick whose USB 3 side goes off shows up once more on the USB 2 side.
Result<std::vector<Port>> with_twin(const Roots& roots, const PortRef& port, const PortOptions& options) {
  std::vector<Port> both;
  for (const PortRef& ref : {peer_of(roots, port), port}) {
    if (!ref) continue;
    auto folder = port_folder(roots, ref);
    if (!folder) return std::unexpected(std::move(folder).error());
    if (!options.on && !options.even_a_hub && has_hub_behind(roots, ref))
      return fail(Errc::Refused, "a hub is plugged into {}", to_string(ref));
    std::string disable = *folder + "/disable";
    both.push_back({ref, !options.raw && exists(disable) ? disable : ""});
  }
  return both;
}

std::optional<HubNode::Status> wait_for_status(HubNode& hub, int port, bool powered) {
  for (Millis waited{0};; waited += kStatusPause) {
    auto status = hub.status(port);
    if (!status) return std::nullopt;
    if (status->powered == powered && (powered || !status->connected)) return *status;
    if (waited >= kStatusPatience) return *status;
    std::this_thread::sleep_for(kStatusPause);
  }
}

Result<Outcome> switch_on(const Port& port, Result<HubNode>& hub) {
  Outcome outcome{port.ref, port.disable.empty() ? "request" : "disable", std::nullopt};
  if (!port.disable.empty())
    if (auto set = write_attribute(port.disable, "0"); !set) return std::unexpected(set.error());
  if (!hub) {
    if (port.disable.empty()) return std::unexpected(hub.error());
    return outcome;
  }
  if (port.disable.empty())
    if (auto set = hub->set_power(port.ref.port, true); !set) return std::unexpected(set.error());
  outcome.status = wait_for_status(*hub, port.ref.port, true);
  if (outcome.status && !outcome.status->powered) {
    // `disable` was 0 already, so the kernel did nothing, or the hub needs to hear it twice.
    if (auto set = hub->set_power(port.ref.port, true); !set) return std::unexpected(set.error());
    outcome.status = wait_for_status(*hub, port.ref.port, true);
  }
  if (outcome.status && !outcome.status->powered) return fail(Errc::Io, "{} stays off", to_string(port.ref));
  return outcome;
}

Result<Outcome> switch_off(const Port& port, Result<HubNode>& hub) {
  Outcome outcome{port.ref, port.disable.empty() ? "request" : "disable", std::nullopt};
  if (!hub && port.disable.empty()) return std::unexpected(hub.error());
  if (hub) {
    if (auto set = hub->set_power(port.ref.port, false); !set) {
      if (port.disable.empty() || set.error().code != Errc::Unsupported)
        return wrap(set.error(), "switch off {}", to_string(port.ref));
    }
    outcome.status = wait_for_status(*hub, port.ref.port, false);
    if (outcome.status && (outcome.status->powered || outcome.status->connected)) return outcome;
  }
  if (!port.disable.empty())
    if (auto set = write_attribute(port.disable, "1"); !set) return std::unexpected(set.error());
  return outcome;
}

bool is_off(const Outcome& o) {
  return !o.status || (!o.status->powered && !o.status->connected);
}

Json to_json(const Outcome& o) {
  return {{"hub", o.ref.hub},
          {"port", o.ref.port},
          {"method", o.method},
          {"powered", o.status ? Json(o.status->powered) : Json()},
          {"connected", o.status ? Json(o.status->connected) : Json()}};
}

}  // namespace

Result<Json> switch_ports(const Roots& roots, const std::string& hub, const std::vector<int>& ports,
                          const PortOptions& options) {
  std::vector<Port> all;  // looked at before the first is switched, so that a refusal changes nothing
  for (int port : ports) {
    auto both = with_twin(roots, {hub, port}, options);
    if (!both) return std::unexpected(std::move(both).error());
    all.insert(all.end(), both->begin(), both->end());
  }
  std::map<std::string, Result<HubNode>> hubs;
  for (const Port& port : all)
    if (!hubs.contains(port.ref.hub)) hubs.emplace(port.ref.hub, open_hub(roots, port.ref.hub));

  Json done = Json::array();
  std::vector<const Port*> switched;
  auto put_back = [&] {
    for (const Port* port : switched) (void)switch_on(*port, hubs.at(port->ref.hub));  // whoever asked tries again
  };
  std::optional<Error> failure;
  for (const Port& port : all) {
    Result<HubNode>& node = hubs.at(port.ref.hub);
    switched.push_back(&port);
    auto outcome = options.on ? switch_on(port, node) : switch_off(port, node);
    if (!outcome && !options.on) {
      put_back();
      return std::unexpected(std::move(outcome).error());
    }
    if (!outcome) {
      // The others are to have power all the same. What may succeed later outweighs what never will.
      if (!failure || failure->code == Errc::NotFound || failure->code == Errc::Unsupported)
        failure = std::move(outcome).error();
      continue;
    }
    done.push_back(to_json(*outcome));
    if (!options.on && !is_off(*outcome)) {
      put_back();
      return Json{{"effective", false}, {"ports", done}};
    }
  }
  if (failure) return std::unexpected(std::move(*failure));
  return Json{{"effective", true}, {"ports", done}};
}

}  // namespace dongle::usb
