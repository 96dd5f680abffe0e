#pragma once
// From what can be seen of a failing dongle to what is wrong with it and where the ladder enters. Pure.
#include <optional>
#include <string>

#include "common/config.h"
#include "supervisor/usb_sight.h"

namespace dongle {

enum class Fault {
  None,
  StickMissing,        ///< nothing at its USB port
  NotAuthorized,       ///< at its port, but the kernel was told not to use it
  MassStorage,         ///< shows its installation disk, not its modem
  WrongConfiguration,  ///< shows a USB configuration that makes no usable network device
  InterfaceGone,       ///< no network device; on the bus, or nobody can tell
  LinkDown,            ///< device there, but down or without carrier
  NoAddress,           ///< nothing configured or leased
  NoRoute,             ///< our routes or rules are not in force
  ApiDead,             ///< the modem's API gives no answer
  DataSwitchedOff,     ///< the modem's data switch is off
  NotConnected,        ///< registered, but no data connection
  NoEgress,            ///< everything says connected, yet nothing passes
  SimMissing,          ///< a person's work from here on
  PinRequired,
  NotRegistered,
  DataLimit,
  ProfileInvalid,
};
const char* to_string(Fault fault);

/// What the modem itself says, as far as it was asked and answered.
struct ModemView {
  enum class Api { NotConfigured, NoAnswer, Refused, Answered };
  Api api = Api::NotConfigured;
  std::string api_error;  ///< with NoAnswer and Refused
  bool connected = false;
  std::optional<bool> data_switch;
  bool sim_missing = false;
  bool pin_required = false;
  bool not_registered = false;
  bool data_limit = false;
  bool profile_invalid = false;
  std::string summary;  ///< "ConnectionStatus 902, SimStatus 1, …"
};

struct Evidence {
  bool interface_present = false;
  UsbSight usb;  ///< tells why there is no network device
  bool link_up = false;
  bool has_address = false;
  bool routes_in_force = false;
  std::string probe_failure;  ///< what the probes and connects met
  ModemView modem;
};

struct Diagnosis {
  Fault fault = Fault::None;
  std::string evidence;        ///< for a person: what was seen
  std::optional<Stage> entry;  ///< where the ladder enters; none: a person's work, no ladder
};

Diagnosis diagnose(const Evidence& seen);

}  // namespace dongle
