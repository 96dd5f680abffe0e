#pragma once
#include "common/clock.h"

namespace dongle {

/// How long USB may take for what, and where the numbers come from. Tests take shorter ones.
struct UsbTimes {
  /// All of a power cycle, so that a ladder that gives an action a minute hears how it went.
  Millis whole = Seconds(55);
  /// The helper switches a port within tens of milliseconds, on a busy hub hundreds. Longer: it hangs.
  Millis switching = Seconds(5);
  /// From the cut until the device is gone: the kernel drops it within 40 ms of `disable`, udev and we add a little.
  Millis leaving = Seconds(3);
  /// uhubctl waits 2 s by default; one more, so that a stick's own capacitors are empty.
  Millis off = Seconds(3);
  /// A second try in one incident, in case the first was too short for this hub and stick.
  Millis long_off = Seconds(10);
  /// Binding, configuring, authorizing answer within a second; the switch message itself may take 3 s.
  Millis device_verb = Seconds(8);
  /// A stick is back 1 to 8 s after the switch message.
  Millis mode_switch = Seconds(10);
  /// For a driver that has to be loaded first, and udev's event behind it.
  Millis network_device = Seconds(10);
  /// dongle-usb gives hubs 2 s to answer.
  Millis hubs = Seconds(5);
  /// Pauses between tries to switch on again, doubling.
  Millis first_retry{500}, longest_retry = Seconds(60);
  /// While a helper hangs, another one would hang as well; its end is told anyhow.
  Millis hanging_retry = std::chrono::minutes(10);
  /// A hub that holds a helper is left alone for this long, unless the kernel lets go of the helper before.
  Millis held = std::chrono::minutes(10);
};

}  // namespace dongle
