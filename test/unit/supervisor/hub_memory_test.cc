#include "supervisor/hub_memory.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace dongle {
namespace {

using namespace std::chrono_literals;

const HubIdentity kHub{"2-1", 0x2109, 0x3431};
const WallTime kNow = WallTime(Millis(1'800'000'000'000));

TEST(HubMemory, ForgetsALieAfterADayAndKeepsATruth) {
  HubMemory memory;
  memory.learn(kHub, 3, {false, kNow, "the stick stayed"});
  memory.learn(kHub, 4, {true, kNow, "left and came back"});
  ASSERT_TRUE(memory.find(kHub, 3, kNow + 23h));
  EXPECT_EQ(memory.find(kHub, 3, kNow + 23h)->evidence, "the stick stayed");
  EXPECT_FALSE(memory.find(kHub, 3, kNow + 25h));
  EXPECT_FALSE(memory.find(kHub, 3, kNow - 25h)) << "the wall clock was set back";
  EXPECT_TRUE(memory.find(kHub, 4, kNow + 2400h));
}

TEST(HubMemory, KnowsAnotherHubAtTheSamePlaceForAnother) {
  HubMemory memory;
  memory.learn(kHub, 3, {false, kNow, ""});
  EXPECT_FALSE(memory.find({"2-1", 0x05e3, 0x0608}, 3, kNow));
  EXPECT_FALSE(memory.find({"2-2", 0x2109, 0x3431}, 3, kNow));
  EXPECT_FALSE(memory.find(kHub, HubMemory::kWholeHub, kNow));
}

TEST(HubMemory, GoesThroughJsonUnchanged) {
  HubMemory memory;
  memory.learn(kHub, 3, {false, kNow, "the stick stayed"});
  memory.learn(kHub, HubMemory::kWholeHub, {true, kNow, "all left"});
  EXPECT_EQ(HubMemory::from_json(memory.to_json()), memory);
}

TEST(HubMemory, ReadsWhatItCanOfABrokenFile) {
  auto json = parse_json(R"({"hubs":[1,{},{"location":"2-1","port":-1},
      {"location":"2-1","vendor":"2109","product":"3431","port":3,"at_ms":9223372036854775807}]})");
  auto memory = HubMemory::from_json(json.value());
  EXPECT_EQ(memory.to_json()["hubs"].size(), 1u);
  EXPECT_EQ(HubMemory::from_json(Json(7)), HubMemory());
}

TEST(HubMemory, DropsTheOldestWhenFull) {
  HubMemory memory;
  for (int i = 0; i <= static_cast<int>(HubMemory::kMaxLessons); ++i)
    memory.learn({"2-" + std::to_string(i), 1, 1}, 1, {false, kNow + Seconds(i), ""});
  EXPECT_EQ(memory.to_json()["hubs"].size(), HubMemory::kMaxLessons);
  EXPECT_FALSE(memory.find({"2-0", 1, 1}, 1, kNow));
  EXPECT_TRUE(memory.find({"2-1", 1, 1}, 1, kNow));
}

}  // namespace
}  // namespace dongle
