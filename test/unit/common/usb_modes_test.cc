#include "common/usb_modes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/stick_ids.h"

#include <nlohmann/json.hpp>

#include "common/hub_facts.h"

namespace dongle {
namespace {

// A stick with two configurations: 1 is NCM with its data interface in two settings, 2 ECM and mass storage.
const std::string kTwoConfigurations = [] {
  auto bytes = [](std::initializer_list<int> list) {
    std::string text;
    for (int b : list) text += static_cast<char>(b);
    return text;
  };
  return bytes({18, 1, 0, 2, 0, 0, 0, 64, 0xd1, 0x12, 0xdc, 0x14, 0, 1, 1, 2, 0, 2}) +  // device
         bytes({9, 2, 0, 0, 2, 1, 0, 0xc0, 250}) +                                      // configuration 1
         bytes({9, 4, 0, 0, 1, 2, 0x0d, 0, 0}) + bytes({5, 0x24, 0, 0x10, 1}) +         // NCM, with a class descriptor
         bytes({7, 5, 0x82, 3, 16, 0, 5}) +                                             // interrupt IN
         bytes({9, 4, 1, 0, 0, 10, 0, 1, 0}) + bytes({9, 4, 1, 1, 2, 10, 0, 1, 0}) +    // data, settings 0 and 1
         bytes({7, 5, 0x81, 2, 0, 2, 0}) + bytes({7, 5, 0x01, 2, 0, 2, 0}) +            // of setting 1
         bytes({9, 2, 0, 0, 2, 2, 0, 0xc0, 250}) +                                      // configuration 2
         bytes({9, 4, 0, 0, 2, 8, 6, 0x50, 0}) +                                        // mass storage
         bytes({7, 5, 0x83, 2, 0, 2, 0}) + bytes({7, 5, 0x04, 2, 0, 2, 0}) +            // bulk IN, bulk OUT
         bytes({9, 4, 1, 0, 0, 2, 6, 0, 0});                                            // ECM
}();

TEST(UsbModes, KnowsSticksThatShowTheirCdFromThoseThatTheMessageDoesNoGood) {
  EXPECT_TRUE(is_zero_cd_id({0x12d1, 0x1f01}));
  EXPECT_TRUE(is_zero_cd_id({0x12d1, 0x1446}));
  EXPECT_FALSE(is_zero_cd_id({0x12d1, 0x14dc})) << "a network card already";
  EXPECT_FALSE(is_zero_cd_id({0x12d1, 0x1c0b})) << "a serial stick";
  EXPECT_FALSE(is_zero_cd_id({0x0781, 0x1f01})) << "somebody else's";
}

TEST(UsbModes, SwitchesNothingThatHasANetworkDevice) {
  UsbDevice device;
  device.vendor = 0x12d1;
  device.product = 0x1f01;
  device.interfaces = {{0, 8, 6, 0x50, "usb-storage", {}}};
  EXPECT_TRUE(is_mode_switchable(device));
  device.interfaces.push_back({1, 2, 6, 0, "cdc_ether", {"wwan0"}});
  EXPECT_FALSE(is_mode_switchable(device));
}

TEST(UsbModes, SendsHuaweisNewModeMessage) {
  std::string hex;
  for (auto byte : mode_switch_message()) hex += fmt::format("{:02x}", byte);
  EXPECT_EQ(hex, "55534243123456780000000000000011062000000101000100000000000000");
}

TEST(UsbModes, ReadsConfigurationsFromDescriptors) {
  auto configurations = parse_configurations(kTwoConfigurations);
  ASSERT_EQ(configurations.size(), 2u);
  EXPECT_EQ(configurations[0].value, 1);
  EXPECT_TRUE(configurations[0].has(UsbFunction::Ncm));
  ASSERT_EQ(configurations[0].interfaces.size(), 2u) << "alternate settings are not interfaces";
  EXPECT_TRUE(configurations[0].interfaces[1].endpoints.empty()) << "they belong to setting 1";
  EXPECT_TRUE(configurations[1].has(UsbFunction::MassStorage));
  const auto& endpoints = configurations[1].interfaces[0].endpoints;
  ASSERT_EQ(endpoints.size(), 2u);
  EXPECT_FALSE(endpoints[0].is_out());
  EXPECT_TRUE(endpoints[1].is_bulk && endpoints[1].is_out());
  EXPECT_EQ(endpoints[1].address, 4);
  EXPECT_EQ(network_configuration(configurations), 2);
}

TEST(UsbModes, PrefersEcmToRndisAndTakesNothingElse) {
  UsbConfiguration rndis{1, {{0, 0xe0, 1, 3, {}}}}, ecm{2, {{0, 2, 6, 0, {}}}}, ncm{3, {{0, 2, 0x0d, 0, {}}}};
  EXPECT_EQ(network_configuration({rndis, ecm, ncm}), 2);
  EXPECT_EQ(network_configuration({ncm, rndis}), 1);
  EXPECT_EQ(network_configuration({ncm}), std::nullopt);
}

TEST(UsbModes, StopsAtBrokenDescriptors) {
  for (std::size_t length = 0; length < kTwoConfigurations.size(); ++length)
    EXPECT_LE(parse_configurations(std::string_view(kTwoConfigurations).substr(0, length)).size(), 2u);
  std::string zero = kTwoConfigurations;
  zero[18] = 0;  // a length that would never end
  EXPECT_TRUE(parse_configurations(zero).empty());
}

TEST(HubFacts, GoThroughJsonUnchanged) {
  HubFacts facts;
  facts.location = "2-1";
  facts.vendor = 0x2109;
  facts.product = 0x3431;
  facts.product_name = "USB2.0 Hub";
  facts.switching = PowerSwitching::PerPort;
  facts.ports[1] = {true, false, false, true, true, {"3-1", 1}};
  facts.ports[4] = {false, true, std::nullopt, std::nullopt, std::nullopt, {}};
  auto back = hub_facts_from_json(Json{{"hubs", Json::array({to_json(facts)})}});
  ASSERT_TRUE(back.contains("2-1"));
  EXPECT_EQ(back["2-1"], facts);
}

TEST(HubFacts, LeaveOutWhatIsNotOfTheForm) {
  EXPECT_TRUE(hub_facts_from_json(Json::array()).empty());
  auto facts = hub_facts_from_json(
      parse_json(R"({"hubs":[7,{"location":"2-1","ports":[{"port":0},{"port":999},{"port":2,"peer":7}]}]})").value());
  ASSERT_EQ(facts.size(), 1u);
  EXPECT_EQ(facts["2-1"].switching, PowerSwitching::Unknown);
  EXPECT_EQ(facts["2-1"].ports.size(), 1u);
}

}  // namespace
}  // namespace dongle
