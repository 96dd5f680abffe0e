#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "common/config_parse.h"
#include "common/unique_fd.h"
#include "test/support/fake_sys.h"
#include "tools/ctl/commands.h"

namespace dongle::ctl {
namespace {

using testing::HasSubstr;

class UsbVerbs : public testing::Test {
 protected:
  UsbVerbs() {
    std::string pattern = testing::TempDir() + "verbs-XXXXXX";
    folder = mkdtemp(pattern.data());
  }
  ~UsbVerbs() override { std::filesystem::remove_all(folder); }

  static ExitCode run(std::vector<std::string> args) {
    auto line = parse_command_line(std::move(args));
    EXPECT_TRUE(line) << line.error().text;
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    ExitCode exit = run_command(*line, console());
    console().flush();
    testing::internal::GetCapturedStdout();
    testing::internal::GetCapturedStderr();
    return exit;
  }
  static const Console& console() {
    static const Console console;
    return console;
  }
  std::string content(const std::string& file) const {
    std::stringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
  }
  static void plug_stick(FakeSys& sys) {
    std::string stick = "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-4";
    sys.usb(stick, {{"idVendor", "12d1"}, {"idProduct", "14dc"}, {"devnum", "7"}});
  }

  std::string folder;
};

TEST_F(UsbVerbs, InitWritesAConfigButNeverOverOne) {
  std::string file = folder + "/etc/config.yaml";
  ExitCode first{}, second{};
  std::string before;
  bool ran = FakeSys::run([&](FakeSys& sys) {
    plug_stick(sys);
    first = run({"init", "--write", "--config", file});
    std::ofstream(file, std::ios::app) << "# mine\n";
    before = content(file);
    second = run({"init", "--write", "--config", file});
  });
  if (!ran) GTEST_SKIP() << "needs root for a mount namespace";
  EXPECT_EQ(first, ExitCode::Done);
  EXPECT_EQ(second, ExitCode::Failed);
  EXPECT_EQ(content(file), before);
  auto config = load_config(file);
  ASSERT_TRUE(config) << config.error().front();
  ASSERT_EQ(config->dongles.size(), 1u);
  EXPECT_EQ(config->dongles[0].usb_path, "1-4");
}

TEST_F(UsbVerbs, InitFailsWhereThereIsNoStick) {
  std::string file = folder + "/config.yaml";
  ExitCode exit{};
  bool ran = FakeSys::run([&](FakeSys&) { exit = run({"init", "--write", "--config", file}); });
  if (!ran) GTEST_SKIP() << "needs root for a mount namespace";
  EXPECT_EQ(exit, ExitCode::Failed);
  EXPECT_FALSE(std::filesystem::exists(file));
}

/// A daemon that takes one request and gives one answer, or none at all.
class OneAnswer {
 public:
  OneAnswer(const std::string& path, std::string answer) : listener_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    listen(listener_.get(), 1);
    thread_ = std::thread([this, answer = std::move(answer)] {
      UniqueFd client(accept(listener_.get(), nullptr, nullptr));
      char buffer[1024];
      ssize_t size = read(client.get(), buffer, sizeof buffer);
      if (size > 0) request_.assign(buffer, static_cast<std::size_t>(size));
      if (!answer.empty()) (void)!write(client.get(), answer.data(), answer.size());
      (void)!read(client.get(), buffer, sizeof buffer);  // until it hangs up
    });
  }
  ~OneAnswer() {
    if (thread_.joinable()) thread_.join();
  }
  std::string request() {
    thread_.join();
    return request_;
  }

 private:
  UniqueFd listener_;
  std::string request_;
  std::thread thread_;
};

TEST_F(UsbVerbs, HotplugTellsTheDaemonWhereToLook) {
  std::string path = folder + "/s";
  OneAnswer daemon(path, "{\"ok\":true,\"result\":{}}\n");
  EXPECT_EQ(run({"--socket", path, "hotplug", "/devices/pci0000:00/usb2/2-1/2-1.4"}), ExitCode::Done);
  EXPECT_EQ(daemon.request(), "{\"path\":\"2-1.4\",\"verb\":\"hotplug\"}\n");
}

TEST_F(UsbVerbs, HotplugTakesADonglesNumberToo) {
  std::string path = folder + "/s";
  OneAnswer daemon(path, "{\"ok\":false,\"error\":{\"code\":\"not_found\",\"message\":\"no dongle 11\"}}\n");
  EXPECT_EQ(run({"--socket", path, "hotplug", "11"}), ExitCode::NoSuchDongle);
  EXPECT_EQ(daemon.request(), "{\"id\":11,\"verb\":\"hotplug\"}\n");
}

TEST_F(UsbVerbs, HotplugIsQuietWithoutADaemon) {
  EXPECT_EQ(run({"--socket", folder + "/s", "hotplug", "2-1.4"}), ExitCode::Done);
}

TEST_F(UsbVerbs, HotplugKeepsUdevWaitingForTwoSecondsAtMost) {
  std::string path = folder + "/s";
  OneAnswer daemon(path, "");
  auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(run({"--socket", path, "hotplug", "2-1.4"}), ExitCode::TimedOut);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds{2});
}

}  // namespace
}  // namespace dongle::ctl
