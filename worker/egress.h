#pragma once
#include <optional>
#include <string>

#include "common/error.h"
#include "common/ids.h"
#include "common/net_address.h"
#include "common/unique_fd.h"

namespace dongle {

/// The one way out that this worker has. Empty device: none now.
struct Egress {
  std::string device;
  IfIndex ifindex;
  std::optional<Address> source_v4;  ///< absent: the family isn't usable
  std::optional<Address> source_v6;

  bool is_usable() const { return !device.empty() && ifindex && (source_v4 || source_v6); }
  const std::optional<Address>& source_for(int family) const { return family == AF_INET6 ? source_v6 : source_v4; }
  bool operator==(const Egress&) const = default;
};

/// Ties a fresh socket to the device and its address. Unreachable: no device, not that device, or no such address;
/// the socket must not be used then.
Result<void> bind_egress(int fd, const Egress& egress);

/// A non-blocking socket that can only leave through the device. type: SOCK_STREAM or SOCK_DGRAM.
Result<UniqueFd> open_egress_socket(const Egress& egress, int family, int type);

/// What both sides of a relayed connection get: no delay for small writes, and an end within two minutes for a peer
/// that vanished without a word.
void tune_tcp(int fd);

}  // namespace dongle
