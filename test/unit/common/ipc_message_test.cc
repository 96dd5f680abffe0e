#include "common/ipc_message.h"

#include <gtest/gtest.h>

namespace dongle {
namespace {

Setup full_setup() {
  Setup s;
  s.device = "m11";
  s.ifindex = IfIndex{7};
  s.source_v4 = Address::parse("192.168.11.100").value();
  s.dns_servers = {Address::parse("192.168.11.1").value()};
  s.ports = {10011};
  s.clients = {Prefix::parse("10.0.0.0/8").value(), Prefix::parse("2001:db8::/32").value()};
  s.denied_destinations = {Address::parse("192.168.11.1").value()};
  s.connect_timeout = Millis{1234};
  return s;
}

TEST(IpcMessage, SurvivesTheRoundTrip) {
  const std::vector<IpcMessage> messages = {
      Hello{kIpcVersion, DongleId{11}, 4242, {10011, 20011}},
      full_setup(),
      ServeProbe{},
      DropConnections{"rotation"},
      Stop{Millis{5000}},
      LogFile{},
      Report{1, 2, 3, 4, {{"client_eof", 5}}, true, {{"accept_limited", 6}}},
      DialResult{false, "connect_timeout"},
      DeviceGone{IfIndex{9}},
  };
  for (const auto& message : messages) {
    auto decoded = decode_ipc(encode_ipc(message));
    ASSERT_TRUE(decoded) << decoded.error().message();
    EXPECT_EQ(*decoded, message);
  }
}

TEST(IpcMessage, RefusesWhatIsNotAMessage) {
  for (std::string bad : {"", "{}", "[]", "null", "{\"type\":1}", "{\"type\":\"bogus\"}", "{\"type\":\"hello\"}",
                          "{\"type\":\"hello\",\"version\":1,\"id\":253,\"pid\":1,\"ports\":[]}",
                          "{\"type\":\"stop\",\"drain_ms\":\"x\"}", "{\"type\":\"stop\",\"type\":\"stop\"}"}) {
    EXPECT_FALSE(decode_ipc(bad)) << bad;
  }
}

}  // namespace
}  // namespace dongle
