#include "tools/ctl/log_follower.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace dongle::ctl {
namespace {

class LogFollowerTest : public testing::Test {
 protected:
  LogFollowerTest() {
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
    path_ = directory_ + "/11.log";
  }
  ~LogFollowerTest() override { std::filesystem::remove_all(directory_); }

  void write(const std::string& text) { std::ofstream(path_, std::ios::trunc) << text; }
  void append(const std::string& text) { std::ofstream(path_, std::ios::app) << text; }
  std::string last(int lines) {
    std::string seen;
    LogFollower log(path_, [&](std::string_view text) {
      seen += text;
      return true;
    });
    auto read = log.read_last(lines);
    return read ? seen : read.error().message();
  }

  std::string directory_ = testing::TempDir() + "log_follower_XXXXXX";
  std::string path_;
};

TEST_F(LogFollowerTest, ReadsTheLastLines) {
  write("a\nb\nc\n");
  EXPECT_EQ(last(2), "b\nc\n");
  EXPECT_EQ(last(0), "");
  EXPECT_EQ(last(9), "a\nb\nc\n");
  write("a\nb\nunfinished");
  EXPECT_EQ(last(1), "unfinished");
  EXPECT_EQ(last(2), "b\nunfinished");
  write("\n\n");
  EXPECT_EQ(last(1), "\n");
  write("");
  EXPECT_EQ(last(5), "");
  write(std::string(200'000, 'x') + "\n" + std::string(100'000, 'y') + "\n");
  EXPECT_EQ(last(1), std::string(100'000, 'y') + "\n");
}

TEST_F(LogFollowerTest, NamesTheFileThatIsMissing) {
  EXPECT_EQ(last(1), path_ + ": No such file or directory");
}

// Each piece that arrives sets off the next change of the file, so nothing has to be waited for.
TEST_F(LogFollowerTest, FollowsAcrossTruncationRenamingAndReCreation) {
  write("old\nlast\n");
  std::vector<std::pair<std::string, std::function<void()>>> script;
  script.emplace_back("last\n", [&] { append("appended\n"); });
  script.emplace_back("appended\n", [&] { write("cut\n"); });
  script.emplace_back("cut\n", [&] {
    std::filesystem::rename(path_, path_ + ".1");
    std::ofstream(path_ + ".1", std::ios::app) << "tail of the old one\n";
    write("renamed\n");
  });
  script.emplace_back("tail of the old one\n", [] {});
  script.emplace_back("renamed\n", [&] {
    std::filesystem::remove(path_);
    write("created again\n");
  });
  script.emplace_back("created again\n", [] {});
  std::size_t step = 0;
  LogFollower log(path_, [&](std::string_view text) {
    EXPECT_EQ(text, script[step].first);
    script[step].second();
    return ++step < script.size();
  });
  ASSERT_TRUE(log.read_last(1));
  ASSERT_TRUE(log.follow());
  EXPECT_EQ(step, script.size());
}

TEST_F(LogFollowerTest, EndsWhenTheDirectoryGoes) {
  LogFollower log(directory_ + "/none/11.log", [](std::string_view) { return true; });
  EXPECT_FALSE(log.follow());
}

}  // namespace
}  // namespace dongle::ctl
