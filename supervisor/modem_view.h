#pragma once
#include "supervisor/diagnosis.h"
#include "supervisor/hilink_xml.h"

namespace dongle {

/// What the modem's answers mean for a diagnosis. Pure.
/// status: of monitoring/status, the question that decides whether the API is alive; the others may have failed.
ModemView modem_view(const Result<ModemStatus>& status, const Result<bool>& data_switch, const Result<PinStatus>& pin);

}  // namespace dongle
