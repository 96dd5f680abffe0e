#include "tools/ctl/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tools/ctl/client.h"
#include "tools/ctl/format.h"

namespace dongle::ctl {
namespace {

using testing::HasSubstr;

const Style kPlain{true, false, 0};
const WallTime kNow = parse_rfc3339("2026-11-22T01:02:03Z").value();

TEST(Format, PrintsBytesWithThreeDigitsAtMost) {
  const std::vector<std::pair<std::int64_t, std::string>> cases = {{0, "0 B"},
                                                                   {999, "999 B"},
                                                                   {1000, "1.0 KiB"},
                                                                   {1536, "1.5 KiB"},
                                                                   {10189, "10 KiB"},
                                                                   {1024 * 1024 - 1, "1.0 MiB"},
                                                                   {123456789, "118 MiB"},
                                                                   {INT64_MAX, "8192 PiB"},
                                                                   {-1, "-"}};
  for (const auto& [bytes, text] : cases) EXPECT_EQ(format_bytes(bytes), text) << bytes;
  EXPECT_EQ(format_rate(2048), "2.0 KiB/s");
  EXPECT_EQ(format_rate(-1), "-");
}

TEST(Format, ReadsTimesAndTellsTheirAge) {
  EXPECT_EQ(format_age("2026-11-22T01:02:00.999Z", kNow), "3s");
  EXPECT_EQ(format_age("2026-11-22T01:01:03+00:00", kNow), "1m");
  EXPECT_EQ(format_age("2036-11-22T01:01:03Z", kNow), "0s");
  for (std::string bad :
       {"", "yesterday", "2026-11-22", "2026-11-22T01:02:03", "2026-11-22T01:02:03.5+02:00", "2026-11-22T01:02:03Zx"})
    EXPECT_EQ(format_age(bad, kNow), "-") << bad;
}

TEST(Format, MakesTextSafeForATerminal) {
  EXPECT_EQ(printable("a\x1b[31mb\nc\td\x7f"), "a?[31mb c d?");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m é"),
            "?31m é");
  EXPECT_EQ(display_width("é…x"), 3u);
}

TEST(Table, AlignsColumns) {
  Table table({{"ID", Table::Align::Right}, {"NAME"}, {"NOTE"}});
  table.add({{"1"}, {"a"}, {""}});
  table.add({{"123"}, {"long é"}, {"some\nnote"}});
  EXPECT_EQ(table.render(kPlain),
            " ID  NAME    NOTE\n"
            "  1  a       -\n"
            "123  long é  some note\n");
  EXPECT_EQ(table.render({false, false, 0}),
            "  1  a       -\n"
            "123  long é  some note\n");
}

TEST(Table, CutsTheLastColumnToTheTerminal) {
  Table table({{"A"}, {"B"}});
  table.add({{"x"}, {"0123456789"}});
  EXPECT_EQ(table.render({true, false, 8}), "A  B\nx  0123…\n");
  EXPECT_EQ(table.render({true, false, 13}), "A  B\nx  0123456789\n");
}

TEST(Table, ColoursWithoutMovingColumns) {
  Table table({{"A"}, {"B"}});
  table.add({{"x", Colour::Good}, {"y"}});
  EXPECT_EQ(table.render({false, true, 0}), "\033[32mx\033[0m  y\n");
}

Json status_document() {
  return Json::parse(R"({"schema":1,"dongles":[
    {"id":11,"state":"online","since":"2026-11-22T01:01:03Z","interface":"dg11","public_ip":"198.51.100.7","socks5_port":10011,
     "worker":{"pid":1,"connections":3},"rx_bytes_per_s":1536,"tx_bytes_per_s":20,"stage":null,"reason":null},
    {"id":12,"state":"recovering","since":"2026-11-22T01:02:00Z","interface":null,"public_ip":null,"socks5_port":10012,
     "worker":null,"rx_bytes_per_s":0,"tx_bytes_per_s":0,"stage":"modem","reason":"no egress"}]})");
}

TEST(Render, StatusIsAnAlignedTable) {
  EXPECT_EQ(render_status(status_document(), kPlain, kNow),
            "ID  STATE              SINCE  INTERFACE  PUBLIC-IP      PORT  CONNS         RX      TX  REASON\n"
            "11  online                1m  dg11       198.51.100.7  10011      3  1.5 KiB/s  20 B/s  -\n"
            "12  recovering(modem)     3s  -          -             10012      -      0 B/s   0 B/s  no egress\n");
}

TEST(Render, OnlyOnlineCountsAsUp) {
  Json document = status_document();
  EXPECT_FALSE(all_up(document));
  document["dongles"][1]["state"] = "online";
  EXPECT_TRUE(all_up(document));
  document["dongles"][1]["state"] = "stopped";
  EXPECT_FALSE(all_up(document));
  EXPECT_TRUE(all_up(Json::parse(R"({"dongles":[]})")));
}

TEST(Render, RotationTellsTheOutcome) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"id":1,"outcome":"changed","old_ip":"192.0.2.1","new_ip":"192.0.2.7","took_ms":4200})",
       "1: 192.0.2.1 -> 192.0.2.7 (changed, 4.2s)\n"},
      {R"({"id":1,"outcome":"changed","old_ip":null,"new_ip":"192.0.2.7","took_ms":65000})",
       "1: - -> 192.0.2.7 (changed, 1m5s)\n"},
      {R"({"id":1,"outcome":"same_ip","old_ip":"192.0.2.1","new_ip":"192.0.2.1","took_ms":900})",
       "1: still 192.0.2.1 (same_ip, 0.9s)\n"},
      {R"({"id":1,"outcome":"started"})", "1: started\n"}};
  for (const auto& [result, text] : cases) EXPECT_EQ(render_rotation(Json::parse(result)), text);
}

TEST(Render, WhyTellsWhatWasSeenDoneAndComes) {
  Json result = Json::parse(R"({"id":11,"state":"recovering","since":"2026-11-22T01:02:00Z","reason":"probes fail",
    "diagnosis":{"fault":"no_egress","evidence":["3 connects failed","API says connected"]},
    "steps":[{"stage":"modem","action":"toggle_data","outcome":"done","detail":"reconnected","took_ms":3100}],"next":"usb in 10s"})");
  EXPECT_EQ(render_why(result, kPlain, kNow),
            "11: recovering for 3s\n"
            "  reason:    probes fail\n"
            "  diagnosis: no_egress: 3 connects failed; API says connected\n"
            "  STAGE  ACTION       OUTCOME  TOOK  DETAIL\n"
            "  modem  toggle_data  done     3.1s  reconnected\n"
            "  next:      usb in 10s\n");
}

TEST(Render, DetailsAreIndentedLines) {
  EXPECT_EQ(
      render_details(Json::parse(R"({"id":11,"modem":{"name":"E8372","signal":{"rsrp":-97}},"ports":[1,2],"none":null,
    "list":[{"a":1}]})")),
      "id:    11\n"
      "list:\n"
      "  1:\n"
      "    a: 1\n"
      "modem:\n"
      "  name:   E8372\n"
      "  signal:\n"
      "    rsrp: -97\n"
      "none:  -\n"
      "ports: 1, 2\n");
}

TEST(Render, SurvivesDocumentsOfAnotherShape) {
  for (std::string text : {"null", "{}", "[]", "1", R"({"dongles":1})", R"({"dongles":[1,null,[]]})",
                           R"({"dongles":[{"id":{},"since":5}]})",
                           R"({"steps":[1],"diagnosis":[1],"incidents":[{}],"profiles":[5],"changed":{}})"}) {
    Json any = Json::parse(text);
    std::string all = render_status(any, kPlain, kNow) + render_action(any) + render_rotation(any) +
                      render_recovery(any, kPlain) + render_why(any, kPlain, kNow) + render_traffic(any, kPlain, kNow) +
                      render_incidents(any, kPlain) + render_apn(any, kPlain) + render_reload(any) +
                      render_details(any);
    EXPECT_THAT(all, HasSubstr("ID"));
    all_up(any);
  }
}

TEST(Failures, SayWhatToDo) {
  Failure cooldown =
      failure_from_reply(Json::parse(R"({"code":"cooldown","message":"rotated just now","retry_after_s":7})"));
  EXPECT_EQ(cooldown.exit, ExitCode::RefusedNow);
  EXPECT_EQ(cooldown.message, "rotated just now; try again in 7s");
  EXPECT_EQ(failure_from_reply(Json::parse(R"({"code":"not_found","message":"no dongle 99"})")).exit,
            ExitCode::NoSuchDongle);
  EXPECT_EQ(failure_from_reply(Json::parse("[]")).exit, ExitCode::Failed);
}

}  // namespace
}  // namespace dongle::ctl
