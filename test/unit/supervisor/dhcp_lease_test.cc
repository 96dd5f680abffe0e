#include "supervisor/dhcp_lease.h"

#include <gtest/gtest.h>

namespace dongle {
namespace {

Address ip(std::string_view text) {
  return Address::parse(text).value();
}
Prefix prefix(std::string_view text) {
  return Prefix::parse(text).value();
}

TEST(DhcpLease, ReadsALease) {
  auto event = parse_dhcp_report("bound\t192.168.8.100\t24\t192.168.8.1\t192.168.8.1 8.8.8.8\t86400", {});
  ASSERT_TRUE(event) << event.error().message();
  DhcpLease expected{prefix("192.168.8.100/24"), ip("192.168.8.1"), {ip("192.168.8.1"), ip("8.8.8.8")}, Seconds{86400}};
  EXPECT_EQ(*event, DhcpEvent(expected));
  EXPECT_EQ(parse_dhcp_report("renew\t192.168.8.100\t24\t192.168.8.1\t192.168.8.1 8.8.8.8\t86400", {}).value(), *event);
}

TEST(DhcpLease, ReadsTheOtherEvents) {
  EXPECT_EQ(parse_dhcp_report("deconfig\t\t\t\t\t", {}).value(), DhcpEvent(DhcpDeconfig{}));
  EXPECT_EQ(parse_dhcp_report("leasefail\t\t\t\t\t", {}).value(), DhcpEvent(DhcpNoAnswer{}));
  EXPECT_EQ(parse_dhcp_report("nak\t\t\t\t\t", {}).value(), DhcpEvent(DhcpRefusal{}));
}

TEST(DhcpLease, RefusesWhatCantBeUsed) {
  const char* rows[] = {
      "",
      "bound",
      "bogus\t\t\t\t\t",
      "bound\t192.168.8.100\t24\t192.168.8.1\t\t86400\textra",
      "bound\t\t24\t192.168.8.1\t\t86400",
      "bound\t0.0.0.0\t24\t\t\t86400",
      "bound\t0.1.2.3\t24\t\t\t86400",
      "bound\t127.0.0.2\t8\t\t\t86400",
      "bound\t224.0.0.1\t24\t\t\t86400",
      "bound\t255.255.255.255\t24\t\t\t86400",
      "bound\t::1\t64\t\t\t86400",
      "bound\t192.168.8.0\t24\t\t\t86400",
      "bound\t192.168.8.255\t24\t\t\t86400",
      "bound\t192.168.8.100\t0\t\t\t86400",
      "bound\t192.168.8.100\t7\t\t\t86400",
      "bound\t192.168.8.100\t33\t\t\t86400",
      "bound\t192.168.8.100\t-1\t\t\t86400",
      "bound\t192.168.8.100\t255.255.255.0\t\t\t86400",
      "bound\t192.168.8.100\t24\t192.168.9.1\t\t86400",
      "bound\t192.168.8.100\t24\t192.168.8.100\t\t86400",
      "bound\t192.168.8.100\t24\t192.168.8.255\t\t86400",
      "bound\t192.168.8.100\t24\tgateway\t\t86400",
      "bound\t192.168.8.100\t24\t192.168.8.1\t\t0",
      "bound\t192.168.8.100\t24\t192.168.8.1\t\t",
      "bound\t192.168.8.100\t24\t192.168.8.1\t\t4294967296",
      "bound\t192.168.8.100\t24\t192.168.8.1\t\t99999999999999999999",
  };
  for (const char* row : rows) {
    auto event = parse_dhcp_report(row, {});
    ASSERT_FALSE(event) << row;
    EXPECT_EQ(event.error().code, Errc::Protocol) << row;
  }
  EXPECT_FALSE(parse_dhcp_report(std::string(1 << 20, '\t'), {}));
  EXPECT_FALSE(parse_dhcp_report("bound\t192.168.8.100\t24\t\t" + std::string(2000, '1') + "\t60", {}));
  using namespace std::string_view_literals;
  EXPECT_FALSE(parse_dhcp_report("bound\t192.168.8.1\0000\t24\t\t\t60"sv, {}));
}

TEST(DhcpLease, RefusesTheSubnetsThatTheHostHasElsewhere) {
  const Prefix forbidden[] = {prefix("10.0.0.5/8"), prefix("192.168.8.0/25")};
  const std::pair<const char*, bool> rows[] = {
      {"bound\t10.1.2.3\t24\t\t\t60", false},       // inside
      {"bound\t192.168.8.200\t24\t\t\t60", false},  // around
      {"bound\t192.168.8.200\t25\t\t\t60", true},   // beside
      {"bound\t192.168.9.100\t24\t\t\t60", true},
  };
  for (auto [row, good] : rows) {
    auto event = parse_dhcp_report(row, forbidden);
    EXPECT_EQ(event.has_value(), good) << row;
    if (!event) {
      EXPECT_EQ(event.error().code, Errc::Refused);
    }
  }
}

TEST(DhcpLease, TakesAGatewayBesideASingleAddress) {
  auto event = parse_dhcp_report("bound\t10.64.1.2\t32\t10.64.0.1\t\t60", {});
  ASSERT_TRUE(event) << event.error().message();
  EXPECT_EQ(std::get<DhcpLease>(*event).gateway, ip("10.64.0.1"));
}

TEST(DhcpLease, LeavesOutDnsServersThatCantBeUsed) {
  auto event = parse_dhcp_report(
      "bound\t10.64.1.2\t24\t\t127.0.0.1 x  0.0.0.0 1.1.1.1 1.1.1.1 224.0.0.1 2.2.2.1 2.2.2.2 2.2.2.3 2.2.2.4 2.2.2.5 "
      "2.2.2.6 2.2.2.7 2.2.2.8\t4294967295",
      {});
  ASSERT_TRUE(event) << event.error().message();
  const auto& lease = std::get<DhcpLease>(*event);
  ASSERT_EQ(lease.dns.size(), kMaxDnsServers);
  EXPECT_EQ(lease.dns.front(), ip("1.1.1.1"));
  EXPECT_EQ(lease.dns.back(), ip("2.2.2.7"));
  EXPECT_EQ(lease.duration, Seconds{4294967295});
}

TEST(DhcpLease, GivesAnErrorForEveryCutAndEveryChangedByteOrAUsableLease) {
  const std::string whole = "bound\t192.168.8.100\t24\t192.168.8.1\t192.168.8.1 8.8.8.8\t86400";
  for (std::size_t length = 0; length < whole.size() - 4; ++length)
    EXPECT_FALSE(parse_dhcp_report(whole.substr(0, length), {})) << length;
  for (std::size_t i = 0; i < whole.size(); ++i)
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = whole;
      changed[i] = static_cast<char>(byte);
      auto event = parse_dhcp_report(changed, {});
      if (!event) continue;
      const auto& lease = std::get<DhcpLease>(*event);
      EXPECT_TRUE(lease.gateway && lease.address.contains(*lease.gateway) && lease.duration.count() > 0) << changed;
    }
}

}  // namespace
}  // namespace dongle
