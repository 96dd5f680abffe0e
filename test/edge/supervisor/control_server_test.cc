#include "supervisor/control_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <filesystem>

#include "test/support/run_until.h"

namespace dongle {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ControlServerTest : public testing::Test {
 protected:
  ControlServerTest() {
    std::string pattern = testing::TempDir() + "control-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    auto listening = ControlServer::listen(loop, path(), [this](const Json& request, ControlServer::CallPtr call) {
      ++asked;
      std::string verb = json_string(request, "verb");
      if (verb == "echo") return call->reply(request);
      if (verb == "keep") return kept.push_back(std::move(call));
      if (verb == "drop") return;
      call->reply_error("invalid_request", "unknown verb");
    });
    EXPECT_TRUE(listening);
    server = std::move(*listening);
  }
  ~ControlServerTest() override {
    server.reset();
    std::filesystem::remove_all(folder_);
  }
  std::string path() const { return folder_ + "/control.sock"; }

  UniqueFd connect_client() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  /// Writes all of it while the server runs; false if the server doesn't take it.
  bool say(const UniqueFd& fd, std::string_view text) {
    return run_until(loop, [&] {
      ssize_t n = send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
      return text.empty();
    });
  }
  /// The next `count` lines; fewer if they don't come or the server hangs up.
  std::vector<Json> hear(const UniqueFd& fd, std::size_t count) {
    std::vector<Json> lines;
    bool over = false;
    run_until(loop, [&] {
      over |= !read_some(fd);
      for (std::size_t end; lines.size() < count && (end = input_.find('\n')) != std::string::npos;
           input_.erase(0, end + 1))
        lines.push_back(*parse_json(input_.substr(0, end)));
      return over || lines.size() == count;
    });
    return lines;
  }
  bool hung_up(const UniqueFd& fd) {
    return run_until(loop, [&] { return !read_some(fd); });
  }
  /// All that is there; false once the server has hung up.
  bool read_some(const UniqueFd& fd) {
    char buffer[65536];
    for (;;) {
      ssize_t n = recv(fd.get(), buffer, sizeof buffer, 0);
      if (n <= 0) return n < 0 && errno == EAGAIN;
      input_.append(buffer, static_cast<std::size_t>(n));
    }
  }
  static std::string code(const Json& line) {
    return line.contains("error") ? json_string(line["error"], "code") : line.value("ok", false) ? "ok" : "neither";
  }

  UvLoop loop;
  std::unique_ptr<ControlServer> server;
  std::vector<ControlServer::CallPtr> kept;
  int asked = 0;

 private:
  std::string folder_;
  std::string input_;
};

TEST_F(ControlServerTest, LetsOnlyOwnerAndGroupIn) {
  struct stat st {};
  ASSERT_EQ(stat(path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0660u);
}

TEST_F(ControlServerTest, AnswersALineThatComesInPieces) {
  UniqueFd fd = connect_client();
  for (char c : std::string_view(R"({"verb":"echo","id":11})")) ASSERT_TRUE(say(fd, {&c, 1}));
  EXPECT_EQ(asked, 0);
  ASSERT_TRUE(say(fd, "\n"));
  auto lines = hear(fd, 1);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0], *parse_json(R"({"ok":true,"result":{"verb":"echo","id":11}})"));
}

TEST_F(ControlServerTest, AnswersTwoRequestsOfOneWriteOneAfterTheOther) {
  UniqueFd fd = connect_client();
  ASSERT_TRUE(say(fd, "{\"verb\":\"keep\"}\n{\"verb\":\"echo\"}\n"));
  ASSERT_TRUE(run_until(loop, [&] { return kept.size() == 1; }));
  EXPECT_EQ(asked, 1) << "the second waits";
  kept[0]->progress("working");
  kept[0]->reply({{"done", 1}});
  auto lines = hear(fd, 3);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["progress"], "working");
  EXPECT_EQ(lines[1]["result"]["done"], 1);
  EXPECT_EQ(lines[2]["result"]["verb"], "echo");
}

TEST_F(ControlServerTest, NeverRunsARequestInsideTheAnswerToTheOneBefore) {
  // Who answers is in the middle of something, and the next request may take away what it stands on.
  UniqueFd fd = connect_client();
  ASSERT_TRUE(say(fd, "{\"verb\":\"keep\"}\n{\"verb\":\"echo\"}\n"));
  ASSERT_TRUE(run_until(loop, [&] { return kept.size() == 1; }));
  kept[0]->reply({});
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(hear(fd, 2).size(), 2u);
}

TEST_F(ControlServerTest, AnswersThousandsOfWaitingRequestsWithoutDeepRecursion) {
  UniqueFd fd = connect_client();
  std::string many = "{\"verb\":\"keep\"}\n";
  constexpr std::size_t kMany = 5'000;
  for (std::size_t i = 0; i < kMany; ++i) many += "{}\n";
  ASSERT_TRUE(say(fd, many));
  ASSERT_TRUE(run_until(loop, [&] { return kept.size() == 1; }));
  kept[0]->reply({});
  EXPECT_EQ(hear(fd, kMany + 1).size(), kMany + 1);
}

TEST_F(ControlServerTest, AnswersForACallThatItsHandlerForgot) {
  UniqueFd fd = connect_client();
  ASSERT_TRUE(say(fd, "{\"verb\":\"drop\"}\n{\"verb\":\"echo\"}\n"));
  auto lines = hear(fd, 2);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(code(lines[0]), "cancelled");
  EXPECT_EQ(code(lines[1]), "ok");
}

TEST_F(ControlServerTest, RefusesGarbageAndServesOn) {
  UniqueFd fd = connect_client();
  const std::string rubbish[] = {"hello",
                                 "{",
                                 "[]",
                                 "7",
                                 "null",
                                 "{}",
                                 R"({"verb":7})",
                                 R"({"verb":""})",
                                 R"({"verb":"echo","verb":"echo"})",
                                 std::string(50'000, '['),
                                 "\xff\xfe",
                                 std::string("a\0b", 3)};
  for (const std::string& line : rubbish) {
    ASSERT_TRUE(say(fd, line + "\n"));
    auto lines = hear(fd, 1);
    ASSERT_EQ(lines.size(), 1u) << line.substr(0, 40);
    EXPECT_EQ(code(lines[0]), "invalid_request") << line.substr(0, 40);
  }
  EXPECT_EQ(asked, 0);
  ASSERT_TRUE(say(fd, "\n \r\n{\"verb\":\"echo\"}\r\n"));
  EXPECT_EQ(code(hear(fd, 1).at(0)), "ok") << "empty lines are no requests";
}

TEST_F(ControlServerTest, RefusesALineOver64KiBAndHangsUp) {
  UniqueFd fd = connect_client();
  (void)send(fd.get(), std::string(80'000, ' ').data(), 80'000, MSG_NOSIGNAL);
  auto lines = hear(fd, 1);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0]["error"]["message"].get<std::string>(), HasSubstr("64 KiB"));
  EXPECT_TRUE(hung_up(fd));
  EXPECT_EQ(server->clients(), 0u);
}

TEST_F(ControlServerTest, CutsOffAClientThatNeverReads) {
  UniqueFd fd = connect_client();
  ASSERT_TRUE(say(fd, "{\"verb\":\"keep\"}\n"));
  ASSERT_TRUE(run_until(loop, [&] { return kept.size() == 1; }));
  const std::string text(100'000, 'x');
  for (int i = 0; i < 60 && kept[0]->is_connected(); ++i) kept[0]->event("status", text);
  EXPECT_FALSE(kept[0]->is_connected());
  EXPECT_TRUE(run_until(loop, [&] { return server->clients() == 0; })) << "it keeps neither its place nor its 4 MiB";
}

TEST_F(ControlServerTest, ForgetsACallWhoseClientHungUp) {
  UniqueFd fd = connect_client();
  ASSERT_TRUE(say(fd, "{\"verb\":\"keep\"}\n"));
  ASSERT_TRUE(run_until(loop, [&] { return kept.size() == 1; }));
  fd.reset();
  ASSERT_TRUE(run_until(loop, [&] { return server->clients() == 0; }));
  EXPECT_FALSE(kept[0]->is_connected());
  kept[0]->progress("to nobody");
  kept[0]->reply({});
}

TEST_F(ControlServerTest, AnswersOnlyOnce) {
  UniqueFd fd = connect_client();
  ASSERT_TRUE(say(fd, "{\"verb\":\"keep\"}\n"));
  ASSERT_TRUE(run_until(loop, [&] { return kept.size() == 1; }));
  kept[0]->reply({{"n", 1}});
  kept[0]->reply({{"n", 2}});
  kept[0]->progress("late");
  ASSERT_TRUE(say(fd, "{\"verb\":\"echo\"}\n"));
  auto lines = hear(fd, 2);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["result"]["n"], 1);
  EXPECT_EQ(lines[1]["result"]["verb"], "echo");
}

TEST_F(ControlServerTest, TellsThe65thClientThatItIsFull) {
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 64; ++i) clients.push_back(connect_client());
  ASSERT_TRUE(run_until(loop, [&] { return server->clients() == 64; }));
  UniqueFd one_more = connect_client();
  auto lines = hear(one_more, 1);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(code(lines[0]), "busy");
  EXPECT_TRUE(hung_up(one_more));
  ASSERT_TRUE(say(clients[63], "{\"verb\":\"echo\"}\n"));
  EXPECT_EQ(code(hear(clients[63], 1).at(0)), "ok") << "those inside are served on";
  clients.clear();
  ASSERT_TRUE(run_until(loop, [&] { return server->clients() == 0; }));
  EXPECT_EQ((say(one_more = connect_client(), "{\"verb\":\"echo\"}\n"), code(hear(one_more, 1).at(0))), "ok");
}

TEST_F(ControlServerTest, RemovesItsSocketAndLeavesCallsHarmless) {
  UniqueFd fd = connect_client();
  ASSERT_TRUE(say(fd, "{\"verb\":\"keep\"}\n"));
  ASSERT_TRUE(run_until(loop, [&] { return kept.size() == 1; }));
  server.reset();
  EXPECT_FALSE(std::filesystem::exists(path()));
  kept[0]->reply({});
  EXPECT_FALSE(kept[0]->is_connected());
}

TEST(ControlServer, RefusesAPathThatDoesNotFitASocketsName) {
  UvLoop loop;
  auto server = ControlServer::listen(loop, "/tmp/" + std::string(120, 'x'), {});
  ASSERT_FALSE(server);
  EXPECT_THAT(server.error().message(), HasSubstr("runtime_dir"));
}

}  // namespace
}  // namespace dongle
