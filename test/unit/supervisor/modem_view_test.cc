#include "supervisor/modem_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dongle {
namespace {

using ::testing::HasSubstr;
using Api = ModemView::Api;

ModemStatus connected() {
  ModemStatus status;
  status.connection_code = 901;
  status.connection = ConnectionState::Connected;
  status.sim_status = 1;
  status.service_status = 2;
  return status;
}
PinStatus sim(SimState state) {
  PinStatus pin;
  pin.sim = state;
  return pin;
}
const Result<bool> kOn = true;
const Result<PinStatus> kReady = sim(SimState::Ready);

TEST(ModemView, OfAModemThatFallsSilentBetweenTwoQuestionsNothingCounts) {
  for (Errc code : {Errc::Timeout, Errc::Unreachable}) {
    Error silence{code, 0, "no answer"};
    EXPECT_EQ(modem_view(connected(), std::unexpected(silence), kReady).api, Api::NoAnswer);
  }
  Error unknown{Errc::Unsupported, 0, "100002"};
  EXPECT_EQ(modem_view(connected(), std::unexpected(unknown), std::unexpected(unknown)).api, Api::Answered);
}

TEST(ModemView, TellsSilenceFromANo) {
  const struct {
    const char* name;
    Error error;
    Api api;
  } rows[] = {
      {"no answer", {Errc::Timeout, 0, "timeout"}, Api::NoAnswer},
      {"no route", {Errc::Unreachable, EHOSTUNREACH, "connect"}, Api::NoAnswer},
      {"garbage", {Errc::Protocol, 0, "<html>"}, Api::NoAnswer},
      {"a page without end", {Errc::Full, 0, "more than"}, Api::NoAnswer},
      {"the port is closed", {Errc::Refused, ECONNREFUSED, "connect"}, Api::NoAnswer},
      {"it is another modem by now", {Errc::Cancelled, 0, "changed"}, Api::NoAnswer},
      {"it says no", {Errc::Refused, 0, "100003"}, Api::Refused},
      {"it wants a login", {Errc::Permission, 0, "125002"}, Api::Refused},
      {"it is busy", {Errc::Busy, 0, "100004"}, Api::Refused},
      {"it doesn't know the question", {Errc::Unsupported, 0, "100002"}, Api::Refused},
  };
  for (const auto& row : rows) {
    ModemView view = modem_view(std::unexpected(row.error), kOn, kReady);
    EXPECT_EQ(view.api, row.api) << row.name;
    EXPECT_FALSE(view.api_error.empty()) << row.name;
    EXPECT_FALSE(view.connected) << row.name;
  }
}

TEST(ModemView, ReadsWhatOnlyAPersonCanMend) {
  const auto person = [](const ModemView& v) {
    return std::vector{v.sim_missing, v.pin_required, v.not_registered, v.data_limit, v.profile_invalid};
  };
  const struct {
    const char* name;
    void (*spoil)(ModemStatus&);
    SimState sim_state;
    std::vector<bool> person;
  } rows[] = {
      {"healthy", [](ModemStatus&) {}, SimState::Ready, {0, 0, 0, 0, 0}},
      {"no SIM by status",
       [](ModemStatus& s) {
         s.connection = ConnectionState::Disconnected;
         s.sim_status = 255;
       },
       SimState::Ready,
       {1, 0, 0, 0, 0}},
      {"no SIM by pin/status", [](ModemStatus&) {}, SimState::Absent, {1, 0, 0, 0, 0}},
      {"PIN", [](ModemStatus&) {}, SimState::PinRequired, {0, 1, 0, 0, 0}},
      {"PUK", [](ModemStatus&) {}, SimState::PukRequired, {0, 1, 0, 0, 0}},
      {"no network",
       [](ModemStatus& s) {
         s.connection = ConnectionState::Disconnected;
         s.service_status = 0;
       },
       SimState::Ready,
       {0, 0, 1, 0, 0}},
      {"no registration by its code",
       [](ModemStatus& s) { s.connection = ConnectionState::NoRegistration; },
       SimState::Ready,
       {0, 0, 1, 0, 0}},
      {"connected counts for more than a service status",
       [](ModemStatus& s) { s.service_status = 0; },
       SimState::Ready,
       {0, 0, 0, 0, 0}},
      {"data cap", [](ModemStatus& s) { s.connection = ConnectionState::DataLimit; }, SimState::Ready, {0, 0, 0, 1, 0}},
      {"APN refused",
       [](ModemStatus& s) { s.connection = ConnectionState::InvalidProfile; },
       SimState::Ready,
       {0, 0, 0, 0, 1}},
  };
  for (const auto& row : rows) {
    ModemStatus status = connected();
    row.spoil(status);
    ModemView view = modem_view(status, kOn, sim(row.sim_state));
    EXPECT_EQ(view.api, Api::Answered) << row.name;
    EXPECT_EQ(person(view), row.person) << row.name;
  }
}

TEST(ModemView, DoesWithoutTheAnswersThatFailed) {
  ModemView view = modem_view(connected(), fail(Errc::Unsupported, "no switch"), fail(Errc::Timeout, "no answer"));
  EXPECT_EQ(view.api, Api::Answered);
  EXPECT_TRUE(view.connected);
  EXPECT_EQ(view.data_switch, std::nullopt);
  EXPECT_FALSE(view.sim_missing);
  EXPECT_FALSE(view.pin_required);
}

TEST(ModemView, SumsUpForAPerson) {
  std::string summary = modem_view(connected(), Result<bool>(false), kReady).summary;
  EXPECT_THAT(summary, HasSubstr("ConnectionStatus 901"));
  EXPECT_THAT(summary, HasSubstr("data switch off"));
}

}  // namespace
}  // namespace dongle
