#include "common/ipc_channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/support/run_until.h"

namespace dongle {
namespace {

using ::testing::HasSubstr;

struct Pair {
  UniqueFd a, b;
};
Pair socket_pair() {
  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

struct IpcChannelTest : testing::Test {
  UvLoop loop;
  Pair pair = socket_pair();
  std::vector<IpcMessage> messages;
  std::vector<UniqueFd> fds;
  std::vector<Error> closed;
  std::unique_ptr<IpcChannel> channel =
      std::make_unique<IpcChannel>(loop, std::move(pair.a),
                                   IpcChannel::Handlers{[this](IpcMessage m, std::vector<UniqueFd> f) {
                                                          messages.push_back(std::move(m));
                                                          for (UniqueFd& fd : f) fds.push_back(std::move(fd));
                                                        },
                                                        [this](const Error& error) { closed.push_back(error); }});
  void peer_sends(std::string_view bytes) {
    ASSERT_EQ(send(pair.b.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }
};

TEST_F(IpcChannelTest, PassesMessagesInOrderWithTheirDescriptors) {
  IpcChannel peer(loop, std::move(pair.b), {});
  int pipe_ends[2];
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
  UniqueFd reader(pipe_ends[0]), writer(pipe_ends[1]);
  ASSERT_TRUE(peer.send(DropConnections{"rotation"}));
  ASSERT_TRUE(peer.send(ServeProbe{}, {writer.get()}));
  writer.reset();
  ASSERT_TRUE(run_until(loop, [&] { return messages.size() == 2; }));
  EXPECT_EQ(messages[0], IpcMessage(DropConnections{"rotation"}));
  EXPECT_EQ(messages[1], IpcMessage(ServeProbe{}));
  ASSERT_EQ(fds.size(), 1u);
  ASSERT_EQ(write(fds[0].get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(read(reader.get(), &byte, 1), 1) << "it is the same pipe";
}

TEST_F(IpcChannelTest, TellsOnceThatThePeerIsGone) {
  peer_sends(encode_ipc(DropConnections{"rotation"}));
  pair.b.reset();
  ASSERT_TRUE(run_until(loop, [&] { return !closed.empty(); }));
  EXPECT_EQ(messages.size(), 1u) << "what it said before still arrives";
  EXPECT_EQ(closed[0].code, Errc::Cancelled);
  EXPECT_FALSE(channel->send(ServeProbe{}));
  EXPECT_EQ(closed.size(), 1u);
}

TEST_F(IpcChannelTest, ClosesOnGarbageAndOnMessagesOverTheLimit) {
  const std::string rubbish[] = {"hello", "{}", "[[[[", R"({"type":"launch_rocket"})",
                                 std::string(kIpcMaxMessage + 1, ' ')};
  for (const std::string& bytes : rubbish) {
    pair = socket_pair();
    closed.clear();
    channel = std::make_unique<IpcChannel>(
        loop, std::move(pair.a), IpcChannel::Handlers{{}, [this](const Error& error) { closed.push_back(error); }});
    int room = 4 * static_cast<int>(kIpcMaxMessage);
    setsockopt(pair.b.get(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    peer_sends(bytes);
    peer_sends(encode_ipc(ServeProbe{}));
    ASSERT_TRUE(run_until(loop, [&] { return !closed.empty(); })) << bytes.substr(0, 40);
    EXPECT_EQ(closed.size(), 1u) << bytes.substr(0, 40);
  }
}

TEST_F(IpcChannelTest, RefusesToSendMoreThanAMessageHolds) {
  auto sent = channel->send(DropConnections{std::string(kIpcMaxMessage, 'x')});
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::InvalidArgument);
  EXPECT_TRUE(channel->send(ServeProbe{})) << "the channel is none the worse";
}

TEST_F(IpcChannelTest, SaysFullWhenThePeerDoesNotRead) {
  Result<void> sent;
  for (int i = 0; i < 100'000 && sent; ++i) sent = channel->send(DropConnections{std::string(1000, 'x')});
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::Full);
  EXPECT_TRUE(closed.empty()) << "what to do about it is the owner's decision";
}

TEST_F(IpcChannelTest, MayBeDestroyedInEitherHandler) {
  for (bool in_message : {true, false}) {
    pair = socket_pair();
    int called = 0;
    auto destroy = [&] { ++called, channel.reset(); };
    channel = std::make_unique<IpcChannel>(
        loop, std::move(pair.a),
        IpcChannel::Handlers{[&, destroy](IpcMessage, std::vector<UniqueFd>) { destroy(); },
                             [&, destroy](const Error&) { destroy(); }});
    if (in_message) peer_sends(encode_ipc(ServeProbe{})), peer_sends(encode_ipc(ServeProbe{}));
    pair.b.reset();
    ASSERT_TRUE(run_until(loop, [&] { return !channel; }));
    EXPECT_EQ(called, 1) << "nothing follows";
  }
}

TEST_F(IpcChannelTest, ClosesDescriptorsThatNobodyTakes) {
  IpcChannel peer(loop, std::move(pair.b), {});
  channel.reset();
  pair = socket_pair();
  int got = 0;
  channel = std::make_unique<IpcChannel>(loop, std::move(pair.a),
                                         IpcChannel::Handlers{[&](IpcMessage, std::vector<UniqueFd>) { ++got; }, {}});
  IpcChannel sender(loop, std::move(pair.b), {});
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  UniqueFd reader(ends[0]), writer(ends[1]);
  ASSERT_TRUE(sender.send(LogFile{}, {writer.get()}));
  writer.reset();
  ASSERT_TRUE(run_until(loop, [&] { return got == 1; }));
  char byte;
  EXPECT_EQ(read(reader.get(), &byte, 1), 0) << "the last writer is closed";
}

}  // namespace
}  // namespace dongle
