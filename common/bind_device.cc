#include "common/bind_device.h"

#include <net/if.h>
#include <sys/socket.h>

#include <cerrno>
#include <string_view>

namespace dongle {

Result<void> bind_to_device(int fd, const std::string& device) {
  if (device.empty() || device.size() >= IFNAMSIZ) return fail(Errc::Unreachable, "no device to bind to");
  if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device.c_str(), static_cast<socklen_t>(device.size())) != 0) {
    int sys = errno;
    return std::unexpected(Error{sys == ENODEV ? Errc::Unreachable : errc_from_errno(sys), sys, "bind to " + device});
  }
  char bound[IFNAMSIZ] = {};
  socklen_t length = sizeof bound;
  if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, bound, &length) != 0 || std::string_view(bound) != device)
    return fail(Errc::Unreachable, "bind to {}: the kernel says \"{}\"", device, bound);
  return {};
}

}  // namespace dongle
