#include "tools/ctl/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/ctl/daemon_socket.h"

namespace dongle::ctl {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Args = std::vector<std::string>;

CommandLine parse_good(const Args& args) {
  auto line = parse_command_line(args);
  EXPECT_TRUE(line) << line.error().text;
  return line.value_or(CommandLine{});
}

TEST(CommandLine, KnowsEveryVerb) {
  const std::vector<std::pair<Args, Verb>> cases = {
      {{"status"}, Verb::Status},
      {{"start", "1"}, Verb::Start},
      {{"stop", "all"}, Verb::Stop},
      {{"restart", "1"}, Verb::Restart},
      {{"tail", "1"}, Verb::Tail},
      {{"rotate", "1"}, Verb::Rotate},
      {{"recover", "1"}, Verb::Recover},
      {{"why", "1"}, Verb::Why},
      {{"info", "1"}, Verb::Info},
      {{"traffic"}, Verb::Traffic},
      {{"incidents"}, Verb::Incidents},
      {{"apn", "1"}, Verb::Apn},
      {{"reload"}, Verb::Reload},
      {{"config", "check"}, Verb::ConfigCheck},
      {{"config", "schema"}, Verb::ConfigSchema},
      {{"init"}, Verb::Init},
      {{"hotplug", "11"}, Verb::Hotplug},
      {{"power", "cycle", "11"}, Verb::Power},
      {{"doctor", "--fix"}, Verb::NotYet},
      {{"analyze", "2025-08-20 14:30"}, Verb::NotYet},
  };
  for (const auto& [args, verb] : cases) EXPECT_EQ(parse_good(args).verb, verb) << args[0];
  EXPECT_EQ(parse_good({"power", "cycle", "11"}).verb_name, "power");
}

TEST(CommandLine, ReadsIdsOnceEachInTheirOrder) {
  CommandLine line = parse_good({"restart", "12", "11", "12", "252"});
  EXPECT_THAT(line.ids, ElementsAre(DongleId{12}, DongleId{11}, DongleId{252}));
  EXPECT_FALSE(line.all);
  EXPECT_EQ(line.verb_name, "restart");
  EXPECT_TRUE(parse_good({"start", "all"}).all);
}

TEST(CommandLine, TakesGlobalOptionsOnBothSidesOfTheVerb) {
  for (const Args& args : {Args{"--socket", "/s", "--json", "--no-wait", "--timeout", "1m30s", "rotate", "11"},
                           Args{"rotate", "11", "--socket", "/s", "--json", "--no-wait", "--timeout", "90"}}) {
    CommandLine line = parse_good(args);
    EXPECT_EQ(line.socket, "/s");
    EXPECT_TRUE(line.json);
    EXPECT_FALSE(line.wait);
    EXPECT_EQ(line.timeout, Seconds{90});
    EXPECT_THAT(line.ids, ElementsAre(DongleId{11}));
  }
}

TEST(CommandLine, ReadsTheOptionsOfVerbs) {
  EXPECT_TRUE(parse_good({"status", "--watch"}).watch);
  CommandLine tail = parse_good({"tail", "-f", "-n", "5", "11"});
  EXPECT_TRUE(tail.follow);
  EXPECT_EQ(tail.lines, 5);
  CommandLine recover = parse_good({"recover", "11", "--from", "usb", "--dry-run"});
  EXPECT_EQ(recover.from, "usb");
  EXPECT_TRUE(recover.dry_run);
  EXPECT_TRUE(parse_good({"traffic", "--reset"}).reset);
  EXPECT_EQ(parse_good({"config", "check", "/x.yaml"}).file, "/x.yaml");
}

TEST(CommandLine, ReadsWhatInitTakesForSticks) {
  CommandLine line = parse_good({"init", "--write", "--id", "0525:a4a2", "--id", "12D1:155e", "--config", "/c.yaml"});
  EXPECT_TRUE(line.write);
  EXPECT_FALSE(line.every_adapter);
  EXPECT_THAT(line.usb_ids, ElementsAre(UsbId{0x0525, 0xa4a2}, UsbId{0x12d1, 0x155e}));
  EXPECT_EQ(line.config, "/c.yaml");
  EXPECT_TRUE(parse_good({"init", "--all"}).every_adapter);
}

TEST(CommandLine, ReadsWhatUdevPassesToHotplug) {
  EXPECT_THAT(parse_good({"hotplug", "11"}).ids, ElementsAre(DongleId{11}));
  EXPECT_EQ(parse_good({"hotplug", "11"}).usb_path, "");
  for (const char* name : {"2-1.4", "2-1.4:1.0", "/devices/pci0000:00/usb2/2-1/2-1.4"})
    EXPECT_EQ(parse_good({"hotplug", name}).usb_path, "2-1.4") << name;
  EXPECT_LE(default_timeout(Verb::Hotplug), Seconds{1}) << "udev waits for it";
}

TEST(CommandLine, ExplainsMistakes) {
  struct Case {
    Args args;
    ExitCode exit;
    std::string text;
  };
  const std::vector<Case> cases = {
      {{}, ExitCode::Usage, "name a verb"},
      {{"statsu"}, ExitCode::Usage, "\"statsu\" is not a verb; did you mean status?"},
      {{"xyzzy"}, ExitCode::Usage, "\"xyzzy\" is not a verb; see donglectl --help"},
      {{"--json"}, ExitCode::Usage, "subcommand"},
      {{"status", "--jsn"}, ExitCode::Usage, "--jsn"},
      {{"rotate"}, ExitCode::Usage, "ID is required"},
      {{"rotate", "abc"}, ExitCode::Usage, "rotate: \"abc\" is not a dongle's id, a number or all"},
      {{"rotate", "-1"}, ExitCode::Usage, "-1"},
      {{"rotate", "0"}, ExitCode::NoSuchDongle, "0: no such dongle; ids are 1 to 252"},
      {{"rotate", "253"}, ExitCode::NoSuchDongle, "no such dongle"},
      {{"rotate", "1", "all"}, ExitCode::Usage, "either ids or all"},
      {{"tail", "all"}, ExitCode::Usage, "not a dongle's id"},
      {{"tail", "1", "2"}, ExitCode::Usage, "ID"},
      {{"incidents", "1", "2"}, ExitCode::Usage, "2"},
      {{"tail", "-n", "x", "1"}, ExitCode::Usage, "x"},
      {{"recover", "1", "--from", "moon"}, ExitCode::Usage, "moon"},
      {{"reload", "5"}, ExitCode::Usage, "5"},
      {{"config"}, ExitCode::Usage, "subcommand"},
      {{"init", "--id", "12d1"}, ExitCode::Usage, "--id \"12d1\" is not VENDOR:PRODUCT"},
      {{"init", "11"}, ExitCode::Usage, "11"},
      {{"hotplug"}, ExitCode::Usage, "ID is required"},
      {{"hotplug", "eth1"}, ExitCode::Usage, "\"eth1\" is neither a dongle's id nor a USB port"},
      {{"hotplug", "253"}, ExitCode::NoSuchDongle, "no such dongle"},
      {{"status", "--timeout", "0"}, ExitCode::Usage, "--timeout: \"0\" is not a time"},
      {{"status", "--timeout", "soon"}, ExitCode::Usage, "is not a time"},
  };
  for (const auto& [args, exit, text] : cases) {
    auto line = parse_command_line(args);
    ASSERT_FALSE(line) << testing::PrintToString(args);
    EXPECT_EQ(line.error().exit, exit) << testing::PrintToString(args);
    EXPECT_THAT(line.error().text, HasSubstr(text));
    EXPECT_EQ(line.error().text.find('\n'), std::string::npos) << line.error().text;
  }
}

TEST(CommandLine, AnswersHelpAndVersionByItself) {
  auto help = parse_command_line({"--help"});
  ASSERT_FALSE(help);
  EXPECT_EQ(help.error().exit, ExitCode::Done);
  EXPECT_THAT(help.error().text, HasSubstr("Examples:"));
  auto verb_help = parse_command_line({"recover", "--help"});
  ASSERT_FALSE(verb_help);
  EXPECT_THAT(verb_help.error().text, HasSubstr("donglectl recover"));
  EXPECT_THAT(verb_help.error().text, HasSubstr("--dry-run"));
  auto version = parse_command_line({"--version"});
  ASSERT_FALSE(version);
  EXPECT_THAT(version.error().text, testing::StartsWith("donglectl "));
}

TEST(ExitCodes, FollowTheErrorCodesOfTheSocket) {
  const std::vector<std::pair<std::string, ExitCode>> cases = {
      {"not_found", ExitCode::NoSuchDongle}, {"permission", ExitCode::NoPermission},
      {"cooldown", ExitCode::RefusedNow},    {"busy", ExitCode::RefusedNow},
      {"disabled", ExitCode::RefusedNow},    {"refused", ExitCode::RefusedNow},
      {"timeout", ExitCode::TimedOut},       {"no_egress", ExitCode::Failed},
      {"invalid_config", ExitCode::Failed},  {"", ExitCode::Failed}};
  for (const auto& [code, exit] : cases) EXPECT_EQ(exit_code_for(code), exit) << code;
}

TEST(DaemonSocket, FindsTheRuntimeDirInAConfigThatHasMistakes) {
  EXPECT_EQ(runtime_dir_of("runtime_dir: /run/x\nproxi: 1\n", "c").value(), "/run/x");
  EXPECT_EQ(runtime_dir_of("dongles: []\n", "c").value(), "/run/dongle-supervisor");
  EXPECT_EQ(runtime_dir_of("", "c").value(), "/run/dongle-supervisor");
  EXPECT_EQ(runtime_dir_of("a: [", "c").error().exit, ExitCode::Failed);
  EXPECT_EQ(find_socket(parse_good({"status", "--socket", "/a/b.sock"})).value(), "/a/b.sock");
  EXPECT_THAT(find_socket(parse_good({"status", "--config", "/nonexistent/c.yaml"})).error().message,
              HasSubstr("/nonexistent/c.yaml"));
}

}  // namespace
}  // namespace dongle::ctl
