#pragma once
#include "common/error.h"

namespace dongle {

/// Gives up, for good, what a worker never needs: capabilities, gaining privileges by exec, and the system calls that
/// start programs, look into other processes or change the host. Call before the first byte of a stranger's is read.
Result<void> enter_sandbox();

}  // namespace dongle
