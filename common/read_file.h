#pragma once
#include <cstddef>
#include <string>

#include "common/error.h"

namespace dongle {

/// The bytes of a regular file, at most max_bytes of them (Full: it is larger). Anything else than a regular file is
/// refused, so that a FIFO or a device can't hang the caller.
Result<std::string> read_file(const std::string& path, std::size_t max_bytes);

}  // namespace dongle
