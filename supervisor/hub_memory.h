#pragma once
// What was learnt about hubs by trying: whether switching a port off takes the power away. A hub that says "off" and
// keeps VBUS on is not asked again for a day. Pure.
#include <map>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/hub_facts.h"
#include "common/json.h"

namespace dongle {

/// A hub model in a place: another hub at the same place is another hub.
struct HubIdentity {
  std::string location;
  std::uint16_t vendor = 0, product = 0;
  auto operator<=>(const HubIdentity&) const = default;
};

struct PowerLesson {
  bool effective = false;
  WallTime at{};
  std::string evidence;  ///< for a person
  bool operator==(const PowerLesson&) const = default;
};

class HubMemory {
 public:
  /// All ports of a hub at once, as hub_power switches them.
  static constexpr int kWholeHub = 0;
  /// A hub that didn't cut the power is tried again after this long: cables and power supplies are changed.
  static constexpr std::chrono::hours kForget{24};
  static constexpr std::size_t kMaxLessons = 512;  ///< then the oldest is dropped

  /// A newer lesson replaces an older one.
  void learn(const HubIdentity& hub, int port, PowerLesson lesson);
  /// What is known; a lesson of "no effect" counts for kForget only, whichever way the wall clock moved since.
  const PowerLesson* find(const HubIdentity& hub, int port, WallTime now) const;
  bool operator==(const HubMemory&) const = default;

  Json to_json() const;  ///< {"hubs":[{"location","vendor","product","port","effective","at","at_ms","evidence"}]}
  /// What isn't of the form is left out.
  static HubMemory from_json(const Json& json);

 private:
  std::map<std::pair<HubIdentity, int>, PowerLesson> lessons_;
};

}  // namespace dongle
