#include "worker/netlink_message.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>

namespace dongle {
namespace {

using Bytes = std::span<const std::byte>;

template <class T>
std::optional<T> read_struct(Bytes bytes) {
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

Bytes skip(Bytes bytes, std::size_t n) {
  return bytes.subspan(std::min(n, bytes.size()));
}

// The payload of an attribute; empty if it isn't there.
Bytes find_attribute(Bytes bytes, unsigned short type) {
  while (auto header = read_struct<rtattr>(bytes)) {
    if (header->rta_len < sizeof(rtattr) || header->rta_len > bytes.size()) break;
    if (header->rta_type == type) return bytes.subspan(sizeof(rtattr), header->rta_len - sizeof(rtattr));
    bytes = skip(bytes, RTA_ALIGN(header->rta_len));
  }
  return {};
}

std::optional<NetlinkEvent> read_link(Bytes payload, bool gone) {
  auto info = read_struct<ifinfomsg>(payload);
  // Other families speak of a device's part in a bridge, which it may leave without going.
  if (!info || info->ifi_family != AF_UNSPEC) return std::nullopt;
  auto name = find_attribute(skip(payload, NLMSG_ALIGN(sizeof(ifinfomsg))), IFLA_IFNAME);
  if (name.empty()) return std::nullopt;
  auto* text = reinterpret_cast<const char*>(name.data());
  constexpr unsigned kCarries = IFF_UP | IFF_LOWER_UP;
  bool up = !gone && (info->ifi_flags & kCarries) == kCarries;
  return LinkSeen{IfIndex{info->ifi_index}, std::string(text, strnlen(text, name.size())), gone, up};
}

std::optional<NetlinkEvent> read_address(Bytes payload, bool gone) {
  auto info = read_struct<ifaddrmsg>(payload);
  if (!info) return std::nullopt;
  auto attributes = skip(payload, NLMSG_ALIGN(sizeof(ifaddrmsg)));
  // On a point-to-point link IFA_ADDRESS is the peer's.
  auto bytes = find_attribute(attributes, IFA_LOCAL);
  if (bytes.empty()) bytes = find_attribute(attributes, IFA_ADDRESS);
  auto address = Address::from_bytes({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  if (!address) return std::nullopt;
  return AddressSeen{*address, gone};
}

std::optional<NetlinkEvent> read_message(std::uint16_t type, Bytes payload) {
  if (type == NLMSG_DONE) return DumpDone{};
  if (type == RTM_NEWLINK || type == RTM_DELLINK) return read_link(payload, type == RTM_DELLINK);
  if (type == RTM_NEWADDR || type == RTM_DELADDR) return read_address(payload, type == RTM_DELADDR);
  return std::nullopt;
}

}  // namespace

std::vector<NetlinkEvent> read_netlink(Bytes datagram) {
  std::vector<NetlinkEvent> events;
  while (auto header = read_struct<nlmsghdr>(datagram)) {
    if (header->nlmsg_len < sizeof(nlmsghdr) || header->nlmsg_len > datagram.size()) break;
    auto payload = datagram.subspan(sizeof(nlmsghdr), header->nlmsg_len - sizeof(nlmsghdr));
    if (auto event = read_message(header->nlmsg_type, payload)) events.push_back(*event);
    datagram = skip(datagram, NLMSG_ALIGN(header->nlmsg_len));
  }
  return events;
}

std::vector<std::byte> address_dump_request() {
  struct {
    nlmsghdr header;
    ifaddrmsg body;
  } request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = RTM_GETADDR;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.header.nlmsg_seq = 1;
  std::vector<std::byte> bytes(sizeof request);
  std::memcpy(bytes.data(), &request, sizeof request);
  return bytes;
}

}  // namespace dongle
