#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "supervisor/incident_log.h"
#include "supervisor/intent_log.h"
#include "test/support/run_until.h"

namespace dongle {
namespace {

/// A directory of its own; each block with a loop is one life of the daemon.
class StateLogTest : public testing::Test {
 protected:
  StateLogTest() {
    std::string pattern = testing::TempDir() + "state-XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~StateLogTest() override { std::filesystem::remove_all(folder_); }
  std::string file(const char* name = "log.json") const { return folder_ + "/" + name; }
  void write(const std::string& text) const { std::ofstream(file()) << text; }
  static Json incidents(const IncidentLog& log) {
    return log.to_json(std::nullopt, IncidentLog::kMaxIncidents)["incidents"];
  }

 private:
  std::string folder_;
};

TEST_F(StateLogTest, KeepsIncidentsOverARestartAndCallsTheOngoingInterrupted) {
  {
    UvLoop loop;
    IncidentLog log(loop, file());
    EXPECT_TRUE(incidents(log).empty());
    Incident& ended = log.open(DongleId{11}, "timeout");
    ended.outcome = "recovered";
    ended.ended = ended.began;
    log.open(DongleId{12}, "timeout");
    log.save();
  }
  UvLoop loop;
  IncidentLog log(loop, file());
  ASSERT_EQ(incidents(log).size(), 2u);
  EXPECT_EQ(incidents(log)[0]["outcome"], "recovered");
  EXPECT_EQ(incidents(log)[1]["outcome"], "interrupted");
  EXPECT_EQ(log.ongoing(DongleId{12}), nullptr);
  EXPECT_EQ(log.open(DongleId{12}, "again").number, 3u) << "numbers go on";
}

TEST_F(StateLogTest, KnowsWhichIncidentIsOngoing) {
  UvLoop loop;
  IncidentLog log(loop, file());
  EXPECT_EQ(log.ongoing(DongleId{11}), nullptr);
  log.open(DongleId{11}, "timeout");
  log.open(DongleId{12}, "timeout").outcome = "failed";
  ASSERT_NE(log.ongoing(DongleId{11}), nullptr);
  EXPECT_EQ(log.ongoing(DongleId{11})->number, 1u);
  EXPECT_EQ(log.ongoing(DongleId{12}), nullptr);
  log.ongoing(DongleId{11})->outcome = "recovered";
  EXPECT_EQ(log.ongoing(DongleId{11}), nullptr);
}

TEST_F(StateLogTest, ShowsTheNewestOfOneDongleUpToALimit) {
  UvLoop loop;
  IncidentLog log(loop, file());
  for (int i = 0; i < 6; ++i) log.open(DongleId{i % 2 ? 12u : 11u}, "timeout");
  Json json = log.to_json(DongleId{12}, 2)["incidents"];
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[0]["number"], 4);
  EXPECT_EQ(json[1]["number"], 6) << "newest last";
}

TEST_F(StateLogTest, KeepsTheNewest500Incidents) {
  {
    UvLoop loop;
    IncidentLog log(loop, file());
    for (std::size_t i = 0; i < IncidentLog::kMaxIncidents + 20; ++i) log.open(DongleId{11}, "timeout");
    EXPECT_EQ(incidents(log).size(), IncidentLog::kMaxIncidents);
    EXPECT_EQ(incidents(log)[0]["number"], 21);
    log.save();
  }
  UvLoop loop;
  IncidentLog log(loop, file());
  log.open(DongleId{11}, "one more");
  EXPECT_EQ(incidents(log).size(), IncidentLog::kMaxIncidents);
  EXPECT_EQ(incidents(log)[0]["number"], 22);
}

TEST_F(StateLogTest, StartsEmptyAndKeepsABrokenFileAside) {
  for (const char* text : {"", "{", "rubbish", "{\"a\":1,\"a\":2}"}) {
    std::filesystem::remove(file("log.json.broken"));
    write(text);
    UvLoop loop;
    EXPECT_TRUE(incidents(IncidentLog(loop, file())).empty()) << text;
    EXPECT_TRUE(std::filesystem::exists(file("log.json.broken"))) << text;
  }
  for (const char* text : {"[]", "7", "null", "{}", "{\"incidents\":7}", "{\"incidents\":[7,null,{},[]]}"}) {
    write(text);
    UvLoop loop;
    EXPECT_TRUE(incidents(IncidentLog(loop, file())).empty()) << text;
  }
}

TEST_F(StateLogTest, RemembersAnIntentUntilItIsCleared) {
  const Json intent = {{"undo", "data_switch_on"}};
  {
    UvLoop loop;
    IntentLog log(loop, file());
    EXPECT_EQ(log.pending(DongleId{11}), std::nullopt);
    bool on_disk = false;
    log.record(DongleId{11}, intent, [&] { on_disk = std::filesystem::exists(file()); });
    EXPECT_FALSE(on_disk) << "never before record() returns";
    ASSERT_TRUE(run_until(loop, [&] { return on_disk; }));
    log.record(DongleId{12}, intent, [] {});
  }
  {
    UvLoop loop;
    IntentLog log(loop, file());
    EXPECT_EQ(log.pending(DongleId{11}), intent);
    EXPECT_EQ(log.pending(DongleId{12}), intent) << "handed over before the end, so written";
    log.clear(DongleId{11});
    EXPECT_EQ(log.pending(DongleId{11}), std::nullopt);
  }
  UvLoop loop;
  EXPECT_EQ(IntentLog(loop, file()).pending(DongleId{11}), std::nullopt);
}

TEST_F(StateLogTest, KeepsIntentsByPlaceBesideThoseOfDongles) {
  Json ports = {{"undo", "ports_on"}, {"ports", {1, 3}}};
  {
    UvLoop loop;
    IntentLog log(loop, file());
    log.record(DongleId{11}, {{"undo", "data_switch_on"}}, [] {});
    log.record("hub 2-1", ports, [] {});
    log.record("device 2-1.3", {{"undo", "authorize"}}, [] {});
    log.clear("device 2-1.3");
  }
  UvLoop loop;
  IntentLog log(loop, file());
  EXPECT_EQ(log.pending_usb(), (std::map<std::string, Json>{{"hub 2-1", ports}}));
  EXPECT_TRUE(log.pending(DongleId{11}));
}

TEST_F(StateLogTest, GoesOnWhenTheIntentCannotBeWritten) {
  UvLoop loop;
  IntentLog log(loop, file("no/such/folder.json"));
  bool done = false;
  log.record(DongleId{11}, {{"undo", "data_switch_on"}}, [&] { done = true; });
  EXPECT_TRUE(run_until(loop, [&] { return done; })) << "a full disk must not stop a rack from healing";
}

TEST_F(StateLogTest, LeavesOutIntentsThatMakeNoSense) {
  write(R"({"11":{"undo":"data_switch_on"},"0":{},"253":{},"x":{},"12":7,"13":null,"99999999999999999999":{}})");
  UvLoop loop;
  IntentLog log(loop, file());
  EXPECT_TRUE(log.pending(DongleId{11}));
  for (unsigned id : {12u, 13u, 252u}) EXPECT_FALSE(log.pending(DongleId{id})) << id;
}

}  // namespace
}  // namespace dongle
