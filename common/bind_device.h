#pragma once
#include <string>

#include "common/error.h"

namespace dongle {

/// Binds a socket to a device, before it connects or sends; from then on it leaves through that device or not at
/// all. Checked by reading it back. Unreachable if the device isn't there, also for an empty name (the kernel would
/// take that as "any device").
Result<void> bind_to_device(int fd, const std::string& device);

}  // namespace dongle
