#include "supervisor/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace dongle {
namespace {

using testing::HasSubstr;

constexpr const char* kStickA = "861502034567891";
constexpr const char* kStickB = "867200011122233";
constexpr const char* kSimA = "8949020000012345678F";
constexpr const char* kSimB = "8949020000087654321F";

Identity at(unsigned dongle, const char* port, const char* imei, const char* iccid) {
  return {DongleId{dongle}, port, imei, iccid};
}

TEST(Identity, IsSilentAboutTheSameStick) {
  IdentityTable table;
  IdentityReport first = table.observe(at(11, "2-1.1", kStickA, kSimA));
  EXPECT_TRUE(first.first_seen);
  EXPECT_TRUE(first.is_news);
  EXPECT_FALSE(first.is_change());
  EXPECT_THAT(first.text, HasSubstr(kStickA));
  IdentityReport again = table.observe(at(11, "2-1.1", kStickA, kSimA));
  EXPECT_FALSE(again.first_seen || again.is_news || again.is_change());
  EXPECT_EQ(again.text, "");
}

TEST(Identity, TellsASwapAtBothPorts) {
  IdentityTable table;
  table.observe(at(11, "2-1.1", kStickA, kSimA));
  table.observe(at(12, "2-1.2", kStickB, kSimB));
  IdentityReport one = table.observe(at(11, "2-1.1", kStickB, kSimB));
  EXPECT_TRUE(one.stick_changed);
  EXPECT_TRUE(one.sim_changed);
  EXPECT_EQ(one.text, fmt::format("stick {} replaced {}; it was at 2-1.2 (dongle 12) before; SIM {} replaced {}; it "
                                  "was at 2-1.2 (dongle 12) before",
                                  kStickB, kStickA, kSimB, kSimA));
  IdentityReport other = table.observe(at(12, "2-1.2", kStickA, kSimA));
  EXPECT_TRUE(other.stick_changed);
  EXPECT_THAT(other.text, HasSubstr("it was at 2-1.1 (dongle 11) before")) << "though port 2-1.1 has another by now";
}

TEST(Identity, TellsASimThatChangedOrMovedAlone) {
  IdentityTable table;
  table.observe(at(11, "2-1.1", kStickA, kSimA));
  IdentityReport sim = table.observe(at(11, "2-1.1", kStickA, kSimB));
  EXPECT_FALSE(sim.stick_changed);
  EXPECT_TRUE(sim.sim_changed);
  EXPECT_EQ(sim.text, fmt::format("SIM {} replaced {}", kSimB, kSimA));
  IdentityReport stick = table.observe(at(11, "2-1.1", kStickB, kSimB));
  EXPECT_TRUE(stick.stick_changed);
  EXPECT_FALSE(stick.sim_changed);
  EXPECT_THAT(stick.text, HasSubstr("the SIM is the same"));
}

TEST(Identity, KnowsAStickThatMovedToANewPort) {
  IdentityTable table;
  table.observe(at(11, "2-1.1", kStickA, kSimA));
  IdentityReport report = table.observe(at(12, "2-1.2", kStickA, kSimA));
  EXPECT_TRUE(report.first_seen);
  EXPECT_THAT(report.text, HasSubstr("was at 2-1.1 (dongle 11) before"));
}

TEST(Identity, ComparesOnlyWhatWasTold) {
  IdentityTable table;
  EXPECT_FALSE(table.observe(at(11, "2-1.1", "", "")).is_news);
  EXPECT_EQ(table, IdentityTable{});
  table.observe(at(11, "2-1.1", kStickA, kSimA));
  for (auto [imei, iccid] : {std::pair("", ""), {kStickA, ""}, {"", kSimA}, {"<script>", "\n"}, {kStickA, "no SIM"}}) {
    IdentityReport report = table.observe(at(11, "2-1.1", imei, iccid));
    EXPECT_FALSE(report.is_news || report.is_change()) << imei << "/" << iccid;
  }
  EXPECT_TRUE(table.observe(at(11, "2-1.1", kStickA, kSimB)).sim_changed) << "the SIM of before the silence is known";
}

TEST(Identity, LearnsTheSimLaterWithoutCallingItAChange) {
  IdentityTable table;
  table.observe(at(11, "2-1.1", kStickA, ""));
  IdentityReport report = table.observe(at(11, "2-1.1", kStickA, kSimA));
  EXPECT_TRUE(report.is_news) << "it has to be written down";
  EXPECT_FALSE(report.is_change());
}

TEST(Identity, SurvivesItsOwnJson) {
  IdentityTable table;
  table.observe(at(11, "2-1.1", kStickA, kSimA));
  table.observe(at(12, "2-1.2", kStickB, ""));
  IdentityTable copy = IdentityTable::from_json(table.to_json());
  EXPECT_EQ(copy, table);
  EXPECT_THAT(copy.observe(at(11, "2-1.1", kStickB, kSimA)).text, HasSubstr("it was at 2-1.2 (dongle 12)"));
}

TEST(Identity, LeavesOutWhatMakesNoSense) {
  for (const char* text :
       {"null", "[]", "7", "{}", R"({"ports":7,"sticks":[],"sims":null})",
        R"({"ports":{"2-1.1":7,"":{"seen":1},"2-1.2":{"seen":0},"2-1.3":{"seen":1,"imei":"x y"}}})",
        R"({"sticks":{"1":{"seen":1,"port":"2-1","dongle":0},"x":{"seen":1,"port":"2-1","dongle":1}}})"}) {
    IdentityTable table = IdentityTable::from_json(parse_json(text).value());
    EXPECT_EQ(table.to_json(), IdentityTable{}.to_json()) << text;
  }
}

TEST(Identity, IsBoundedAndForgetsTheOldest) {
  IdentityTable table;
  for (std::size_t i = 0; i < IdentityTable::kMaxEntries + 10; ++i)
    table.observe(at(11, fmt::format("1-{}", i).c_str(), fmt::format("{}", 1000 + i).c_str(), ""));
  Json json = table.to_json();
  EXPECT_EQ(json["ports"].size(), IdentityTable::kMaxEntries);
  EXPECT_EQ(json["sticks"].size(), IdentityTable::kMaxEntries);
  EXPECT_FALSE(json["ports"].contains("1-9"));
  EXPECT_TRUE(json["ports"].contains("1-10"));
}

}  // namespace
}  // namespace dongle
