#include "supervisor/curl_loop.h"

#include <gtest/gtest.h>

#include "common/bind_device.h"
#include "test/support/fake_http_server.h"

namespace dongle {
namespace {

Result<UniqueFd> loopback_socket(int family) {
  UniqueFd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (auto bound = bind_to_device(fd.get(), "lo"); !bound) return std::unexpected(bound.error());
  return fd;
}

struct CurlLoopTest : testing::Test {
  CurlLoop::Options options(std::string url) {
    CurlLoop::Options o;
    o.url = std::move(url);
    o.open_socket = loopback_socket;
    return o;
  }
  /// Runs one fetch to its end.
  Result<CurlLoop::Response> fetch(CurlLoop::Options o) {
    std::optional<Result<CurlLoop::Response>> result;
    auto request = curl.fetch(std::move(o), [&result](Result<CurlLoop::Response> r) { result = std::move(r); });
    EXPECT_FALSE(result) << "called back before fetch() returned";
    if (!run_until(loop, [&] { return result.has_value(); })) return fail(Errc::Cancelled, "never called back");
    return *result;
  }
  Errc error_of(CurlLoop::Options o) {
    auto result = fetch(std::move(o));
    EXPECT_FALSE(result);
    return result ? Errc::Io : result.error().code;
  }

  UvLoop loop;
  CurlLoop curl{loop};
};

TEST_F(CurlLoopTest, GetsAndPosts) {
  FakeHttpServer server(loop, [](const HttpRequest& r) -> std::optional<std::string> {
    return http_reply(r.method + " " + r.body, "X-One: 1\r\nx-TWO:  two \r\nX-One: 3\r\n", "201 Created");
  });
  auto got = fetch(options(server.url("/a?b=c")));
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(got->status, 201);
  EXPECT_EQ(got->body, "GET ");
  EXPECT_EQ(got->header("x-one"), "1");
  EXPECT_EQ(got->header("x-two"), "two");
  EXPECT_EQ(got->headers.at(2).second, "3");
  EXPECT_EQ(server.seen().at(0).path, "/a?b=c");

  auto post = options(server.url("/"));
  post.body = "<a/>";
  post.headers = {"X-Mine: yes"};
  EXPECT_EQ(fetch(post)->body, "POST <a/>");
  EXPECT_EQ(server.seen().at(1).headers.at("x-mine"), "yes");
  EXPECT_FALSE(server.seen().at(1).headers.contains("expect"));
}

TEST_F(CurlLoopTest, OpensAConnectionForEachFetch) {
  FakeHttpServer server(loop, [](const HttpRequest&) { return http_reply("x"); });
  int opened = 0;
  for (int i = 0; i < 3; ++i) {
    auto o = options(server.url("/"));
    o.open_socket = [&opened](int family) {
      ++opened;
      return loopback_socket(family);
    };
    EXPECT_TRUE(fetch(o));
  }
  EXPECT_EQ(opened, 3);
}

TEST_F(CurlLoopTest, TellsFailuresApart) {
  std::optional<std::string> reply;
  FakeHttpServer server(loop, [&reply](const HttpRequest&) { return reply; });

  auto slow = options(server.url("/"));
  slow.timeout = Millis{20};
  EXPECT_EQ(error_of(slow), Errc::Timeout);

  for (const char* end : {"", FakeHttpServer::kReset}) {
    reply = end;
    auto closed = fetch(options(server.url("/")));
    ASSERT_FALSE(closed);
    EXPECT_EQ(closed.error().code, Errc::Refused) << closed.error().message();
    EXPECT_EQ(closed.error().sys, ECONNRESET);
  }

  for (const char* not_http : {"garbage\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
                               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    reply = not_http;
    EXPECT_EQ(error_of(options(server.url("/"))), Errc::Protocol) << not_http;
  }

  auto refused = options("http://127.0.0.1:1/");
  EXPECT_EQ(error_of(refused), Errc::Refused);

  auto no_socket = options(server.url("/"));
  no_socket.open_socket = [](int) -> Result<UniqueFd> { return fail(Errc::Unreachable, "no such device"); };
  auto unreachable = fetch(no_socket);
  ASSERT_FALSE(unreachable);
  EXPECT_EQ(unreachable.error().code, Errc::Unreachable);
  EXPECT_EQ(unreachable.error().message(), "no such device");
}

TEST_F(CurlLoopTest, BoundsWhatItTakes) {
  std::string reply;
  FakeHttpServer server(loop, [&reply](const HttpRequest&) { return std::optional(reply); });
  auto small = options(server.url("/"));
  small.max_body = 1000;
  reply = http_reply(std::string(1000, 'x'));
  EXPECT_TRUE(fetch(small));
  reply = http_reply(std::string(1001, 'x'));
  EXPECT_EQ(error_of(small), Errc::Full);
  reply = http_reply(std::string((1 << 20) + 1, 'x'));
  EXPECT_EQ(error_of(options(server.url("/"))), Errc::Full);
  reply = http_reply("x", "Set-Cookie: " + std::string(70 << 10, 'x') + "\r\n");
  EXPECT_EQ(error_of(options(server.url("/"))), Errc::Full);
}

TEST_F(CurlLoopTest, ResolvesNothingAndFollowsNothing) {
  EXPECT_EQ(error_of(options("http://localhost/")), Errc::InvalidArgument);
  EXPECT_EQ(error_of(options("http://192.168.8.1.example/")), Errc::InvalidArgument);
  EXPECT_EQ(error_of(options("ftp://127.0.0.1/")), Errc::Protocol);
  EXPECT_EQ(error_of(options("")), Errc::InvalidArgument);

  FakeHttpServer server(loop, [](const HttpRequest&) { return http_reply("", "Location: /there\r\n", "302 Found"); });
  EXPECT_EQ(fetch(options(server.url("/")))->status, 302);
  EXPECT_EQ(server.seen().size(), 1u);
}

TEST_F(CurlLoopTest, IgnoresTheEnvironmentsProxy) {
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  FakeHttpServer server(loop, [](const HttpRequest&) { return http_reply("direct"); });
  auto got = fetch(options(server.url("/")));
  unsetenv("http_proxy");
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(got->body, "direct");
}

TEST_F(CurlLoopTest, CancelsWhenTheRequestIsDestroyed) {
  FakeHttpServer server(loop, [](const HttpRequest&) { return std::nullopt; });
  bool called = false;
  auto request = curl.fetch(options(server.url("/")), [&called](auto) { called = true; });
  ASSERT_TRUE(run_until(loop, [&] { return server.seen().size() == 1; }));
  request.reset();
  ASSERT_TRUE(run_until(loop, [&] { return server.open() == 0; }));
  EXPECT_FALSE(called);
}

TEST_F(CurlLoopTest, LetsARequestDieInItsOwnCallbackAndStartTheNext) {
  FakeHttpServer server(loop, [](const HttpRequest&) { return http_reply("x"); });
  std::unique_ptr<CurlLoop::Request> request;
  int done = 0;
  std::function<void(Result<CurlLoop::Response>)> again = [&](Result<CurlLoop::Response>) {
    request.reset();
    if (++done < 3) request = curl.fetch(options(server.url("/")), again);
  };
  request = curl.fetch(options(server.url("/")), again);
  EXPECT_TRUE(run_until(loop, [&] { return done == 3; }));
}

/// The other end of the stream: speaks SOCKS5, then HTTP.
struct SocksPeer {
  SocksPeer(UvLoop& uv, char reply_code) : loop(uv), code(reply_code) {}
  void on_readable() {
    char buffer[4096];
    const ssize_t got = recv(ours.get(), buffer, sizeof buffer, 0);
    if (got <= 0) {
      closed = true;
      poll->set_events(0);
      return;
    }
    in.append(buffer, static_cast<std::size_t>(got));
    if (stage == 0 && in.size() >= 2 && in.size() >= 2u + static_cast<unsigned char>(in[1])) {
      in.clear();
      stage = 1;
      put(std::string("\x05\x00", 2));
    } else if (stage == 1 && in.size() >= 5 && in.size() >= 7u + static_cast<unsigned char>(in[4])) {
      target = in;
      in.clear();
      stage = 2;
      put(std::string("\x05") + code + std::string("\x00\x01\x00\x00\x00\x00\x00\x00", 8));
    } else if (stage == 2) {
      if (auto request = parse_http_request(in)) put(http_reply("host=" + request->headers["host"]));
    }
  }
  void put(const std::string& bytes) {
    CHECK(send(ours.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  }
  CurlLoop::Options options(std::string url) {
    CurlLoop::Options o;
    o.url = std::move(url);
    o.route = CurlLoop::Route::OverSocks5;
    o.take_peer = [this](UniqueFd fd) -> Result<void> {
      ours = std::move(fd);
      if (!silent) poll = std::make_unique<Poll>(loop, ours.get(), UV_READABLE, [this](int, int) { on_readable(); });
      return {};
    };
    return o;
  }
  UvLoop& loop;
  char code;
  bool silent = false;
  UniqueFd ours;
  std::string in, target;
  int stage = 0;
  bool closed = false;
  std::unique_ptr<Poll> poll;
};

TEST_F(CurlLoopTest, FetchesOverAConnectedSocks5StreamWithoutResolving) {
  SocksPeer peer(loop, 0);
  auto got = fetch(peer.options("http://does-not.exist.example/x"));
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(got->body, "host=does-not.exist.example");
  EXPECT_EQ(peer.target,
            std::string("\x05\x01\x00\x03\x16", 5) + "does-not.exist.example" + std::string("\x00\x50", 2));
  EXPECT_TRUE(run_until(loop, [&] { return peer.closed; }));
}

TEST_F(CurlLoopTest, HandsOnWhatTheSocks5PeerSaid) {
  const std::pair<char, Errc> rows[] = {{1, Errc::Unreachable}, {2, Errc::Refused}, {3, Errc::Unreachable},
                                        {4, Errc::Unreachable}, {5, Errc::Refused}, {6, Errc::Timeout},
                                        {7, Errc::Protocol}};
  for (const auto& [code, expected] : rows) {
    SocksPeer peer(loop, code);
    EXPECT_EQ(error_of(peer.options("http://example.com/")), expected) << static_cast<int>(code);
  }
}

TEST_F(CurlLoopTest, FailsAsTheTakerOfThePeerDoes) {
  SocksPeer peer(loop, 0);
  auto o = peer.options("http://example.com/");
  o.take_peer = [](UniqueFd) -> Result<void> { return fail(Errc::Busy, "no worker"); };
  EXPECT_EQ(error_of(o), Errc::Busy);
}

TEST_F(CurlLoopTest, TimesOutOnASilentSocks5Peer) {
  SocksPeer peer(loop, 0);
  peer.silent = true;
  auto o = peer.options("http://example.com/");
  o.timeout = Millis{20};
  EXPECT_EQ(error_of(o), Errc::Timeout);
}

}  // namespace
}  // namespace dongle
