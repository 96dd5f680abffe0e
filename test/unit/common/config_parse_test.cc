#include "common/config_parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <random>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "common/config_schema.h"
#include "common/json.h"

namespace dongle {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

// The problems of a text, one a line; empty if there are none.
std::string problems_of(std::string_view yaml) {
  auto config = parse_config(yaml, "c.yaml");
  return config ? "" : fmt::format("{}", fmt::join(config.error(), "\n"));
}

Config parse_good(std::string_view yaml) {
  auto config = parse_config(yaml, "c.yaml");
  EXPECT_TRUE(config) << problems_of(yaml);
  return config.value_or(Config{});
}

TEST(ConfigParse, FillsInEveryDefaultOfTheContract) {
  Config c = parse_good("dongles: [{id: 11, usb_path: 2-1.1}]");
  EXPECT_EQ(c.file, "c.yaml");
  EXPECT_EQ(c.uplink, (UplinkConfig{"auto", 100}));
  EXPECT_EQ(c.runtime_dir, "/run/dongle-supervisor");
  EXPECT_EQ(c.state_dir, "/var/lib/dongle-supervisor");
  EXPECT_EQ(c.launcher, LauncherKind::Fork);
  EXPECT_EQ(c.worker_uid_base, 1900000000u);
  EXPECT_EQ(c.worker_uid(DongleId{11}), 1900000011u);
  EXPECT_EQ(c.api, (ApiConfig{"127.0.0.1:8080", ""}));
  ProxyConfig proxy;
  proxy.listen_address = Address::parse("127.0.0.1").value();
  proxy.clients_refresh = 1h;
  proxy.port_base = 10000;
  proxy.max_connections = 2000;
  proxy.max_connections_per_client = 100;
  proxy.max_new_connections_per_client = 300;
  proxy.connect_timeout = 10s;
  proxy.handshake_timeout = 10s;
  proxy.idle_timeout = 10min;
  EXPECT_EQ(c.proxy, proxy);
  ASSERT_EQ(c.probe.targets.size(), 2u);
  EXPECT_EQ(c.probe.targets[0].url, "http://connectivitycheck.gstatic.com/generate_204");
  EXPECT_EQ(c.probe.targets[1].url, "http://detectportal.firefox.com/success.txt");
  EXPECT_EQ(c.probe.public_ip_url, "http://checkip.amazonaws.com/");
  EXPECT_EQ(c.probe.interval, 30s);
  EXPECT_EQ(c.probe.timeout, 5s);
  EXPECT_EQ(c.probe.down_after, 3);
  EXPECT_EQ(c.probe.up_after, 2);
  EXPECT_EQ(c.rotation, (RotationConfig{15s, 3s, 60s, 3}));
  EXPECT_TRUE(c.recovery.enabled);
  EXPECT_THAT(c.recovery.stages, testing::ElementsAreArray(kStages));
  EXPECT_EQ(c.recovery.settle, (std::map<Stage, Millis>{{Stage::Route, 3s},
                                                        {Stage::Modem, 30s},
                                                        {Stage::Usb, 30s},
                                                        {Stage::PortPower, 60s},
                                                        {Stage::HubPower, 90s}}));
  EXPECT_EQ(c.recovery.retry_after, 5min);
  EXPECT_EQ(c.recovery.hub_power, HubPowerPolicy::WhenAllDown);
  EXPECT_TRUE(c.hubs.empty());
  EXPECT_TRUE(c.keys_without_effect.empty());
  DongleConfig d;
  d.id = DongleId{11};
  d.usb_path = "2-1.1";
  d.socks5_port = 10011;
  d.modem.username = "admin";
  EXPECT_THAT(c.dongles, ElementsAre(d));
}

TEST(ConfigParse, ReadsTheFileThatSetsEveryKey) {
  auto config = load_config(TEST_DATA_DIR "/good/every_key.yaml");
  ASSERT_TRUE(config) << fmt::format("{}", fmt::join(config.error(), "\n"));
  EXPECT_THAT(config->hubs, ElementsAre(HubConfig{"rack-a", "2-1", HubSwitching::Ganged}));
  ASSERT_EQ(config->dongles.size(), 1u);
  const DongleConfig& d = config->dongles[0];
  EXPECT_EQ(d.interface, "enx0c5b8f279a64");
  EXPECT_EQ(d.address_mode, AddressMode::Static);
  EXPECT_EQ(d.address->to_string(), "192.168.11.100/24");
  EXPECT_EQ(d.gateway->to_string(), "192.168.11.1");
  EXPECT_EQ(d.modem, (ModemConfig{ModemType::HiLink, "http://192.168.11.1", "admin", ""}));
  EXPECT_THAT(config->keys_without_effect,
              ElementsAre("uplink.interface", "uplink.metric", "api.listen", "proxy.clients_refresh",
                          "proxy.max_new_connections_per_client"));
}

TEST(ConfigParse, ReadsARackOfEqualSticks) {
  auto config = load_config(TEST_DATA_DIR "/good/three_sticks.yaml");
  ASSERT_TRUE(config) << fmt::format("{}", fmt::join(config.error(), "\n"));
  ASSERT_EQ(config->dongles.size(), 3u);
  EXPECT_EQ(config->dongles[0].gateway->to_string(), "192.168.8.1");
  EXPECT_EQ(config->dongles[1].socks5_port, 10002);
  EXPECT_EQ(config->dongles[2].mac, "0c:5b:8f:27:9a:64");
  EXPECT_EQ(config->dongles[2].address_mode, AddressMode::Dhcp);
  EXPECT_EQ(config->dongles[2].gateway, std::nullopt);
  EXPECT_EQ(config->dongles[2].modem.type, ModemType::None);
  EXPECT_EQ(config->recovery.settle.at(Stage::Modem), 90s);
  EXPECT_EQ(config->recovery.settle.at(Stage::Usb), 30s);
}

TEST(ConfigParse, AcceptsTheFormsAValueMayTake) {
  for (std::string good : {
           "dongles: []",
           "\xef\xbb\xbf"
           "dongles: []",
           "---\ndongles: []\n...\n",
           "{\"dongles\": []}",
           "dongles: []\r\nproxy: {port_base: 1}\r\n",
           "dongles: []\nproxy: {idle_timeout: 1h30m, clients_refresh: 1d12h, connect_timeout: 250ms, "
           "handshake_timeout: \"1m1s\"}",
           "dongles: []\nproxy: {users_file: null, clients_url: ~, listen_address: '::1'}",
           "dongles: []\nproxy: {listen_address: '::', users_file: /etc/users}",
           "dongles: []\napi: {listen: '[::1]:80'}",
           "dongles: []\nprobe: {targets: ['tcp://1.1.1.1:443', 'https://[2001:db8::1]:8443/x?y=1']}",
           "dongles: []\nrecovery: {stages: [usb, hub_power], settle: {}}",
           "dongles: [{id: 252, interface: wwan0, mac: '00:11:22:33:44:55', usb_path: 1-1, gateway: 10.0.0.1}]",
           "dongles: [{id: 1, interface: wwan0, modem: {url: 'https://192.168.8.1:8443/'}, ttl: 64}]",
           "dongles: [{id: 1, interface: wwan0, listeners: [{type: forward, port: 1, target: 'example.com:443'}]}]",
       })
    EXPECT_EQ(problems_of(good), "") << good;
}

struct BadCase {
  std::string yaml;
  std::string expected;
};

TEST(ConfigParse, SaysWhereAndWhatIsWrong) {
  const std::string ok = "dongles: []\n";
  const std::vector<BadCase> cases = {
      // the file as a whole
      {"", "c.yaml:1: is empty"},
      {"# nothing\n", "is empty"},
      {"- 1\n", "c.yaml:1: expected a map of keys, got a list"},
      {"hello", "expected a map of keys, got \"hello\""},
      {"proxy: {}\n", "c.yaml:1: dongles: is missing"},
      {ok + "---\n" + ok, "c.yaml:2:1: a second document"},
      {"a: [1,\n", "c.yaml:2:"},
      {ok + "proxy: }\n", "c.yaml:2:8: "},
      {ok + "proxy:\n\tport_base: 1\n", "c.yaml:3:1: a tab; indent with blanks"},
      {ok + "a: \"x\n", "c.yaml:"},
      {ok + std::string("x: \0", 4), "c.yaml:2:4: a control character"},
      {ok + "x: \xff", "c.yaml:2:4: a byte that is not UTF-8"},
      {"\xff\xfe"
       "d\0",
       "c.yaml:1:1: a byte that is not UTF-8"},
      {"proxy: &p {}\ndongles: []\n", "c.yaml:1:"},
      {"hubs: &h []\ndongles: *h\n", "anchors and aliases"},
      {ok + "launcher: !!str fork\n", "c.yaml:2:11: tags"},
      {ok + "? [a]\n: b\n", "c.yaml:2:3: a key must be a plain word"},
      {ok + "x: " + std::string(20, '[') + std::string(20, ']'), "nested too deeply"},
      // keys
      {ok + "proxi: {}\n", "c.yaml:2: \"proxi\": unknown key; did you mean proxy?"},
      {ok + "proxy:\n  port_bse: 1\n", "c.yaml:3: proxy.\"port_bse\": unknown key; did you mean port_base?"},
      {ok + "port_base: 1\n", "\"port_base\": unknown key; there is proxy.port_base"},
      {ok + "rotation: {xyzzy: 1}\n", "unknown key; the keys here are cooldown, off_time, timeout, max_concurrent"},
      {"dongles:\n- id: 1\n  usb_path: 1-1\n  usbpath: 1-1\n",
       "c.yaml:4: dongles[0].\"usbpath\": unknown key; did you mean usb_path?"},
      {ok + "proxy:\n  port_base: 1\n  port_base: 2\n", "c.yaml:4: proxy.port_base: is set twice, first on line 3"},
      {ok + ok, "c.yaml:2: dongles: is set twice, first on line 1"},
      {ok + "<<: {a: 1}\n", "c.yaml:2: \"<<\": unknown key"},
      // types
      {"dongles: 1\n", "c.yaml:1: dongles: expected a list, got \"1\""},
      {"dongles:\n", "c.yaml:1: dongles: expected a list, got nothing; write [] for none"},
      {"dongles: {id: 1}\n", "dongles: expected a list, got a map"},
      {"dongles: [1]\n", "dongles[0]: expected a map of keys, got \"1\""},
      {ok + "proxy: 1\n", "c.yaml:2: proxy: expected a map of keys, got \"1\""},
      {ok + "proxy:\n", "c.yaml:2: proxy: expected a map of keys, got nothing"},
      {ok + "proxy: {port_base: abc}", "proxy.port_base: expected a whole number within 1 to 65534, got \"abc\""},
      {ok + "proxy: {port_base: 1.5}", "expected a whole number"},
      {ok + "proxy: {port_base: 0x10}", "expected a whole number"},
      {ok + "proxy: {port_base: 010}", "\"010\" starts with a zero"},
      {ok + "proxy: {port_base: '10'}", "write 10 without quotes"},
      {ok + "proxy: {port_base: null}", "expected a whole number within 1 to 65534, got nothing"},
      {ok + "proxy: {port_base: [1]}", "got a list"},
      {ok + "recovery: {enabled: yes}", "recovery.enabled: expected true or false, got \"yes\""},
      {ok + "recovery: {enabled: 'true'}", "expected true or false, got the text \"true\""},
      {ok + "recovery: {enabled: 1}", "expected true or false"},
      {ok + "proxy: {clients: 10.0.0.0/8}",
       "proxy.clients: expected a list, got \"10.0.0.0/8\"; put it in brackets, as in [10.0.0.0/8]"},
      {ok + "runtime_dir: 5", "runtime_dir: expected text, got 5; quote it"},
      {ok + "runtime_dir: null", "runtime_dir: expected text, got nothing"},
      // ranges and forms
      {ok + "proxy: {port_base: 70000}", "c.yaml:2: proxy.port_base: 70000 is not within 1 to 65534"},
      {ok + "proxy: {port_base: -1}", "-1 is not within"},
      {ok + "proxy: {port_base: 99999999999999999999999}", "is not within"},
      {ok + "probe: {interval: 30}", "c.yaml:2: probe.interval: \"30\" is not a duration: it has no unit; write 30s"},
      {ok + "probe: {interval: 1 h}", "is not a duration"},
      {ok + "probe: {interval: 5w}", "is not a duration"},
      {ok + "probe: {interval: 1m1h}", "is not a duration"},
      {ok + "probe: {interval: 1s1s}", "is not a duration"},
      {ok + "probe: {interval: 1h30}", "is not a duration"},
      {ok + "probe: {interval: ''}", "is not a duration"},
      {ok + "probe: {interval: -1s}", "is not a duration"},
      {ok + "probe: {interval: 999999999999h}", "is not a duration"},
      {ok + "probe: {interval: 2h}", "probe.interval: 2h is not within 100ms to 1h"},
      {ok + "probe: {targets: []}", "probe.targets: has 0 items, not within 1 to 16"},
      {ok + "probe:\n  targets:\n  - http://a/\n  - ftp://a/\n",
       "c.yaml:5: probe.targets[1]: \"ftp://a/\": expected http://"},
      {ok + "probe: {targets: ['tcp://host']}", "expected tcp://HOST:PORT"},
      {ok + "probe: {targets: ['http://']}", "expected HOST or HOST:PORT"},
      {ok + "probe: {targets: ['http://u:p@h/']}", "user name or password"},
      {ok + "probe: {public_ip_url: 'http://a b/'}", "neither blanks"},
      {ok + "launcher: docker", "launcher: expected fork | systemd, got \"docker\""},
      {ok + "recovery: {stages: [modem, route]}", "recovery.stages: each stage stands once, in the order"},
      {ok + "recovery: {stages: [modem, modem]}", "each stage stands once"},
      {ok + "recovery: {stages: [modm]}", "recovery.stages[0]: \"modm\" is not a stage; did you mean modem?"},
      {ok + "recovery: {stages: []}", "has 0 items"},
      {ok + "recovery: {settle: {modm: 1s}}", "recovery.settle.\"modm\": unknown key; did you mean modem?"},
      {ok + "runtime_dir: run", "expected an absolute path, got \"run\""},
      {ok + "proxy: {listen_address: localhost}", "\"localhost\" is not an IP address"},
      {ok + "proxy: {clients: [10.0.0.1/8]}", "write 10.0.0.0/8"},
      {ok + "proxy: {clients: [10.0.0.0/33]}", "is not an address or prefix"},
      {ok + "api: {listen: '8080'}", "api.listen: expected"},
      {ok + "hubs: [{name: a, location: x}]", "hubs[0].location: \"x\" is not a USB port path"},
      {ok + "hubs: [{location: 2-1}]", "c.yaml:2: hubs[0].name: is missing"},
      {ok + "hubs: [{name: a, location: 2-1, power: perport}]",
       "hubs[0].power: expected auto | per_port | ganged | none, got \"perport\""},
      {ok + "hubs: [{name: a, location: 2-1}, {name: a, location: 2-1}]",
       "hubs[1].name: hub a is already used by hubs[0].name in line 2"},
      // dongles
      {"dongles: [{interface: a}]", "dongles[0].id: is missing"},
      {"dongles: [{id: 0, interface: a}]", "dongles[0].id: 0 is not within 1 to 252"},
      {"dongles: [{id: 253, interface: a}]", "253 is not within 1 to 252"},
      {"dongles:\n- id: 1\n", "c.yaml:2: dongles[0]: says nowhere which modem it is; set usb_path, interface or mac"},
      {"dongles: [{id: 1, interface: abcdefghijklmnop}]", "is not an interface name"},
      {"dongles: [{id: 1, interface: a/b}]", "is not an interface name"},
      {"dongles: [{id: 1, interface: 'a b'}]", "is not an interface name"},
      {"dongles: [{id: 1, mac: '00:11:22:33:44'}]", "is not a MAC address"},
      {"dongles: [{id: 1, mac: '00:11:22:33:44:5g'}]", "is not a MAC address"},
      {"dongles: [{id: 1, usb_path: 2-1..1}]", "is not a USB port path"},
      {"dongles: [{id: 1, usb_path: ../../etc}]", "is not a USB port path"},
      {"dongles: [{id: 1, interface: a, address: 10.0.0.5}]", "has no prefix length; write 10.0.0.5/24"},
      {"dongles: [{id: 1, interface: a, address: 10.0.0.0/24}]",
       "network or broadcast address; write a host's, such as 10.0.0.1/24"},
      {"dongles: [{id: 1, interface: a, address: 10.0.0.255/24}]", "network or broadcast address"},
      {"dongles: [{id: 1, interface: a, address: 127.0.0.1/8}]", "can't be the address of an interface"},
      {"dongles: [{id: 1, interface: a, address: static}]", "is not dhcp, auto, or an IPv4 address"},
      {"dongles: [{id: 1, interface: a, address: 10.0.0.1/24}]",
       "the subnet's first host, where the modem is expected; set gateway"},
      {"dongles: [{id: 1, interface: a, address: 10.0.0.5/24, gateway: 10.0.1.1}]",
       "dongles[0].gateway: 10.0.1.1 is not a host of the subnet 10.0.0.0/24"},
      {"dongles: [{id: 1, interface: a, address: 10.0.0.5/24, gateway: 10.0.0.5}]", "is the dongle's own address"},
      {"dongles: [{id: 1, interface: a, gateway: 'fe80::1'}]", "expected an IPv4 address"},
      {"dongles: [{id: 1, interface: a, ttl: 0}]", "dongles[0].ttl: 0 is not within 1 to 255"},
      {"dongles: [{id: 1, interface: a, ttl: 256}]", "256 is not within 1 to 255"},
      {"dongles: [{id: 1, interface: a, modem: {type: qmi}}]",
       "dongles[0].modem.type: expected none | hilink, got \"qmi\""},
      {"dongles: [{id: 1, interface: a, modem: {url: 'http://hi.link'}}]", "expected an IP address as host"},
      {"dongles: [{id: 1, interface: a, modem: {url: 'http://10.0.0.1/api'}}]", "without a path"},
      {"dongles: [{id: 1, interface: a, modem: {url: 10.0.0.1}}]", "starts with http:// or https://"},
      {"dongles: [{id: 1, interface: a, modem: {password_file: pw}}]", "expected an absolute path"},
      {"dongles: [{id: 1, interface: a, listeners: [{port: 1}]}]", "dongles[0].listeners[0].target: is missing"},
      {"dongles: [{id: 1, interface: a, listeners: [{port: 0, target: a:1}]}]",
       "dongles[0].listeners[0].port: 0 is not within"},
      {"dongles: [{id: 1, interface: a, listeners: [{port: 9, target: a}]}]", "expected HOST:PORT"},
      // several keys together
      {"dongles:\n- {id: 1, interface: a}\n- {id: 1, interface: b}\n",
       "c.yaml:3: dongles[1].id: id 1 is already used by dongles[0].id in line 2"},
      {"dongles:\n- {id: 1, interface: a}\n- {id: 2, interface: a}\n",
       "c.yaml:3: dongles[1].interface: interface a is already used"},
      {"dongles:\n- {id: 1, mac: '0a:00:00:00:00:01'}\n- {id: 2, mac: '0A-00-00-00-00-01'}\n",
       "mac 0a:00:00:00:00:01 is already used"},
      {"dongles:\n- {id: 1, usb_path: 1-1}\n- {id: 2, usb_path: 1-1}\n", "usb_path 1-1 is already used"},
      {"dongles:\n- {id: 1, interface: a, socks5: 10002}\n- {id: 2, interface: b}\n",
       "c.yaml:2: dongles[0].socks5: port 10002 is already used by dongles[1].socks5, by default"},
      {"dongles:\n- {id: 1, interface: a, socks5: 8080}\n",
       "dongles[0].socks5: port 8080 is already used by api.listen, by default"},
      {"dongles:\n- {id: 1, interface: a, listeners: [{port: 10001, target: a:1}]}\n",
       "dongles[0].listeners[0].port: port 10001 is already used"},
      {"proxy: {port_base: 65500}\ndongles:\n- {id: 100, interface: a}\n",
       "c.yaml:3: dongles[0]: proxy.port_base 65500 + id 100 = 65600 is not a port"},
      {ok + "proxy: {listen_address: 0.0.0.0}",
       "proxy.listen_address: 0.0.0.0 is beyond loopback; say who may come in"},
      {ok + "proxy: {listen_address: 192.0.2.1, clients: []}", "is beyond loopback"},
      {ok + "api: {listen: '0.0.0.0:8080'}", "api.listen: 0.0.0.0:8080 is beyond loopback; that needs api.token_file"},
  };
  for (const auto& [yaml, expected] : cases) EXPECT_THAT(problems_of(yaml), HasSubstr(expected)) << yaml;
}

TEST(ConfigParse, ReportsAllProblemsInTheOrderOfTheirLines) {
  auto config = load_config(TEST_DATA_DIR "/bad/several.yaml");
  ASSERT_FALSE(config);
  const std::string file = TEST_DATA_DIR "/bad/several.yaml";
  EXPECT_THAT(config.error(),
              ElementsAre(file + ":1: \"proxi\": unknown key; did you mean proxy?",
                          file + ":3: probe.interval: \"30\" is not a duration: it has no unit; write 30s",
                          file + ":7: dongles[0].socks5: 70000 is not within 1 to 65535",
                          file + ":8: dongles[1].id: id 11 is already used by dongles[0].id in line 5"));
}

TEST(ConfigParse, BoundsTheNumberOfProblems) {
  std::string yaml = "dongles: []\n";
  for (int i = 0; i < 1000; ++i) yaml += fmt::format("x{}: 1\n", i);
  auto config = parse_config(yaml, "c.yaml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().size(), 101u);
  EXPECT_EQ(config.error().back(), "c.yaml: and 900 more");
}

TEST(ConfigParse, NamesKeysWhoseFeatureIsNotThere) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases = {
      {"api: {token_file: /t}", {"api.token_file"}},
      {"proxy: {clients_url: 'http://a/', users_file: /u}", {"proxy.clients_url", "proxy.users_file"}},
      {"proxy: {clients_url: null, users_file: null}", {}},
      {"launcher: systemd", {"launcher"}},
      {"launcher: fork", {}},
      {"hubs: []", {}},
      {"recovery: {hub_power: never}", {}},
  };
  for (const auto& [yaml, keys] : cases)
    EXPECT_EQ(parse_good("dongles: []\n" + yaml).keys_without_effect, keys) << yaml;
  EXPECT_THAT(parse_good("dongles: [{id: 1, interface: a, ttl: 64, listeners: []}, {id: 2, interface: b, ttl: null, "
                         "listeners: [{port: 9, target: a:1}]}]")
                  .keys_without_effect,
              ElementsAre("dongles[0].ttl", "dongles[1].listeners"));
}

TEST(ConfigParse, SurvivesHostileText) {
  const std::vector<std::string> texts = {
      std::string(100'000, '['),
      std::string(100'000, '{'),
      std::string(100'000, '-') + " ",
      std::string(65536, '\0'),
      std::string(65536, '\xff'),
      "dongles: [" + std::string(100'000, ','),
      "dongles: \"" + std::string(100'000, 'a'),
      std::string(100'000, '?'),
      std::string(5 * 1024 * 1024, ' '),
  };
  for (const std::string& text : texts) EXPECT_NE(problems_of(text), "") << text.substr(0, 20);
  auto bomb = load_config(TEST_DATA_DIR "/bad/alias_bomb.yaml");
  ASSERT_FALSE(bomb);
  EXPECT_THAT(bomb.error()[0], HasSubstr("alias_bomb.yaml:1:"));
  std::mt19937 random(1);
  std::string junk(65536, ' ');
  for (char& c : junk) c = static_cast<char>(random());
  EXPECT_NE(problems_of(junk), "");
  const std::string alphabet = "abc:-[]{}#&*!|>'\"%@?, \n\n  ";
  for (int round = 0; round < 300; ++round) {
    std::string text(1 + random() % 60, ' ');
    for (char& c : text) c = alphabet[random() % alphabet.size()];
    EXPECT_NE(problems_of(text), "") << text;
  }
}

TEST(ConfigLoad, LooksAtTheFilesThatItNames) {
  std::string dir = testing::TempDir() + "config_load_XXXXXX";
  ASSERT_NE(mkdtemp(dir.data()), nullptr);
  std::string file = dir + "/c.yaml";
  auto load = [&](const std::string& yaml) {
    std::ofstream(file) << yaml;
    auto config = load_config(file);
    return config ? "" : config.error()[0];
  };
  EXPECT_EQ(load("dongles: [{id: 1, interface: a, modem: {password_file: " + file + "}}]"), "");
  EXPECT_EQ(load("dongles:\n- {id: 1, interface: a, modem: {password_file: /nonexistent/pw}}"),
            file + ":2: dongles[0].modem.password_file: /nonexistent/pw: No such file or directory");
  EXPECT_EQ(load(std::string(4 * 1024 * 1024 + 1, '#')), file + ": is larger than 4096 KiB");
  ::unlink(file.c_str());
  EXPECT_EQ(load_config(file).error()[0], file + ": can't be opened: No such file or directory");
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  EXPECT_EQ(load_config(file).error()[0], file + ": is not a regular file");
  ::unlink(file.c_str());
  EXPECT_EQ(load_config(dir).error()[0], dir + ": is not a regular file");
  ::rmdir(dir.c_str());
}

TEST(ConfigSchema, ListsEveryKeyOnce) {
  std::string text = "\n" + describe_config_schema();
  auto json = parse_json(config_schema_json());
  ASSERT_TRUE(json);
  ASSERT_EQ((*json)["keys"].size(), config_keys().size());
  for (const ConfigKey& key : config_keys()) {
    EXPECT_THAT(text, HasSubstr(fmt::format("\n{}\n", key.path)));
    EXPECT_EQ(std::ranges::count(config_keys(), key.path, &ConfigKey::path), 1) << key.path;
  }
  EXPECT_THAT(text, HasSubstr("probe.interval\n    duration, 100ms to 1h; default 30s\n"));
  EXPECT_THAT(text, HasSubstr("dongles[].socks5\n    number, 1 to 65535; default (proxy.port_base + id)\n"));
}

}  // namespace
}  // namespace dongle
