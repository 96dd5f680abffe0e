#include "supervisor/hilink_xml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dongle {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

XmlElement response_of(const std::string& inside) {
  auto reply = parse_hilink_reply("<?xml version=\"1.0\" encoding=\"UTF-8\"?><response>" + inside + "</response>");
  EXPECT_TRUE(reply) << reply.error().message();
  EXPECT_EQ(reply->error, 0);
  return reply->root;
}

TEST(HilinkRequest, KeepsTheOrderAndEscapes) {
  EXPECT_EQ(hilink_request({{"B", "1"}, {"A", "<&>\"'"}, {"P", "", {{"Index", "2"}, {"Name", "x"}}}}),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><request><B>1</B><A>&lt;&amp;&gt;&quot;&apos;</A>"
            "<P><Index>2</Index><Name>x</Name></P></request>");
}

TEST(HilinkReply, ReadsResponsesAndErrors) {
  EXPECT_EQ(parse_hilink_reply("<response>OK</response>")->root.text, "OK");
  EXPECT_EQ(parse_hilink_reply("\xEF\xBB\xBF \r\n<response/>\n")->error, 0);
  EXPECT_EQ(parse_hilink_reply("<error><code>125002</code><message></message></error>")->error, 125002);
  EXPECT_EQ(response_of("<a><![CDATA[x<y]]></a>").text_of("a"), "x<y");
  EXPECT_EQ(response_of("<a> 1 </a><a>2</a>").text_of("a"), "1");
  EXPECT_EQ(response_of("<a>&gt;=&#65;</a>").text_of("a"), ">=A");
}

TEST(HilinkReply, RefusesWhatIsNoReply) {
  std::string deep;
  for (int i = 0; i < 10000; ++i) deep += "<a>";
  std::string wide;
  for (int i = 0; i < 20000; ++i) wide += "<a/>";
  std::string nested_17 = "<response>";
  for (int i = 0; i < 16; ++i) nested_17 += "<a>";
  for (int i = 0; i < 16; ++i) nested_17 += "</a>";
  nested_17 += "</response>";
  const std::pair<std::string, const char*> rows[] = {
      {"", "nothing"},
      {"   ", "not XML"},
      {"OK", "not XML: \"OK\""},
      {"{\"a\":1}", "not XML"},
      {std::string("\xFF\xFE<\0r\0", 6), "not XML"},
      {std::string(1000, '\0'), "not XML"},
      {"<!DOCTYPE html><html><head></head></html>", "a page or a DTD"},
      {"<!DOCTYPE html><html><br></html>", "a page or a DTD"},
      {"<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><response>&b;</response>", "a page or a DTD"},
      {"<html></html>", "neither <response> nor <error>"},
      {"<response><a>1</a>", "broken XML"},
      {"<response><a>1</b></response>", "broken XML"},
      {"<response", "broken XML"},
      {"<", "broken XML"},
      {"<!-- nothing -->", "broken XML"},
      {"<error></error>", "an error without a code"},
      {"<error><code>abc</code></error>", "an error without a code"},
      {"<error><code>99999999999</code></error>", "an error without a code"},
      {"<error><code>0</code></error>", "an error without a code"},
      {deep, "broken XML"},
      {nested_17, "nested too deeply"},
      {"<response>" + wide + "</response>", "too many elements"},
  };
  for (const auto& [body, text] : rows) {
    auto reply = parse_hilink_reply(body);
    ASSERT_FALSE(reply) << body.substr(0, 60);
    EXPECT_EQ(reply.error().code, Errc::Protocol);
    EXPECT_THAT(reply.error().message(), HasSubstr(text));
    EXPECT_LT(reply.error().message().size(), 200u);
  }
}

TEST(HilinkReply, RepairsTextThatIsntUtf8) {
  // U+1F600 as two surrogates of three bytes each, as these modems write it.
  EXPECT_EQ(response_of("<a>\xED\xA0\xBD\xED\xB8\x80</a>").text_of("a"), "\xF0\x9F\x98\x80");
  EXPECT_EQ(response_of("<a>x\xED\xA0\xBDy</a>").text_of("a"), "x\xEF\xBF\xBDy");
  EXPECT_EQ(response_of("<a>x\xFFy\xC3</a>").text_of("a"), "x\xEF\xBF\xBDy\xEF\xBF\xBD");
  EXPECT_EQ(response_of("<a>\xC0\x80</a>").text_of("a"), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(response_of("<a>\xC3\xA9</a>").text_of("a"), "\xC3\xA9");
}

TEST(HilinkTokens, AreFoundInPagesAndHeaders) {
  EXPECT_THAT(csrf_tokens_of_page("<html><meta name=\"csrf_token\" content=\"one\"/>\n<META>"
                                  "<meta name=\"x\" content=\"no\"><meta content='two' name='csrf_token'>"
                                  "<meta name=\"csrf_token\" content=\"\"><meta name=\"csrf_token\""),
              ElementsAre("one", "two"));
  EXPECT_THAT(csrf_tokens_of_page("<meta name=\"csrf_token\" content=\"a\r\nX: y\">"), ElementsAre());
  EXPECT_THAT(csrf_tokens_of_page("<meta name=csrf_token content="), ElementsAre());
  EXPECT_THAT(split_tokens("a#b##c#"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(split_tokens(""), ElementsAre());
  EXPECT_THAT(split_tokens(std::string(5000, '#')), ElementsAre());
  EXPECT_THAT(split_tokens(std::string(600, 'a') + "#b"), ElementsAre("b"));
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "t#";
  EXPECT_EQ(split_tokens(many).size(), 64u);
}

TEST(HilinkTokens, SessionsComeInThreeForms) {
  EXPECT_EQ(session_cookie("SessionID=abc/+=; path=/; HttpOnly"), "SessionID=abc/+=");
  EXPECT_EQ(session_cookie("other=abc"), std::nullopt);
  EXPECT_EQ(session_cookie("SessionID="), std::nullopt);
  EXPECT_EQ(session_cookie("SessionID=a b"), std::nullopt);
  EXPECT_EQ(session_cookie("SessionID=" + std::string(70000, 'x')), std::nullopt);
  EXPECT_EQ(session_cookie_of_ses_info("SessionID=abc"), "SessionID=abc");
  EXPECT_EQ(session_cookie_of_ses_info("abc"), "SessionID=abc");
  EXPECT_EQ(session_cookie_of_ses_info(""), std::nullopt);
}

TEST(HilinkErrors, HaveARuleAndSpeakPlainly) {
  const std::tuple<int, HilinkRule, Errc> rows[] = {
      {100001, HilinkRule::RetryOnce, Errc::Refused},    {100002, HilinkRule::Unsupported, Errc::Unsupported},
      {100003, HilinkRule::Login, Errc::Permission},     {100004, HilinkRule::BackOff, Errc::Busy},
      {103002, HilinkRule::Human, Errc::Refused},        {103099, HilinkRule::Human, Errc::Refused},
      {107721, HilinkRule::Surface, Errc::Refused},      {108006, HilinkRule::Credentials, Errc::Permission},
      {108007, HilinkRule::LockedOut, Errc::Permission}, {112005, HilinkRule::Disconnect, Errc::Busy},
      {125001, HilinkRule::NewToken, Errc::Protocol},    {125002, HilinkRule::NewSession, Errc::Protocol},
      {125003, HilinkRule::NewSession, Errc::Protocol},  {-5, HilinkRule::Surface, Errc::Refused},
  };
  for (const auto& [code, rule, errc] : rows) {
    EXPECT_EQ(hilink_error_info(code).rule, rule) << code;
    EXPECT_EQ(hilink_error("x", code).code, errc) << code;
  }
  EXPECT_EQ(hilink_error("device/control", 125003).message(), "device/control: error 125003 (wrong session token)");
}

TEST(HilinkStatus, ClassifiesConnections) {
  const std::pair<int, ConnectionState> rows[] = {
      {901, ConnectionState::Connected},
      {900, ConnectionState::Connecting},
      {902, ConnectionState::Disconnected},
      {903, ConnectionState::Disconnecting},
      {904, ConnectionState::Failed},
      {905, ConnectionState::NoRegistration},
      {907, ConnectionState::NoRegistration},
      {112, ConnectionState::NoRegistration},
      {115, ConnectionState::NoRegistration},
      {116, ConnectionState::Unknown},
      {2, ConnectionState::InvalidProfile},
      {27, ConnectionState::InvalidProfile},
      {33, ConnectionState::InvalidProfile},
      {34, ConnectionState::Unknown},
      {7, ConnectionState::NotAllowed},
      {37, ConnectionState::NotAllowed},
      {12, ConnectionState::RoamingNotAllowed},
      {201, ConnectionState::DataLimit},
      {0, ConnectionState::Unknown},
      {-1, ConnectionState::Unknown},
  };
  for (const auto& [code, state] : rows) EXPECT_EQ(connection_state_of(code), state) << code;
}

TEST(HilinkStatus, ReadsWhatIsThereAndSkipsWhatIsnt) {
  auto status = read_modem_status(response_of(
      "<ConnectionStatus>901</ConnectionStatus><SignalStrength></SignalStrength><SignalIcon>4</SignalIcon>"
      "<CurrentNetworkType>19</CurrentNetworkType><CurrentNetworkTypeEx>101</CurrentNetworkTypeEx>"
      "<RoamingStatus>0</RoamingStatus><WanIPAddress>10.1.2.3</WanIPAddress><PrimaryDns>10.0.0.1</PrimaryDns>"
      "<SecondaryDns></SecondaryDns><PrimaryIPv6Dns>2001:db8::1</PrimaryIPv6Dns><SimStatus>1</SimStatus>"
      "<ServiceStatus>2</ServiceStatus>"));
  ASSERT_TRUE(status) << status.error().message();
  EXPECT_EQ(status->connection, ConnectionState::Connected);
  EXPECT_EQ(status->sim_status, 1);
  EXPECT_EQ(status->service_status, 2);
  EXPECT_EQ(status->roaming, false);
  EXPECT_EQ(status->signal_icon, 4);
  EXPECT_EQ(status->network_type, "LTE");
  EXPECT_EQ(status->wan_address->to_string(), "10.1.2.3");
  ASSERT_EQ(status->dns.size(), 2u);
  EXPECT_EQ(status->dns[1].to_string(), "2001:db8::1");

  auto bare =
      read_modem_status(response_of("<ConnectionStatus>902</ConnectionStatus><WanIPAddress/>"
                                    "<CurrentNetworkType>0</CurrentNetworkType><SimStatus>x</SimStatus>"));
  ASSERT_TRUE(bare);
  EXPECT_EQ(bare->wan_address, std::nullopt);
  EXPECT_EQ(bare->sim_status, std::nullopt);
  EXPECT_EQ(bare->network_type, "none");

  auto broken = read_modem_status(response_of("<ConnectionStatus>1e9</ConnectionStatus>"));
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().message(), "ConnectionStatus is \"1e9\" where a number belongs");
}

TEST(HilinkStatus, ReadsTheSimsState) {
  const std::pair<int, SimState> rows[] = {
      {255, SimState::Absent},      {256, SimState::Fault},    {257, SimState::Ready},
      {258, SimState::PinDisabled}, {259, SimState::Checking}, {260, SimState::PinRequired},
      {261, SimState::PukRequired}, {999, SimState::Unknown},
  };
  for (const auto& [code, sim] : rows) {
    auto pin = read_pin_status(response_of(fmt::format("<SimState>{}</SimState><SimPinTimes>3</SimPinTimes>", code)));
    ASSERT_TRUE(pin);
    EXPECT_EQ(pin->sim, sim);
    EXPECT_EQ(pin->pin_tries, 3);
    EXPECT_EQ(pin->puk_tries, std::nullopt);
  }
}

TEST(HilinkSignal, ReadsLevelsInTheModemsNotation) {
  const std::pair<const char*, std::optional<double>> rows[] = {
      {"-105dBm", -105},     {"&gt;=-51dBm", -51},  {"-9.5 dB", -9.5},     {"7", 7},
      {"", std::nullopt},    {"dBm", std::nullopt}, {"1e9", std::nullopt}, {"nan", std::nullopt},
      {"-1x", std::nullopt}, {"--1", std::nullopt},
  };
  for (const auto& [text, level] : rows)
    EXPECT_EQ(read_signal(response_of(fmt::format("<rsrp>{}</rsrp>", text))).rsrp_dbm, level) << text;
  EXPECT_EQ(read_signal(response_of("")).rsrq_db, std::nullopt);
  EXPECT_EQ(read_signal(response_of("<cell_id>123</cell_id>")).cell_id, "123");
}

TEST(HilinkReaders, ReadInformationAndTraffic) {
  auto info = read_device_information(
      response_of("<DeviceName>E8372h-320</DeviceName><Imei>861</Imei><SoftwareVersion>21.1</SoftwareVersion>"
                  "<uptime>4711</uptime>"));
  ASSERT_TRUE(info);
  EXPECT_EQ(info->name, "E8372h-320");
  EXPECT_EQ(info->uptime, Seconds{4711});
  EXPECT_FALSE(read_device_information(response_of("<x/>")));

  auto traffic = read_traffic_statistics(
      response_of("<CurrentDownload>5000000000</CurrentDownload><TotalUpload>-1</TotalUpload>"));
  ASSERT_TRUE(traffic);
  EXPECT_EQ(traffic->current_download_bytes, 5'000'000'000u);
  EXPECT_EQ(traffic->total_upload_bytes, 0u);
  EXPECT_FALSE(read_traffic_statistics(response_of("OK")));
}

TEST(HilinkReaders, ReadProfilesPlmnAndSwitch) {
  auto profiles = read_profiles(response_of(
      "<CurrentProfile>2</CurrentProfile><Profiles><Profile><Index>1</Index><Name>a</Name></Profile><Profile>"
      "<Index>2</Index><Name>b</Name><ApnName>internet</ApnName><ReadOnly>1</ReadOnly></Profile></Profiles>"));
  ASSERT_TRUE(profiles);
  EXPECT_EQ(profiles->current, 2);
  ASSERT_EQ(profiles->profiles.size(), 2u);
  EXPECT_EQ(profiles->profiles[1].apn, "internet");
  EXPECT_TRUE(profiles->profiles[1].read_only);
  EXPECT_FALSE(profiles->profiles[0].read_only);
  EXPECT_EQ(read_plmn(response_of("<Numeric>26201</Numeric><FullName>T</FullName>"))->numeric, "26201");
  EXPECT_FALSE(read_plmn(response_of("")));
  EXPECT_TRUE(read_data_switch(response_of("<dataswitch>1</dataswitch>")).value());
  EXPECT_FALSE(read_data_switch(response_of("<dataswitch>0</dataswitch>")).value());
  EXPECT_FALSE(read_data_switch(response_of("<dataswitch></dataswitch>")));
}

TEST(HilinkNetMode, GoesBackAsItCame) {
  auto mode =
      read_net_mode(response_of("<NetworkMode>00</NetworkMode><NetworkBand>3FFFFFFF</NetworkBand>"
                                "<LTEBand>7FFFFFFFFFFFFFFF</LTEBand>"));
  ASSERT_TRUE(mode);
  mode->mode = "03";
  EXPECT_EQ(net_mode_request(*mode).value(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><request><NetworkMode>03</NetworkMode>"
            "<NetworkBand>3FFFFFFF</NetworkBand><LTEBand>7FFFFFFFFFFFFFFF</LTEBand></request>");
  for (const char* bad : {"", "0x3F", "12345678123456781", "<a>"}) {
    mode->band = bad;
    EXPECT_EQ(net_mode_request(*mode).error().code, Errc::InvalidArgument) << bad;
  }
  EXPECT_FALSE(read_net_mode(response_of("")));
}

TEST(HilinkLogin, ReadsTheState) {
  auto state =
      read_login_state(response_of("<State>-1</State><password_type>4</password_type>"
                                   "<extern_password_type>1</extern_password_type>"
                                   "<remainwaittime>5</remainwaittime>"));
  ASSERT_TRUE(state);
  EXPECT_EQ(state->state, -1);
  EXPECT_EQ(state->password_type, 4);
  EXPECT_TRUE(state->is_scram);
  EXPECT_EQ(state->wait_time, std::chrono::minutes{5});
  auto old = read_login_state(response_of("<State>-1</State><remainwaittime>-7</remainwaittime>"));
  EXPECT_EQ(old->password_type, 0);
  EXPECT_FALSE(old->is_scram);
  EXPECT_EQ(old->wait_time, Seconds{0});
}

}  // namespace
}  // namespace dongle
