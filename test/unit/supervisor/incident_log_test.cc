#include "supervisor/incident_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dongle {
namespace {

Incident example() {
  Incident incident;
  incident.number = 7;
  incident.id = DongleId{11};
  incident.began = WallTime(Millis(1'800'000'000'123));
  incident.ended = WallTime(Millis(1'800'000'042'456));
  incident.took = Millis(42'333);
  incident.fault = "no_egress";
  incident.evidence = "the modem says connected, but nothing passes";
  incident.seen = "no answer within 5s";
  incident.steps.push_back(
      {WallTime(Millis(1'800'000'001'000)), "modem", "data_switch", "no_egress", "recovered", "ok", Millis(4200)});
  incident.outcome = "recovered";
  return incident;
}

TEST(Incident, ComesBackFromJsonAsItWas) {
  auto back = incident_from_json(to_json(example()));
  ASSERT_TRUE(back);
  EXPECT_EQ(to_json(*back), to_json(example()));
  EXPECT_EQ(back->began, example().began);
  EXPECT_EQ(back->steps.size(), 1u);
}

TEST(Incident, TellsTimesForPeopleAndNullWhileItLasts) {
  Incident incident = example();
  incident.ended.reset();
  Json json = to_json(incident);
  EXPECT_EQ(json["began"], "2027-01-15T08:00:00.123Z");
  EXPECT_TRUE(json["ended"].is_null());
  EXPECT_FALSE(incident_from_json(json)->ended);
}

TEST(Incident, RefusesWhatIsNone) {
  for (const char* text : {"null", "7", "[]", "{}", R"({"id":11})", R"({"number":1})", R"({"id":0,"number":1})",
                           R"({"id":253,"number":1})", R"({"id":11,"number":-1})", R"({"id":"11","number":1})"})
    EXPECT_FALSE(incident_from_json(*parse_json(text))) << text;
}

TEST(Incident, ReadsTimesOutOfRangeWithoutOverflow) {
  for (const char* number : {"9223372036854775807", "-9223372036854775808", "18446744073709551615", "1e300"}) {
    auto json = parse_json(fmt::format(
        R"({{"id":11,"number":1,"began_ms":{0},"ended_ms":{0},"took_ms":{0},"steps":[{{"at_ms":{0},"took_ms":{0}}},7]}})",
        number));
    ASSERT_TRUE(json);
    auto incident = incident_from_json(*json);
    ASSERT_TRUE(incident) << number;
    EXPECT_EQ(to_json(*incident)["steps"].size(), 2u);
  }
}

}  // namespace
}  // namespace dongle
