#include "worker/http_proxy.h"

#include <gtest/gtest.h>

namespace dongle::http {
namespace {

using namespace std::string_literals;

std::expected<Request, Refusal> read_whole(std::string_view head) {
  HeadReader reader;
  auto answer = reader.read(head);
  if (!answer) return std::unexpected(Refusal{0, CloseReason::handshake_timeout, "more bytes are needed"});
  return *answer;
}

TEST(HttpHead, ReadsConnectTargets) {
  const std::pair<std::string, std::string> rows[] = {
      {"example.com:443", "example.com:443"},
      {"Example.COM.:80", "example.com:80"},
      {"203.0.113.7:1", "203.0.113.7:1"},
      {"[2001:db8::1]:65535", "[2001:db8::1]:65535"},
      {"xn--bcher-kva.example:80", "xn--bcher-kva.example:80"},
  };
  for (const auto& [written, target] : rows) {
    for (std::string version : {"1.1", "1.0"}) {
      auto request = read_whole("CONNECT " + written + " HTTP/" + version + "\r\nHost: other\r\n\r\n");
      ASSERT_TRUE(request) << written << ": " << request.error().text;
      EXPECT_TRUE(request->is_connect);
      EXPECT_EQ(request->target.to_string(), target);
    }
  }
}

TEST(HttpHead, ComesToTheSameByteByByteWithDataBehind) {
  const std::string head = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n";
  HeadReader reader;
  for (std::size_t n = 0; n < head.size(); ++n) ASSERT_FALSE(reader.read(head.substr(0, n))) << n;
  auto answer = reader.read(head + "\x16\x03\x01\0glued\n"s);
  ASSERT_TRUE(answer && *answer);
  EXPECT_EQ((*answer)->size, head.size());
}

TEST(HttpHead, RewritesAbsoluteFormAndDropsWhatIsMeantForTheProxy) {
  auto request = read_whole(
      "POST HTTP://Example.com:8080/a?b=c HTTP/1.1\r\nHost: wrong\r\nX-One:  1 \r\nConnection: keep-alive, X-Two\r\n"
      "X-Two: 2\r\nProxy-Authorization: Basic eA==\r\nProxy-Connection: keep-alive\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
      "Upgrade: h2c\r\nContent-Length: 3\r\nAccept: \xc3\xa4\r\n\r\nabc");
  ASSERT_TRUE(request) << request.error().text;
  EXPECT_EQ(request->target.to_string(), "example.com:8080");
  EXPECT_EQ(request->head,
            "POST /a?b=c HTTP/1.1\r\nHost: Example.com:8080\r\nX-One:  1 \r\nContent-Length: 3\r\nAccept: \xc3\xa4\r\n"
            "Connection: close\r\n\r\n");
}

TEST(HttpHead, MakesAPathWhereNoneIsGiven) {
  const std::pair<std::string, std::string> rows[] = {
      {"GET http://a", "GET / HTTP/1.1"},
      {"GET http://a?q", "GET /?q HTTP/1.1"},
      {"OPTIONS http://a", "OPTIONS * HTTP/1.1"},
      {"GET http://a/%00/..", "GET /%00/.. HTTP/1.1"},
      {"GET http://[2001:db8::1]/", "GET / HTTP/1.1"},
  };
  for (const auto& [written, sent] : rows) {
    auto request = read_whole(written + " HTTP/1.1\r\n\r\n");
    ASSERT_TRUE(request) << written << ": " << request.error().text;
    EXPECT_EQ(request->head.substr(0, request->head.find('\r')), sent);
    EXPECT_EQ(request->target.port, 80);
  }
}

TEST(HttpHead, AnswersEveryMalformedRequestWithAStatus) {
  auto with = [](std::string header) { return "GET http://a/ HTTP/1.1\r\n" + header + "\r\n\r\n"; };
  auto connect = [](std::string target) { return "CONNECT " + target + " HTTP/1.1\r\n\r\n"; };
  const std::pair<std::string, int> rows[] = {
      {connect("a"), 400},
      {connect("a:"), 400},
      {connect("a:0"), 400},
      {connect("a:65536"), 400},
      {connect("a:99999999999"), 400},
      {connect("a:+80"), 400},
      {connect("a:0x50"), 400},
      {connect("a:000080"), 400},
      {connect(":80"), 400},
      {connect("u@b:80"), 400},
      {connect("http://a:80"), 400},
      {connect("http://a/"), 400},
      {connect("2001:db8::1:80"), 400},
      {connect("[2001:db8::1"), 400},
      {connect("[2001:db8::1]"), 400},
      {connect("[2001:db8::1]x:80"), 400},
      {connect("[fe80::1%eth0]:80"), 400},
      {connect("[1.2.3.4]:80"), 400},
      {connect("[]:80"), 400},
      {connect("fe80::1%eth0:80"), 400},
      {connect("a%eth0:80"), 403},
      {connect("127.1:80"), 403},
      {connect("0x7f000001:80"), 403},
      {connect("2130706433:80"), 403},
      {connect("localhost:80"), 403},
      {connect("\xc3\xa4:80"), 400},
      {"CONNECT a:80 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 400},
      {"CONNECT a:80 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"CONNECT  a:80 HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"OPTIONS * HTTP/1.1\r\n\r\n", 400},
      {"GET a HTTP/1.1\r\n\r\n", 400},
      {"GET https://a/ HTTP/1.1\r\n\r\n", 400},
      {"GET ftp://a/ HTTP/1.1\r\n\r\n", 400},
      {"GET http:/// HTTP/1.1\r\n\r\n", 400},
      {"GET http:// HTTP/1.1\r\n\r\n", 400},
      {"GET http://u:p@a/ HTTP/1.1\r\n\r\n", 400},
      {"GET http://a/#f HTTP/1.1\r\n\r\n", 400},
      {"GET http://a:b/ HTTP/1.1\r\n\r\n", 400},
      {"GET http://127.0.0.1./ HTTP/1.1\r\n\r\n", 403},
      {"TRACE http://a/ HTTP/1.1\r\n\r\n", 405},
      {"GET http://a/\r\n", 400},
      {"GET\r\n", 400},
      {"G@T http://a/ HTTP/1.1\r\n\r\n", 400},
      {"GET http://a/ HTTP/2.0\r\n\r\n", 505},
      {"GET http://a/ HTTP/1.10\r\n\r\n", 505},
      {"GET http://a/ http/1.1\r\n\r\n", 400},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"\r\nGET http://a/ HTTP/1.1\r\n\r\n", 400},
      {"GET http://a/ HTTP/1.1\nHost: a\n\n", 400},
      {"GET http://a/ HTTP/1.1\rHost: a\r\r", 400},
      {"GET http://a/\0b HTTP/1.1\r\n\r\n"s, 400},
      {with("A: b\r\n folded"), 400},
      {with(" A: b"), 400},
      {with("A : b"), 400},
      {with(": b"), 400},
      {with("A b"), 400},
      {with("A: b\x01"), 400},
      {with("A: b\x7f"), 400},
      {with("Host: a\r\nHost: a"), 400},
      {with("Content-Length: 1\r\nTransfer-Encoding: chunked"), 400},
      {with("Content-Length: 1\r\nContent-Length: 2"), 400},
      {with("Content-Length: -1"), 400},
      {with("Content-Length: 1, 1"), 400},
      {with("Content-Length: 99999999999999999999"), 400},
      {with("Transfer-Encoding: gzip, chunked"), 501},
      {"GET /" + std::string(kMaxHead, 'a'), 414},
      {with("A: " + std::string(kMaxHead, 'a')), 431},
  };
  for (const auto& [head, status] : rows) {
    auto request = read_whole(head);
    ASSERT_FALSE(request) << head.substr(0, 80);
    EXPECT_EQ(request.error().status, status) << head.substr(0, 80) << ": " << request.error().text;
    EXPECT_FALSE(request.error().text.empty());
  }
}

TEST(HttpHead, TakesSixtyFourHeadersAndNoMore) {
  std::string head = "GET http://a/ HTTP/1.1\r\n";
  for (std::size_t i = 0; i < kMaxHeaders; ++i) head += "A: b\r\n";
  EXPECT_TRUE(read_whole(head + "\r\n"));
  auto request = read_whole(head + "A: b\r\n\r\n");
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().status, 431);
}

TEST(HttpBody, EndsWhereItsLengthSays) {
  EXPECT_EQ(BodyFramer::none().take("GET http://next/"), 0u);
  auto body = BodyFramer::of_length(5);
  EXPECT_EQ(body.take("abc"), 3u);
  EXPECT_FALSE(body.is_done());
  EXPECT_EQ(body.take("deGET http://next/"), 2u);
  EXPECT_TRUE(body.is_done());
  EXPECT_EQ(body.take("more"), 0u);
}

TEST(HttpBody, EndsWhereItsLastChunkSaysAtEverySplit) {
  const std::string bytes = "3;ext=1\r\nabc\r\n00000A\r\n0\r\n\r\n67890\r\n0\r\nTrailer: x\r\n\r\n";
  for (std::size_t split = 0; split <= bytes.size(); ++split) {
    auto body = BodyFramer::chunked();
    EXPECT_EQ(body.take(bytes.substr(0, split)), split);
    EXPECT_EQ(body.take(bytes.substr(split) + "GET "), bytes.size() - split) << split;
    EXPECT_TRUE(body.is_done());
  }
}

TEST(HttpBody, RefusesBrokenChunks) {
  for (std::string bad :
       {"x", "\r\n", "3\nabc", "3\r\nabcd", "3\r\nabc\n", "1234567890123456\r\n", "-1\r\n", "0\r\n\n"})
    EXPECT_FALSE(BodyFramer::chunked().take(bad)) << bad;
}

TEST(HttpReply, SaysItsLengthAndThatItIsTheLast) {
  EXPECT_EQ(error_reply(403, "no"),
            "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n"
            "Connection: close\r\n\r\nno\n");
}

}  // namespace
}  // namespace dongle::http
