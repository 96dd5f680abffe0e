#include "supervisor/diagnosis.h"

namespace dongle {

const char* to_string(Fault fault) {
  switch (fault) {
    case Fault::None: return "none";
    case Fault::StickMissing: return "stick_missing";
    case Fault::NotAuthorized: return "not_authorized";
    case Fault::MassStorage: return "mass_storage";
    case Fault::WrongConfiguration: return "wrong_configuration";
    case Fault::InterfaceGone: return "interface_gone";
    case Fault::LinkDown: return "link_down";
    case Fault::NoAddress: return "no_address";
    case Fault::NoRoute: return "no_route";
    case Fault::ApiDead: return "api_dead";
    case Fault::DataSwitchedOff: return "data_switched_off";
    case Fault::NotConnected: return "not_connected";
    case Fault::NoEgress: return "no_egress";
    case Fault::SimMissing: return "sim_missing";
    case Fault::PinRequired: return "pin_required";
    case Fault::NotRegistered: return "not_registered";
    case Fault::DataLimit: return "data_limit";
    case Fault::ProfileInvalid: return "profile_invalid";
  }
  return "unknown";
}

namespace {

Diagnosis without_interface(const UsbSight& usb) {
  std::string text = "the network device is gone";
  if (!usb.evidence.empty()) text += "; " + usb.evidence;
  switch (usb.mode) {
    case UsbMode::Missing: return {Fault::StickMissing, text, Stage::PortPower};
    case UsbMode::NotAuthorized: return {Fault::NotAuthorized, text, Stage::Usb};
    case UsbMode::MassStorage: return {Fault::MassStorage, text, Stage::Usb};
    case UsbMode::WrongConfiguration: return {Fault::WrongConfiguration, text, Stage::Usb};
    case UsbMode::Unknown:
    case UsbMode::NoInterface:
    case UsbMode::Ethernet: break;  // gone a moment ago, or back just now
  }
  return {Fault::InterfaceGone, text, Stage::Usb};
}

}  // namespace

Diagnosis diagnose(const Evidence& seen) {
  auto with_probe = [&](std::string text) {
    return seen.probe_failure.empty() ? text : text + "; probes: " + seen.probe_failure;
  };
  if (!seen.interface_present) return without_interface(seen.usb);
  // NCM makes a wwan0 that looks like a network device and never gets an address.
  if (seen.usb.mode == UsbMode::WrongConfiguration && !seen.has_address)
    return {Fault::WrongConfiguration, seen.usb.evidence, Stage::Usb};
  if (!seen.link_up) return {Fault::LinkDown, "the network device is down or has no carrier", Stage::Route};
  if (!seen.has_address) return {Fault::NoAddress, "the network device has no address", Stage::Route};
  if (!seen.routes_in_force) return {Fault::NoRoute, "our routes or rules are not in force", Stage::Route};

  const ModemView& modem = seen.modem;
  switch (modem.api) {
    case ModemView::Api::NotConfigured:
      return {Fault::NoEgress, with_probe("nothing passes; the modem has no API to ask"), Stage::Route};
    case ModemView::Api::NoAnswer:
      return {Fault::ApiDead, with_probe("the modem's API gives no answer: " + modem.api_error), Stage::Usb};
    case ModemView::Api::Refused:
      return {Fault::NoEgress, with_probe("nothing passes; the modem's API refuses: " + modem.api_error), Stage::Modem};
    case ModemView::Api::Answered: break;
  }
  // The person's cases first: a modem without SIM is also "not connected".
  if (modem.sim_missing) return {Fault::SimMissing, "no SIM, or it isn't readable; " + modem.summary, std::nullopt};
  if (modem.pin_required) return {Fault::PinRequired, "the SIM wants its PIN or PUK; " + modem.summary, std::nullopt};
  if (modem.data_limit) return {Fault::DataLimit, "the data limit is used up; " + modem.summary, std::nullopt};
  if (modem.data_switch == false)
    return {Fault::DataSwitchedOff, "mobile data is switched off; " + modem.summary, Stage::Modem};
  if (modem.profile_invalid)
    return {Fault::ProfileInvalid, "the APN profile is refused; " + modem.summary, std::nullopt};
  if (modem.not_registered)
    return {Fault::NotRegistered, "not registered with a network; " + modem.summary, std::nullopt};
  if (!modem.connected) return {Fault::NotConnected, "registered but not connected; " + modem.summary, Stage::Modem};
  return {Fault::NoEgress, with_probe("the modem says connected, but nothing passes; " + modem.summary), Stage::Modem};
}

}  // namespace dongle
