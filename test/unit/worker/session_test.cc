#include "worker/session.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "worker/session_table.h"

namespace dongle {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

// Real sockets on the loopback device, which plays the modem; no step waits for longer than the kernel needs.
class SessionTest : public testing::Test {
 protected:
  SessionTest() {
    context.egress = {"lo", IfIndex{1}, Address::parse("127.0.0.1").value(), std::nullopt};
    resolver.set_egress(context.egress, {});
    context.guard.set_exceptions({Prefix::parse("127.0.0.0/8").value()});
    context.on_dial = [this](std::string_view reason) { dials.emplace_back(reason); };
    server = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_storage address{};
    socklen_t size = Endpoint::parse("127.0.0.1:1").value().to_sockaddr(address);
    reinterpret_cast<sockaddr_in&>(address).sin_port = 0;
    EXPECT_EQ(bind(server.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(server.get(), 16), 0);
    getsockname(server.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port = Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&address)).port;
  }

  UniqueFd connect_client(const Address& peer = Address::v4(0x7f000001)) {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    sessions.accept(UniqueFd(pair[0]), peer);
    return UniqueFd(pair[1]);
  }

  template <class Condition>
  void run_until(Condition done) {
    auto deadline = UvLoop::now() + Seconds{5};
    bool is_done = done();
    while (!is_done && UvLoop::now() < deadline) {
      uv_run(loop.raw(), UV_RUN_NOWAIT);
      is_done = done();
    }
    ASSERT_TRUE(is_done);
  }

  static void put(const UniqueFd& fd, std::string_view bytes) {
    ASSERT_EQ(send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }

  /// All that comes until the other side closes.
  std::string read_to_end(const UniqueFd& fd) {
    std::string out;
    bool ended = false;
    run_until([&] {
      char buffer[65536];
      ssize_t n;
      while ((n = recv(fd.get(), buffer, sizeof buffer, 0)) > 0) out.append(buffer, static_cast<std::size_t>(n));
      ended = n == 0 || errno != EAGAIN;
      return ended;
    });
    return out;
  }
  std::string read_some(const UniqueFd& fd, std::size_t size) {
    std::string out(size, '\0');
    std::size_t have = 0;
    run_until([&] {
      ssize_t n = recv(fd.get(), out.data() + have, size - have, 0);
      if (n > 0) have += static_cast<std::size_t>(n);
      return have == size;
    });
    return out;
  }
  UniqueFd accept_at_server() {
    UniqueFd fd;
    run_until([&] {
      fd.reset(accept4(server.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      return static_cast<bool>(fd);
    });
    return fd;
  }

  std::string socks_connect(std::uint16_t to_port, std::string_view address = "\x7f\x00\x00\x01"sv) {
    return "\x05\x01\x00\x05\x01\x00\x01"s + std::string(address) + static_cast<char>(to_port >> 8) +
           static_cast<char>(to_port & 0xff);
  }
  std::uint64_t closed(CloseReason reason) { return context.counters.closed[static_cast<std::size_t>(reason)]; }
  std::uint64_t closed_in_all() {
    std::uint64_t sum = 0;
    for (auto n : context.counters.closed) sum += n;
    return sum;
  }

  UvLoop loop;
  Poller poller{loop};
  Resolver resolver{loop};
  SessionContext context{loop, poller, resolver};
  SessionTable sessions{context};
  UniqueFd server;
  std::uint16_t port = 0;
  std::vector<std::string> dials;
};

TEST_F(SessionTest, ServesASocksClientThatSendsEverythingAtOnce) {
  auto client = connect_client();
  put(client, socks_connect(port) + "hello");
  shutdown(client.get(), SHUT_WR);
  auto peer = accept_at_server();
  EXPECT_EQ(read_to_end(peer), "hello");
  put(peer, "world");
  peer.reset();
  auto answer = read_to_end(client);
  ASSERT_EQ(answer.size(), 2 + 10 + 5u);
  EXPECT_EQ(answer.substr(0, 10), "\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01"s);
  EXPECT_EQ(answer.substr(12), "world");
  run_until([&] { return sessions.open() == 0; });
  EXPECT_EQ(closed(CloseReason::client_eof), 1u);
  EXPECT_EQ(context.counters.rx_bytes, 5u);
  EXPECT_EQ(context.counters.tx_bytes, 5u);
  EXPECT_EQ(dials, std::vector<std::string>{""});
}

TEST_F(SessionTest, ServesASocksClientThatSendsByteByByte) {
  auto client = connect_client();
  for (char c : socks_connect(port)) {
    put(client, {&c, 1});
    uv_run(loop.raw(), UV_RUN_NOWAIT);
  }
  auto peer = accept_at_server();
  EXPECT_EQ(read_some(client, 12).substr(0, 4), "\x05\x00\x05\x00"s);
  put(peer, "x");
  EXPECT_EQ(read_some(client, 1), "x");
}

TEST_F(SessionTest, TunnelsWhatIsGluedBehindConnect) {
  auto client = connect_client();
  put(client, fmt::format("CONNECT 127.0.0.1:{} HTTP/1.1\r\nHost: x\r\n\r\nglued", port));
  auto peer = accept_at_server();
  EXPECT_EQ(read_some(peer, 5), "glued");
  peer.reset();
  shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(read_to_end(client), "HTTP/1.1 200 Connection established\r\n\r\n");
}

TEST_F(SessionTest, SendsNoSecondRequestToTheServerOfTheFirst) {
  auto client = connect_client();
  put(client, fmt::format("POST http://127.0.0.1:{}/a HTTP/1.1\r\nContent-Length: 4\r\n\r\nbo", port));
  auto peer = accept_at_server();
  put(client, "dyGET http://elsewhere/ HTTP/1.1\r\n\r\n");
  shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(read_to_end(peer),
            fmt::format("POST /a HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody",
                        port));
  put(peer, "HTTP/1.1 204 No Content\r\n\r\n");
  peer.reset();
  EXPECT_EQ(read_to_end(client), "HTTP/1.1 204 No Content\r\n\r\n");
}

TEST_F(SessionTest, MovesManyBytesExactlyThoughTheReaderIsSlow) {
  auto client = connect_client();
  put(client, socks_connect(port));
  auto peer = accept_at_server();
  read_some(client, 12);
  std::string data(4 << 20, '\0');
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 2654435761u >> 13);
  std::size_t sent = 0;
  auto feed = [&] {
    ssize_t n = send(peer.get(), data.data() + sent, data.size() - sent, MSG_NOSIGNAL);
    if (n > 0) sent += static_cast<std::size_t>(n);
    uv_run(loop.raw(), UV_RUN_NOWAIT);
    return n > 0;
  };
  while (feed()) {
  }
  EXPECT_LT(context.counters.rx_bytes, data.size()) << "what the client didn't take isn't counted";
  std::string got;
  run_until([&] {
    if (sent < data.size()) feed();
    char buffer[30011];
    ssize_t n = recv(client.get(), buffer, sizeof buffer, 0);
    if (n > 0) got.append(buffer, static_cast<std::size_t>(n));
    return got.size() == data.size();
  });
  EXPECT_TRUE(got == data);
  EXPECT_EQ(context.counters.rx_bytes, data.size());
}

TEST_F(SessionTest, AnswersEachRefusalAndCountsItOnce) {
  auto refuse = [&](const std::string& request) {
    auto client = connect_client();
    put(client, request);
    return read_to_end(client);
  };
  EXPECT_EQ(refuse("\x04\x01\x00\x50\x01\x02\x03\x04\x00"s), "\x00\x5b\0\0\0\0\0\0"s);
  EXPECT_EQ(refuse("\x16\x03\x01"s), "");
  EXPECT_EQ(refuse("\x05\x01\x02"s), "\x05\xff"s);
  EXPECT_EQ(refuse(socks_connect(80, "\x0a\x00\x00\x01"sv)), "\x05\x00\x05\x02\x00\x01\0\0\0\0\0\0"s);
  EXPECT_EQ(refuse(socks_connect(0)), "\x05\x00\x05\x01\x00\x01\0\0\0\0\0\0"s);
  EXPECT_EQ(refuse("GET http://10.0.0.1/ HTTP/1.1\r\n\r\n").substr(0, 12), "HTTP/1.1 403");
  EXPECT_EQ(refuse("GET http://name.example/ HTTP/1.1\r\n\r\n").substr(0, 12), "HTTP/1.1 502");  // no name servers
  server.reset();
  EXPECT_EQ(refuse(socks_connect(port)), "\x05\x00\x05\x05\x00\x01\0\0\0\0\0\0"s);
  context.egress = {};
  EXPECT_EQ(refuse(socks_connect(port)), "\x05\x00\x05\x03\x00\x01\0\0\0\0\0\0"s);
  EXPECT_EQ(refuse("CONNECT 1.1.1.1:80 HTTP/1.1\r\n\r\n").substr(0, 12), "HTTP/1.1 503");
  run_until([&] { return sessions.open() == 0; });
  EXPECT_EQ(closed_in_all(), 10u);
  EXPECT_EQ(closed(CloseReason::unsupported), 3u);
  EXPECT_EQ(closed(CloseReason::destination_refused), 2u);
  EXPECT_EQ(closed(CloseReason::no_device), 2u);
  EXPECT_EQ(dials, (std::vector<std::string>{"dns_failed", "", "no_device", "no_device"}));
}

TEST_F(SessionTest, RefusesToDialBySomeOtherDevice) {
  context.egress.ifindex = IfIndex{99999};  // "lo" isn't that one
  auto client = connect_client();
  put(client, socks_connect(port));
  EXPECT_EQ(read_to_end(client).substr(2, 2), "\x05\x03"s);
  EXPECT_EQ(accept4(server.get(), nullptr, nullptr, 0), -1);
}

TEST_F(SessionTest, ADeviceWithoutLinkRefusesWhatIsNewOrStillConnectingAndKeepsTheRest) {
  auto established = connect_client();
  put(established, socks_connect(port));
  auto peer = accept_at_server();
  read_some(established, 12);
  context.guard.set_exceptions({Prefix::parse("192.0.2.0/24").value()});
  auto connecting = connect_client();
  put(connecting, socks_connect(80, "\xc0\x00\x02\x01"sv));  // loopback answers to no such address
  EXPECT_EQ(read_some(connecting, 2), "\x05\x00"s);

  context.link_up = false;
  sessions.stop_connecting(CloseReason::link_down);
  EXPECT_EQ(read_to_end(connecting).substr(0, 2), "\x05\x03"s);
  connecting.reset();
  auto fresh = connect_client();
  put(fresh, socks_connect(80, "\xc0\x00\x02\x01"sv));
  EXPECT_EQ(read_to_end(fresh).substr(2, 2), "\x05\x03"s);
  fresh.reset();
  put(peer, "still here");
  EXPECT_EQ(read_some(established, 10), "still here");
  EXPECT_EQ(closed(CloseReason::link_down), 2u);
  EXPECT_EQ(dials, (std::vector<std::string>{"", "link_down", "link_down"}));
}

TEST_F(SessionTest, ServesAProbeWhereAClientMayNotGoAndCountsNothing) {
  context.guard.set_exceptions({});
  context.refuse_clients = true;
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
  sessions.serve_probe(UniqueFd(pair[0]));
  UniqueFd probe(pair[1]);
  put(probe, socks_connect(port) + "ping");
  auto peer = accept_at_server();
  EXPECT_EQ(read_some(peer, 4), "ping");
  EXPECT_EQ(sessions.open(), 0u);
  EXPECT_EQ(context.counters.tx_bytes, 0u);
  EXPECT_TRUE(dials.empty());
  sessions.end_all(CloseReason::device_gone);
  EXPECT_EQ(closed_in_all(), 0u);
}

TEST_F(SessionTest, EndsAllWithAResetOnBothSides) {
  auto client = connect_client();
  put(client, socks_connect(port));
  auto peer = accept_at_server();
  read_some(client, 12);
  sessions.end_all(CloseReason::rotation);
  EXPECT_EQ(sessions.open(), 0u);
  EXPECT_EQ(closed(CloseReason::rotation), 1u);
  char byte;
  run_until([&] { return recv(peer.get(), &byte, 1, 0) == -1 && errno == ECONNRESET; });
}

TEST_F(SessionTest, EndsWhenTheClientLeavesInTheHandshake) {
  auto client = connect_client();
  put(client, socks_connect(port).substr(0, 9));
  client.reset();
  run_until([&] { return sessions.open() == 0; });
  EXPECT_EQ(closed(CloseReason::client_gone), 1u);
}

TEST_F(SessionTest, CallsTheDialOffWhenTheClientLeaves) {
  // A server whose queue is full doesn't answer: the dial hangs.
  listen(server.get(), 0);
  auto filler = connect_client(), waiting = connect_client();
  put(filler, socks_connect(port));
  read_some(filler, 12);
  put(waiting, socks_connect(port));
  EXPECT_EQ(read_some(waiting, 2), "\x05\x00"s);
  EXPECT_EQ(sessions.open(), 2u);
  waiting.reset();
  run_until([&] { return sessions.open() == 1; });
  EXPECT_EQ(closed(CloseReason::client_gone), 1u);
  EXPECT_EQ(dials, std::vector<std::string>{""});
}

TEST_F(SessionTest, EndsAHandshakeAndAnIdleRelayInTime) {
  context.handshake_timeout = Millis{1};
  auto silent = connect_client();
  auto half = connect_client();
  put(half, "GET http");
  uv_run(loop.raw(), UV_RUN_NOWAIT);
  EXPECT_EQ(read_to_end(silent), "");
  half.reset();
  run_until([&] { return sessions.open() == 0; });
  context.handshake_timeout = Seconds{10};
  context.idle_timeout = Millis{1};
  auto idle = connect_client();
  put(idle, socks_connect(port));
  auto peer = accept_at_server();
  run_until([&] { return sessions.open() == 0; });
  EXPECT_EQ(closed(CloseReason::idle_timeout), 1u);
  EXPECT_GE(closed(CloseReason::handshake_timeout), 1u);
}

TEST_F(SessionTest, HoldsClientsToTheirLimitsAndTheList) {
  SessionTable::Limits limits;
  limits.clients = {Prefix::parse("10.0.0.0/8").value()};
  limits.max_connections = 3;
  limits.max_per_client = 2;
  sessions.set_limits(limits);
  auto one = Address::parse("10.0.0.1").value(), two = Address::parse("10.0.0.2").value();
  std::vector<UniqueFd> kept;
  for (const auto& peer : {one, one, one, two, two, Address::parse("192.0.2.1").value()})
    kept.push_back(connect_client(peer));
  EXPECT_EQ(sessions.open(), 3u);
  EXPECT_EQ(closed(CloseReason::client_limit), 1u);
  EXPECT_EQ(closed(CloseReason::connection_limit), 1u);
  EXPECT_EQ(closed(CloseReason::client_denied), 1u);
  kept.front().reset();
  run_until([&] { return sessions.open() == 2; });
  kept.push_back(connect_client(one));
  EXPECT_EQ(sessions.open(), 3u);
}

}  // namespace
}  // namespace dongle
