#include "worker/relay.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

namespace dongle {
namespace {

// Socket pairs stand for both sides: their buffers are small and of known size.
class RelayTest : public testing::Test, protected Poller::Sink {
 protected:
  RelayTest() {
    Relay::Start start;
    start.client = make_side(client);
    start.server = make_side(server);
    start.to_client = "reply";
    start.to_server = "early";
    start.client_events = EPOLLIN;
    relay = std::make_unique<Relay>(loop, poller, buffer, &counters, std::move(start), [this](CloseReason reason) {
      ended = reason;
      relay.reset();
    });
    relay->run();
  }

  std::unique_ptr<PolledSocket> make_side(UniqueFd& other_end) {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    other_end.reset(pair[0]);
    return std::move(poller.add(UniqueFd(pair[1]), *this).value());
  }
  void on_ready(PolledSocket&, std::uint32_t) override { FAIL() << "the relay has the sockets"; }

  void turn() {
    for (int i = 0; i < 10; ++i) uv_run(loop.raw(), UV_RUN_NOWAIT);
  }
  static std::string read_now(const UniqueFd& fd) {
    std::string out(1 << 20, '\0');
    ssize_t n = recv(fd.get(), out.data(), out.size(), 0);
    out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return out;
  }
  static bool at_end(const UniqueFd& fd) {
    char byte;
    return recv(fd.get(), &byte, 1, 0) == 0;
  }

  UvLoop loop;
  Poller poller{loop};
  std::vector<char> buffer = std::vector<char>(Relay::kReadSize);
  Counters counters;
  UniqueFd client, server;
  std::unique_ptr<Relay> relay;
  std::optional<CloseReason> ended;
};

TEST_F(RelayTest, SendsWhatWaitsFirstAndCountsOnlyPayload) {
  EXPECT_EQ(read_now(client), "reply");
  EXPECT_EQ(read_now(server), "early");
  EXPECT_EQ(counters.rx_bytes, 0u);
  EXPECT_EQ(counters.tx_bytes, 5u);
}

TEST_F(RelayTest, StopsReadingWhatTheOtherSideDoesNotTake) {
  const std::string block(64 * 1024, 'x');
  std::size_t sent = 0;
  while (true) {
    turn();
    ssize_t n = send(server.get(), block.data(), block.size(), MSG_NOSIGNAL);
    if (n < 0) break;
    sent += static_cast<std::size_t>(n);
    ASSERT_LT(sent, 16u << 20) << "the relay swallows everything";
  }
  EXPECT_LT(sent - counters.rx_bytes, 1u << 20);
  shutdown(server.get(), SHUT_WR);
  std::size_t got = 0;
  for (std::string part = read_now(client); !part.empty(); part = read_now(client)) {
    got += part.size();
    turn();
  }
  EXPECT_EQ(got, std::string("reply").size() + sent);
  EXPECT_EQ(counters.rx_bytes, sent);
  EXPECT_TRUE(at_end(client));
  EXPECT_FALSE(ended) << "the client may still speak";
  send(client.get(), "late", 4, 0);
  turn();
  EXPECT_EQ(read_now(server), "earlylate");
  shutdown(client.get(), SHUT_WR);
  turn();
  EXPECT_EQ(ended, CloseReason::server_eof);
}

TEST_F(RelayTest, PassesAnEndOnBehindTheDataAndWaitsForTheOther) {
  read_now(client);
  send(client.get(), "last", 4, 0);
  shutdown(client.get(), SHUT_WR);
  turn();
  EXPECT_EQ(read_now(server), "earlylast");
  EXPECT_TRUE(at_end(server));
  EXPECT_TRUE(relay->is_half_open());
  EXPECT_FALSE(ended);
  send(server.get(), "answer", 6, 0);
  server.reset();
  turn();
  EXPECT_EQ(read_now(client), "answer");
  EXPECT_EQ(ended, CloseReason::client_eof);
}

TEST_F(RelayTest, EndsAtOnceWhenTheClientIsGoneWithBytesOnTheirWay) {
  client.reset();  // unread: "reply"; on a pair that is a reset
  turn();
  EXPECT_EQ(ended, CloseReason::client_reset);
}

}  // namespace
}  // namespace dongle
