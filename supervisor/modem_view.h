#pragma once
#include "supervisor/diagnosis.h"
#include "supervisor/hilink_xml.h"

namespace dongle {

/// The modem gave no answer, as opposed to one that we can't use.
bool is_silence(const Error& error);

/// What the modem's answers mean for a diagnosis. Pure.
/// status: of monitoring/status, the question that decides whether the API is alive; the others may have failed, but a
/// modem that is silent when the next one, data_switch, comes has fallen silent.
ModemView modem_view(const Result<ModemStatus>& status, const Result<bool>& data_switch, const Result<PinStatus>& pin);

}  // namespace dongle
