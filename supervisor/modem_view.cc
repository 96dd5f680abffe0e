#include "supervisor/modem_view.h"

namespace dongle {

bool is_silence(const Error& error) {
  return error.code == Errc::Timeout || error.code == Errc::Unreachable;
}

ModemView modem_view(const Result<ModemStatus>& status, const Result<bool>& data_switch, const Result<PinStatus>& pin) {
  ModemView view;
  if (!status) {
    view.api_error = status.error().message();
    switch (status.error().code) {
      // Silence, garbage and a page for people are all the same to us: nobody there who could be asked for anything.
      case Errc::Timeout:
      case Errc::Unreachable:
      case Errc::Protocol:
      case Errc::Full:
      case Errc::Io:
      case Errc::NotFound:
      case Errc::Cancelled: view.api = ModemView::Api::NoAnswer; break;
      case Errc::Refused:
        // A refused connection has an errno; without one it's the modem that said no, so it is alive.
        view.api = status.error().sys != 0 ? ModemView::Api::NoAnswer : ModemView::Api::Refused;
        break;
      case Errc::InvalidArgument:
      case Errc::Exists:
      case Errc::Busy:
      case Errc::Permission:
      case Errc::Unsupported: view.api = ModemView::Api::Refused; break;
    }
    return view;
  }
  // What it said is from before it fell silent.
  if (!data_switch && is_silence(data_switch.error())) {
    view.api = ModemView::Api::NoAnswer;
    view.api_error = data_switch.error().message();
    return view;
  }
  view.api = ModemView::Api::Answered;
  view.connected = status->connection == ConnectionState::Connected;
  view.data_limit = status->connection == ConnectionState::DataLimit;
  view.profile_invalid = status->connection == ConnectionState::InvalidProfile ||
                         status->connection == ConnectionState::NotAllowed ||
                         status->connection == ConnectionState::RoamingNotAllowed;
  bool no_service = status->service_status && *status->service_status != 2 && !view.connected;
  view.not_registered = status->connection == ConnectionState::NoRegistration || no_service;
  view.sim_missing = status->sim_status && (*status->sim_status == 0 || *status->sim_status == 255);
  if (data_switch) view.data_switch = *data_switch;
  if (pin) {
    view.sim_missing |= pin->sim == SimState::Absent;
    view.pin_required = pin->sim == SimState::PinRequired || pin->sim == SimState::PukRequired;
    // A locked SIM counts as unusable in the status; it isn't missing for that.
    if (view.pin_required) view.sim_missing = false;
  }
  view.summary = fmt::format("ConnectionStatus {} ({})", status->connection_code, to_string(status->connection));
  if (status->sim_status) view.summary += fmt::format(", SimStatus {}", *status->sim_status);
  if (status->service_status) view.summary += fmt::format(", ServiceStatus {}", *status->service_status);
  if (data_switch) view.summary += fmt::format(", data switch {}", *data_switch ? "on" : "off");
  if (pin) view.summary += fmt::format(", SIM {}", to_string(pin->sim));
  return view;
}

}  // namespace dongle
