#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "common/ids.h"
#include "common/net_address.h"

namespace dongle {

/// A device is there under this name, or has gone.
struct LinkSeen {
  IfIndex ifindex;
  std::string name;
  bool gone = false;
  bool up = false;  ///< switched on and with carrier
  bool operator==(const LinkSeen&) const = default;
};
/// An address of the host came or went.
struct AddressSeen {
  Address address;
  bool gone = false;
  bool operator==(const AddressSeen&) const = default;
};
/// A dump is complete.
struct DumpDone {
  bool operator==(const DumpDone&) const = default;
};
using NetlinkEvent = std::variant<LinkSeen, AddressSeen, DumpDone>;

/// What a datagram from rtnetlink says of links and addresses; the rest of it, and anything cut off, is left out.
std::vector<NetlinkEvent> read_netlink(std::span<const std::byte> datagram);

/// The request that makes the kernel send every address.
std::vector<std::byte> address_dump_request();

}  // namespace dongle
