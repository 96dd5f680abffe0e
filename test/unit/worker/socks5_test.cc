#include "worker/socks5.h"

#include <gtest/gtest.h>

namespace dongle::socks5 {
namespace {

using namespace std::string_literals;

std::string request(std::string_view target_and_port) {
  return "\x05\x01\x00"s + std::string(target_and_port);
}

TEST(Socks5, ReadsAGreetingOnlyWhenItIsWhole) {
  const std::string whole = "\x05\x03\x02\x01\x00"s;
  for (std::size_t n = 1; n < whole.size(); ++n) EXPECT_FALSE(read_greeting(whole.substr(0, n))) << n;
  auto greeting = read_greeting(whole + "behind");
  ASSERT_TRUE(greeting);
  EXPECT_EQ(greeting->size, whole.size());
  EXPECT_TRUE(greeting->offers_no_authentication);
}

TEST(Socks5, SeesWhetherNoAuthenticationIsAmongTheMethods) {
  EXPECT_FALSE(read_greeting("\x05\x00"s)->offers_no_authentication);
  EXPECT_FALSE(read_greeting("\x05\x02\x01\x02\x00"s)->offers_no_authentication);  // the 00 is behind the methods
  EXPECT_FALSE(read_greeting("\x05\x01\xff"s)->offers_no_authentication);
  EXPECT_TRUE(read_greeting("\x05\x04\x80\x80\x00\x00"s)->offers_no_authentication);
  EXPECT_FALSE(read_greeting("\x05\xff"s + std::string(254, '\0')));
  EXPECT_TRUE(read_greeting("\x05\xff"s + std::string(254, '\1') + '\0')->offers_no_authentication);
}

TEST(Socks5, ReadsEveryKindOfAddressAtEverySplitWithPayloadBehind) {
  const std::pair<std::string, std::string> rows[] = {
      {request("\x01\xcb\x00\x71\x07\x01\xbb"s), "203.0.113.7:443"},
      {request("\x03\x0b"
               "example.com\x00\x50"s),
       "example.com:80"},
      {request("\x03\x07"
               "1.2.3.4\xff\xff"s),
       "1.2.3.4:65535"},
      {request("\x03\x0b"
               "2001:db8::1\x00\x01"s),
       "[2001:db8::1]:1"},
      {request("\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x00"s), "[2001:db8::1]:256"},
      {"\x05\x01\x7f\x01\xcb\x00\x71\x07\x00\x50"s, "203.0.113.7:80"},  // RSV is not looked at
  };
  for (const auto& [bytes, target] : rows) {
    for (std::size_t n = 0; n < bytes.size(); ++n)
      EXPECT_FALSE(read_request(bytes.substr(0, n))) << target << " at " << n;
    auto answer = read_request(bytes + "\x05\x01\x00payload"s);
    ASSERT_TRUE(answer && *answer) << target;
    EXPECT_EQ((*answer)->size, bytes.size());
    EXPECT_EQ((*answer)->target.to_string(), target);
  }
}

TEST(Socks5, RefusesWhatItDoesNotServeWithTheReasonForIt) {
  const std::pair<std::string, CloseReason> rows[] = {
      {"\x04\x01\x00\x01"s, CloseReason::bad_request},
      {"\x05\x02\x00\x01"s, CloseReason::unsupported_command},  // BIND
      {"\x05\x03\x00\x01"s, CloseReason::unsupported_command},  // UDP ASSOCIATE
      {"\x05\xf0\x00\x03"s, CloseReason::unsupported_command},  // Tor's RESOLVE
      {"\x05\x00\x00\x01"s, CloseReason::unsupported_command},
      {request("\x00"s), CloseReason::unsupported_address},
      {request("\x02"s), CloseReason::unsupported_address},
      {request("\xff"s), CloseReason::unsupported_address},
      {request("\x01\x01\x02\x03\x04\x00\x00"s), CloseReason::bad_request},  // port 0
      {request("\x03\x00\x00\x50"s), CloseReason::bad_request},              // empty name
      {request("\x03\x04"
               "a\0bc\x00\x50"s),
       CloseReason::bad_request},
      {request("\x03\x03"
               "a\r\n\x00\x50"s),
       CloseReason::bad_request},
      {request("\x03\x03"
               "a b\x00\x50"s),
       CloseReason::bad_request},
      {request("\x03\x02"
               "\xc3\xa4\x00\x50"s),
       CloseReason::bad_request},
      {request("\x03\xff" + std::string(255, 'a') + "\x00\x50"s), CloseReason::bad_request},
      {request("\x03\x05"
               "127.1\x00\x50"s),
       CloseReason::destination_refused},
      {request("\x03\x09"
               "localhost\x00\x50"s),
       CloseReason::destination_refused},
      {request("\x03\x05"
               "[::1]\x00\x50"s),
       CloseReason::destination_refused},
  };
  for (const auto& [bytes, reason] : rows) {
    auto answer = read_request(bytes);
    ASSERT_TRUE(answer && !*answer) << testing::PrintToString(bytes);
    EXPECT_STREQ(close_info(answer->error()).name, close_info(reason).name) << testing::PrintToString(bytes);
  }
}

TEST(Socks5, WritesRepliesByteForByte) {
  EXPECT_EQ(method_reply(0), "\x05\x00"s);
  EXPECT_EQ(method_reply(0xff), "\x05\xff"s);
  EXPECT_EQ(success_reply(Endpoint::parse("192.168.11.100:258").value()), "\x05\x00\x00\x01\xc0\xa8\x0b\x64\x01\x02"s);
  EXPECT_EQ(success_reply(Endpoint::parse("[2001:db8::1]:1").value()),
            "\x05\x00\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x01"s);
  EXPECT_EQ(failure_reply(4), "\x05\x04\x00\x01\0\0\0\0\0\0"s);
  EXPECT_EQ(socks4_refusal(), "\x00\x5b\0\0\0\0\0\0"s);
}

TEST(SessionClose, AnswersOnlyWithCodesThatTheProtocolsHave) {
  for (std::size_t i = 0; i < kCloseReasons; ++i) {
    const auto& info = close_info(static_cast<CloseReason>(i));
    EXPECT_LE(info.socks_rep, 8) << info.name;
    EXPECT_TRUE(info.http_status == 0 || (info.http_status >= 400 && info.http_status < 600)) << info.name;
    EXPECT_EQ(close_reason_from_name(info.name), static_cast<CloseReason>(i));
  }
  EXPECT_FALSE(close_reason_from_name("bogus"));
}

}  // namespace
}  // namespace dongle::socks5
