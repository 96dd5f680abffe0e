#include "worker/netlink_message.h"

#include <gtest/gtest.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>

namespace dongle {
namespace {

template <class Body>
std::string message(std::uint16_t type, const Body& body,
                    std::initializer_list<std::pair<unsigned short, std::string>> attributes) {
  std::string payload(reinterpret_cast<const char*>(&body), sizeof body);
  payload.resize(NLMSG_ALIGN(payload.size()));
  for (const auto& [kind, value] : attributes) {
    rtattr header{static_cast<unsigned short>(RTA_LENGTH(value.size())), kind};
    payload.append(reinterpret_cast<const char*>(&header), sizeof header);
    payload += value;
    payload.resize(NLMSG_ALIGN(payload.size()));
  }
  nlmsghdr header{};
  header.nlmsg_len = static_cast<std::uint32_t>(NLMSG_LENGTH(payload.size()));
  header.nlmsg_type = type;
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) + payload;
}

std::string link(std::uint16_t type, int index, const std::string& name, unsigned char family = AF_UNSPEC,
                 unsigned flags = 0) {
  ifinfomsg body{};
  body.ifi_family = family;
  body.ifi_index = index;
  body.ifi_flags = flags;
  return message(type, body, {{IFLA_MTU, "abcd"}, {IFLA_IFNAME, name + '\0'}});
}

std::string address(std::uint16_t type, unsigned char family,
                    std::initializer_list<std::pair<unsigned short, std::string>> attributes) {
  ifaddrmsg body{};
  body.ifa_family = family;
  return message(type, body, attributes);
}

std::vector<NetlinkEvent> read(const std::string& bytes) {
  return read_netlink(std::as_bytes(std::span(bytes)));
}

TEST(NetlinkMessage, ReadsLinksAndAddressesOfOneDatagram) {
  using Events = std::vector<NetlinkEvent>;
  auto local = Address::parse("192.168.11.100").value();
  std::string v4("\xc0\xa8\x0b\x64", 4), peer("\xc0\xa8\x0b\x01", 4);
  EXPECT_EQ(read(link(RTM_NEWLINK, 7, "m11") + link(RTM_DELLINK, 8, "m12")),
            (Events{LinkSeen{IfIndex{7}, "m11", false}, LinkSeen{IfIndex{8}, "m12", true}}));
  EXPECT_EQ(read(address(RTM_NEWADDR, AF_INET, {{IFA_ADDRESS, peer}, {IFA_LOCAL, v4}}) +
                 address(RTM_DELADDR, AF_INET6, {{IFA_ADDRESS, std::string(15, '\0') + '\1'}})),
            (Events{AddressSeen{local, false}, AddressSeen{Address::parse("::1").value(), true}}));
  nlmsghdr done{sizeof done, NLMSG_DONE, 0, 0, 0};
  EXPECT_EQ(read(std::string(reinterpret_cast<const char*>(&done), sizeof done)), Events{DumpDone{}});
}

TEST(NetlinkMessage, ALinkIsUpWhenItIsSwitchedOnAndHasCarrier) {
  auto is_up = [](std::uint16_t type, unsigned flags) {
    return std::get<LinkSeen>(read(link(type, 7, "m11", AF_UNSPEC, flags)).at(0)).up;
  };
  EXPECT_TRUE(is_up(RTM_NEWLINK, IFF_UP | IFF_LOWER_UP | IFF_BROADCAST));
  EXPECT_FALSE(is_up(RTM_NEWLINK, IFF_UP | IFF_BROADCAST));
  EXPECT_FALSE(is_up(RTM_NEWLINK, IFF_LOWER_UP));
  EXPECT_FALSE(is_up(RTM_DELLINK, IFF_UP | IFF_LOWER_UP));
}

TEST(NetlinkMessage, TakesADeviceThatLeavesABridgeForNoLoss) {
  EXPECT_TRUE(read(link(RTM_DELLINK, 7, "m11", AF_BRIDGE)).empty());
}

TEST(NetlinkMessage, LeavesOutWhatIsCutOff) {
  auto whole = link(RTM_DELLINK, 7, "m11");
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_TRUE(read(whole.substr(0, n)).empty()) << n;
  // Lengths that lie inside an attribute or a header.
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (char value : {'\0', '\1', '\x7f', '\xff'}) {
      auto bad = whole;
      bad[at] = value;
      read(bad);  // under the sanitizers: no byte beyond its end
    }
  }
}

}  // namespace
}  // namespace dongle
