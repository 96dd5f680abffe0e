#include "supervisor/diagnosis.h"

#include <gtest/gtest.h>

namespace dongle {
namespace {

Evidence healthy_but_failing() {
  Evidence e;
  e.interface_present = e.link_up = e.has_address = e.routes_in_force = true;
  e.modem.api = ModemView::Api::Answered;
  e.modem.connected = true;
  e.modem.data_switch = true;
  return e;
}

struct Case {
  const char* name;
  void (*spoil)(Evidence&);
  Fault fault;
  std::optional<Stage> entry;
};

TEST(Diagnosis, FindsTheFaultAndWhereToEnter) {
  const Case cases[] = {
      {"no device", [](Evidence& e) { e.interface_present = false; }, Fault::InterfaceGone, Stage::Usb},
      {"nothing at the port",
       [](Evidence& e) {
         e.interface_present = false;
         e.usb = {UsbMode::Missing, "nothing at 1-4.2", "1-4", "", 0};
       },
       Fault::StickMissing, Stage::PortPower},
      {"not authorized",
       [](Evidence& e) {
         e.interface_present = false;
         e.usb.mode = UsbMode::NotAuthorized;
       },
       Fault::NotAuthorized, Stage::Usb},
      {"installation disk",
       [](Evidence& e) {
         e.interface_present = false;
         e.usb.mode = UsbMode::MassStorage;
       },
       Fault::MassStorage, Stage::Usb},
      {"NCM",
       [](Evidence& e) {
         e.interface_present = false;
         e.usb.mode = UsbMode::WrongConfiguration;
       },
       Fault::WrongConfiguration, Stage::Usb},
      {"NCM, whose wwan0 has no address",
       [](Evidence& e) {
         e.has_address = false;
         e.usb.mode = UsbMode::WrongConfiguration;
         e.usb.evidence = "1-4.2 is 12d1:155e, configuration 1 of 2";
       },
       Fault::WrongConfiguration, Stage::Usb},
      {"NCM that works as a card", [](Evidence& e) { e.usb.mode = UsbMode::WrongConfiguration; }, Fault::NoEgress,
       Stage::Modem},
      {"on the bus, but no device",
       [](Evidence& e) {
         e.interface_present = false;
         e.usb.mode = UsbMode::NoInterface;
       },
       Fault::InterfaceGone, Stage::Usb},
      {"the bus says nothing new while the device works", [](Evidence& e) { e.usb.mode = UsbMode::Missing; },
       Fault::NoEgress, Stage::Modem},
      {"no carrier", [](Evidence& e) { e.link_up = false; }, Fault::LinkDown, Stage::Route},
      {"no address", [](Evidence& e) { e.has_address = false; }, Fault::NoAddress, Stage::Route},
      {"rule gone", [](Evidence& e) { e.routes_in_force = false; }, Fault::NoRoute, Stage::Route},
      {"API hangs", [](Evidence& e) { e.modem.api = ModemView::Api::NoAnswer; }, Fault::ApiDead, Stage::Usb},
      {"API refuses", [](Evidence& e) { e.modem.api = ModemView::Api::Refused; }, Fault::NoEgress, Stage::Modem},
      {"no API", [](Evidence& e) { e.modem.api = ModemView::Api::NotConfigured; }, Fault::NoEgress, Stage::Route},
      {"switched off",
       [](Evidence& e) {
         e.modem.data_switch = false;
         e.modem.connected = false;
       },
       Fault::DataSwitchedOff, Stage::Modem},
      {"switched off, so it isn't registered either",
       [](Evidence& e) {
         e.modem.data_switch = false;
         e.modem.not_registered = true;
       },
       Fault::DataSwitchedOff, Stage::Modem},
      {"disconnected", [](Evidence& e) { e.modem.connected = false; }, Fault::NotConnected, Stage::Modem},
      {"connected, nothing passes", [](Evidence&) {}, Fault::NoEgress, Stage::Modem},
      {"no SIM",
       [](Evidence& e) {
         e.modem.sim_missing = true;
         e.modem.connected = false;
       },
       Fault::SimMissing,
       {}},
      {"PIN", [](Evidence& e) { e.modem.pin_required = true; }, Fault::PinRequired, {}},
      {"no network",
       [](Evidence& e) {
         e.modem.not_registered = true;
         e.modem.connected = false;
       },
       Fault::NotRegistered,
       {}},
      {"data cap",
       [](Evidence& e) {
         e.modem.data_limit = true;
         e.modem.connected = false;
       },
       Fault::DataLimit,
       {}},
      {"APN",
       [](Evidence& e) {
         e.modem.profile_invalid = true;
         e.modem.connected = false;
       },
       Fault::ProfileInvalid,
       {}},
  };
  for (const Case& c : cases) {
    Evidence e = healthy_but_failing();
    c.spoil(e);
    Diagnosis d = diagnose(e);
    EXPECT_EQ(d.fault, c.fault) << c.name << ": " << to_string(d.fault);
    EXPECT_EQ(d.entry, c.entry) << c.name;
    EXPECT_FALSE(d.evidence.empty()) << c.name;
  }
}

}  // namespace
}  // namespace dongle
