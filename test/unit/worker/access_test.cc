#include "worker/access.h"

#include <gtest/gtest.h>

namespace dongle {
namespace {

using namespace std::string_literals;

Address address(const std::string& text) {
  return Address::parse(text).value();
}

DestinationGuard guard() {
  DestinationGuard g;
  g.set_host_addresses({address("198.51.100.77"), address("2600::77")});
  g.set_denied({address("203.0.113.1")});
  return g;
}

enum class Verdict { Allowed, Refused, Resolve };

// What becomes of a host as a client writes it, before any name is asked for.
Verdict judge(std::string_view host) {
  auto parsed = parse_host(host);
  if (!parsed) return Verdict::Refused;
  if (auto* a = std::get_if<Address>(&*parsed)) return guard().allows(*a) ? Verdict::Allowed : Verdict::Refused;
  return Verdict::Resolve;
}

TEST(Guard, LetsTheInternetThrough) {
  for (const char* host :
       {"1.1.1.1",      "9.255.255.255",   "11.0.0.0",    "100.63.255.255",       "100.128.0.0",  "126.255.255.255",
        "128.0.0.0",    "169.253.255.255", "169.255.0.0", "172.15.255.255",       "172.32.0.0",   "192.0.1.0",
        "192.0.2.1",    "192.167.255.255", "192.169.0.0", "198.17.255.255",       "198.20.0.0",   "198.51.100.1",
        "203.0.113.10", "223.255.255.255", "2600::1",     "2001:4860:4860::8888", "2a00:1450::1", "2001:db8::1",
        "3fff::1"})
    EXPECT_EQ(judge(host), Verdict::Allowed) << host;
}

TEST(Guard, RefusesEveryFormOfASpecialAddress) {
  const std::vector<std::string> hosts = {
      // the ranges, first, inner and last
      "0.0.0.0",
      "0.0.0.1",
      "0.255.255.255",
      "10.0.0.0",
      "10.1.2.3",
      "10.255.255.255",
      "100.64.0.0",
      "100.100.100.200",
      "100.127.255.255",
      "127.0.0.0",
      "127.0.0.1",
      "127.127.127.127",
      "127.255.255.255",
      "169.254.0.0",
      "169.254.169.254",
      "169.254.255.255",
      "172.16.0.0",
      "172.20.0.1",
      "172.31.255.255",
      "192.0.0.0",
      "192.0.0.170",
      "192.0.0.255",
      "192.88.99.1",
      "192.168.0.0",
      "192.168.8.1",
      "192.168.11.1",
      "192.168.255.255",
      "198.18.0.0",
      "198.19.255.255",
      "224.0.0.0",
      "224.0.0.1",
      "239.255.255.250",
      "240.0.0.0",
      "250.1.2.3",
      "255.255.255.255",
      // the host's own, and the modem's
      "198.51.100.77",
      "2600::77",
      "203.0.113.1",
      // IPv6 ranges
      "::",
      "::1",
      "::2",
      "0:0:0:0:0:0:0:1",
      "0000:0000:0000:0000:0000:0000:0000:0001",
      "::127.0.0.1",
      "::7f00:1",
      "100::1",
      "2001::1",
      "2001:0:4136:e378:8000:63bf:3fff:fdd2",
      "2001:2::1",
      "2001:10::1",
      "2001:20::1",
      "2002:7f00:1::",
      "2002:a9fe:a9fe::1",
      "2002:c0a8:801::",
      "4000::1",
      "5f00::1",
      "8000::1",
      "fc00::1",
      "fd00::1",
      "fd00:ec2::254",
      "fdff:ffff::1",
      "fe00::1",
      "fe80::1",
      "febf::1",
      "fec0::1",
      "ff00::1",
      "ff02::1",
      "ff0e::1",
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
      // IPv4 inside IPv6
      "::ffff:127.0.0.1",
      "::ffff:7f00:1",
      "::FFFF:10.0.0.1",
      "::ffff:a9fe:a9fe",
      "::ffff:192.168.8.1",
      "::ffff:0.0.0.0",
      "::ffff:198.51.100.77",
      "::ffff:203.0.113.1",
      "::ffff:1.1.1.1",
      "0:0:0:0:0:ffff:7f00:0001",
      "::ffff:0:127.0.0.1",
      "64:ff9b::127.0.0.1",
      "64:ff9b::a9fe:a9fe",
      "64:ff9b::192.168.8.1",
      "64:ff9b::1.1.1.1",
      "64:ff9b:1::10.0.0.1",
      // numbers that other parsers take for an address
      "0",
      "1",
      "127",
      "2130706433",
      "017700000001",
      "0x7f000001",
      "0X7F000001",
      "0x7f.1",
      "0x7f.0.0.1",
      "0x7f.0x0.0x0.0x1",
      "127.1",
      "127.0.1",
      "10.1",
      "192.168.2049",
      "192.11010049",
      "3232237569",
      "0177.0.0.1",
      "0177.1",
      "00000177.0.0.1",
      "127.0.0.01",
      "127.0.0.001",
      "127.00.0.1",
      "127.0.0.0x1",
      "0xa9fea9fe",
      "0xa9.0xfe.0xa9.0xfe",
      "0251.0376.0251.0376",
      "2852039166",
      "169.254.43518",
      "169.16689662",
      "1.1",
      "1.1.1",
      "256.256.256.256",
      "999.1.1.1",
      "1.2.3.4.5",
      "4294967295",
      "4294967296",
      "99999999999999999999",
      "127.0.0.1.",
      "127.1.",
      "2130706433.",
      "0x7f000001.",
      "1.1.1.1.",
      "foo.127",
      "foo.0x7f",
      "foo.0x",
      "a.b.1",
      "0x",
      "0x.0x",
      "08",
      "09.1",
      // decorated addresses
      "[::1]",
      "[127.0.0.1]",
      "[::ffff:127.0.0.1]",
      "[2600::1]",
      "fe80::1%eth0",
      "fe80::1%1",
      "127.0.0.1%eth0",
      "::1%lo",
      "1.1.1.1%eth0",
      "127.0.0.1:80",
      "::1:",
      ":::1",
      "1::2::3",
      "::1/128",
      "127.0.0.1/8",
      "::ffff:127.1",
      "::ffff:0x7f.1",
      // names of this host
      "localhost",
      "LOCALHOST",
      "LocalHost",
      "localhost.",
      "foo.localhost",
      "foo.localhost.",
      "a.b.LOCALHOST",
      // bytes that no name has
      "",
      ".",
      "..",
      "a..b",
      ".a",
      "a..",
      " ",
      " 127.0.0.1",
      "127.0.0.1 ",
      "127.0.0.1\t",
      "127.0.0.1\n",
      "127.0.0.1\r\n",
      "\0"s,
      "127.0.0.1\0"s,
      "127.0.0.1\0.example.com"s,
      "example.com\0"s,
      "\0example.com"s,
      "1.1.1.1\0"s,
      "1.1.1.1\0.a"s,
      "exa\0mple.com"s,
      "example.com\x01",
      "example.com\x7f",
      "ex ample.com",
      "example.com/",
      "example.com#",
      "example.com?",
      "user@example.com",
      "example.com\\",
      "ex\xc3\xa4mple.com",
      "\xff",
      "127\xe3\x80\x82"
      "0\xe3\x80\x82"
      "0\xe3\x80\x82"
      "1",
      "\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1",
      "\xe2\x91\xa0.1.1.1",
      "*",
      "*.example.com",
      "example.com,127.0.0.1",
      "-1",
      "+1",
      "127.0.0.-1",
      "1e3",
      std::string(64, 'a') + ".com",
      std::string(254, 'a'),
  };
  EXPECT_GE(hosts.size(), 200u);
  // What looks like a sign or an exponent but ends in no number is a name like any other.
  const std::set<std::string> names = {"-1", "1e3", "127.0.0.-1"};
  for (const auto& host : hosts)
    EXPECT_EQ(judge(host), names.contains(host) ? Verdict::Resolve : Verdict::Refused) << testing::PrintToString(host);
}

TEST(Guard, LeavesNamesToTheResolver) {
  for (const auto& host :
       std::vector<std::string>{"example.com", "EXAMPLE.com.", "a", "xn--bcher-kva.example", "_dmarc.example.com",
                                "-lead.example", "1.example", "0x7f.example", "127.0.0.1.nip.io",
                                "localhost.example.com", "notlocalhost", std::string(63, 'a') + ".com"})
    EXPECT_EQ(judge(host), Verdict::Resolve) << host;
  EXPECT_EQ(std::get<std::string>(parse_host("EXAMPLE.com.").value()), "example.com");
}

TEST(Guard, MakesTheExceptionsThatTheOperatorAskedFor) {
  auto g = guard();
  EXPECT_FALSE(g.allows(address("10.0.0.1")));
  g.set_exceptions(
      {Prefix::parse("10.0.0.0/24").value(), Prefix::parse("203.0.113.1").value(), Prefix::parse("fd00::/8").value()});
  EXPECT_TRUE(g.allows(address("10.0.0.1")));
  EXPECT_TRUE(g.allows(address("203.0.113.1")));
  EXPECT_TRUE(g.allows(address("fd00::1")));
  EXPECT_FALSE(g.allows(address("10.0.1.1")));
  EXPECT_FALSE(g.allows(address("::ffff:10.0.0.1")));
  EXPECT_FALSE(g.allows(address("198.51.100.77")));
}

TEST(ClientAccess, KnowsMappedAddressesByTheirIPv4Name) {
  const std::vector<Prefix> clients = {Prefix::parse("192.168.1.0/24").value(), Prefix::parse("2600::/16").value()};
  EXPECT_TRUE(client_allowed({}, address("8.8.8.8")));
  EXPECT_TRUE(client_allowed(clients, address("192.168.1.9")));
  EXPECT_TRUE(client_allowed(clients, address("::ffff:192.168.1.9")));
  EXPECT_TRUE(client_allowed(clients, address("2600::9")));
  EXPECT_FALSE(client_allowed(clients, address("192.168.2.9")));
  EXPECT_FALSE(client_allowed(clients, address("127.0.0.1")));
  EXPECT_FALSE(client_allowed(clients, address("::1")));
}

}  // namespace
}  // namespace dongle
