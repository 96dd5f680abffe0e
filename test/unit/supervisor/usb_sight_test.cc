#include "supervisor/usb_sight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace dongle {
namespace {

using testing::HasSubstr;

UsbInterface interface(int number, int interface_class, int subclass, int protocol, const char* driver,
                       std::vector<std::string> net = {}) {
  return {number, interface_class, subclass, protocol, driver, std::move(net)};
}
const UsbInterface kStorage = interface(0, 8, 6, 0x50, "usb-storage");
const UsbInterface kEcm = interface(0, 2, 6, 0, "cdc_ether", {"eth1"});
const UsbInterface kEcmUnbound = interface(0, 2, 6, 0, "");
const UsbInterface kEcmData = interface(1, 0xa, 0, 0, "cdc_ether");
const UsbInterface kRndis = interface(0, 2, 2, 0xff, "rndis_host", {"eth1"});
const UsbInterface kNcm = interface(0, 2, 0xd, 0, "cdc_ncm", {"wwan0"});
const UsbInterface kNcmEthernetName = interface(0, 2, 0xd, 0, "cdc_ncm", {"usb0"});
const UsbInterface kHuaweiNcm = interface(0, 0xff, 2, 0x16, "huawei_cdc_ncm", {"wwan0"});
const UsbInterface kMbim = interface(0, 2, 0xe, 0, "cdc_mbim", {"wwan0"});
const UsbInterface kSerial = interface(0, 0xff, 1, 1, "option");
const UsbInterface kUnknownCard = interface(0, 0xff, 0xff, 0, "r8152", {"eth1"});

UsbTree tree_with(UsbDevice stick) {
  UsbTree tree;
  for (const char* hub : {"usb1", "1-4"}) {
    tree.devices[hub].path = hub;
    tree.devices[hub].controller = "0000:00:14.0";
    tree.devices[hub].is_hub = true;
  }
  stick.path = "1-4.2";
  stick.controller = "0000:00:14.0";
  stick.devnum = 7;
  tree.devices[stick.path] = stick;
  return tree;
}

UsbDevice stick(std::uint16_t vendor, std::uint16_t product, int configuration, int count,
                std::vector<UsbInterface> interfaces) {
  UsbDevice device;
  device.vendor = vendor;
  device.product = product;
  device.configuration = configuration;
  device.configuration_count = count;
  device.interfaces = std::move(interfaces);
  return device;
}

TEST(UsbSight, TellsWhatAStickIs) {
  const struct {
    const char* name;
    UsbDevice stick;
    UsbMode mode;
    const char* evidence;
  } rows[] = {
      {"ECM", stick(0x12d1, 0x14dc, 1, 1, {kEcm, kEcmData}), UsbMode::Ethernet,
       "12d1:14dc: configuration 1, cdc_ether makes eth1"},
      {"ECM with a disk beside it", stick(0x12d1, 0x14db, 1, 1, {kEcm, kStorage}), UsbMode::Ethernet, "usb-storage"},
      {"RNDIS", stick(0x12d1, 0x14dc, 1, 2, {kRndis}), UsbMode::Ethernet, "rndis_host makes eth1"},
      {"QEMU's usb-net", stick(0x0525, 0xa4a2, 2, 2, {kRndis}), UsbMode::Ethernet, "0525:a4a2: configuration 2 of 2"},
      {"a driver we don't know", stick(0x1234, 0x5678, 1, 1, {kUnknownCard}), UsbMode::Ethernet, "r8152 makes eth1"},
      {"the installation disk", stick(0x12d1, 0x1f01, 1, 1, {kStorage}), UsbMode::MassStorage,
       "12d1:1f01, mass storage"},
      {"its id without an interface", stick(0x12d1, 0x1f02, 0, 1, {}), UsbMode::MassStorage, "12d1:1f02"},
      {"a disk id of Huawei that isn't listed", stick(0x12d1, 0x1fff, 1, 1, {kStorage}), UsbMode::MassStorage,
       "mass storage"},
      {"another maker's disk", stick(0x0781, 0x5567, 1, 1, {kStorage}), UsbMode::NoInterface,
       "0781:5567: configuration 1, usb-storage"},
      {"NCM with a choice", stick(0x12d1, 0x14dc, 1, 3, {kNcm}), UsbMode::WrongConfiguration,
       "configuration 1 of 3, cdc_ncm makes wwan0"},
      {"NCM with a choice and an Ethernet name", stick(0x12d1, 0x14dc, 1, 2, {kNcmEthernetName}),
       UsbMode::WrongConfiguration, "usb0"},
      {"NCM and nothing else", stick(0x12d1, 0x14dc, 1, 1, {kNcmEthernetName}), UsbMode::Ethernet, "usb0"},
      {"wwan and nothing else", stick(0x12d1, 0x155e, 1, 1, {kHuaweiNcm}), UsbMode::NoInterface,
       "huawei_cdc_ncm makes wwan0"},
      {"Huawei's own NCM", stick(0x12d1, 0x155e, 2, 3, {kHuaweiNcm, kSerial}), UsbMode::WrongConfiguration,
       "configuration 2 of 3"},
      {"MBIM", stick(0x12d1, 0x155e, 3, 3, {kMbim}), UsbMode::WrongConfiguration, "cdc_mbim"},
      {"serial ports", stick(0x12d1, 0x1506, 1, 2, {kSerial}), UsbMode::WrongConfiguration, "option"},
      {"not configured", stick(0x12d1, 0x14dc, 0, 1, {}), UsbMode::WrongConfiguration, "no configuration is active"},
      {"driver unbound", stick(0x12d1, 0x14dc, 1, 1, {kEcmUnbound}), UsbMode::NoInterface,
       "interface 0 (class 02) has no driver"},
      {"driver unbound, with a choice", stick(0x12d1, 0x14dc, 1, 3, {kEcmUnbound}), UsbMode::NoInterface, "no driver"},
      {"driver bound, no device in sight", stick(0x12d1, 0x14dc, 1, 1, {kEcmData}), UsbMode::NoInterface, "cdc_ether"},
  };
  for (const auto& row : rows) {
    UsbSight sight = sight_of(tree_with(row.stick), "1-4.2");
    EXPECT_EQ(static_cast<int>(sight.mode), static_cast<int>(row.mode)) << row.name << ": " << sight.evidence;
    EXPECT_THAT(sight.evidence, HasSubstr(row.evidence)) << row.name;
    EXPECT_THAT(sight.evidence, testing::StartsWith("1-4.2 is ")) << row.name;
    EXPECT_EQ(sight.hub, "1-4") << row.name;
    EXPECT_EQ(sight.controller, "0000:00:14.0") << row.name;
    EXPECT_EQ(sight.devnum, 7) << row.name;
  }
}

TEST(UsbSight, TellsADeviceThatMayNotBeUsed) {
  UsbDevice device = stick(0x12d1, 0x14dc, 0, 1, {});
  device.authorized = false;
  EXPECT_EQ(sight_of(tree_with(device), "1-4.2").mode, UsbMode::NotAuthorized);
}

TEST(UsbSight, TellsWhatIsMissingAndWhereItHung) {
  UsbTree tree = tree_with({});
  UsbSight sight = sight_of(tree, "1-4.3");
  EXPECT_EQ(sight.mode, UsbMode::Missing);
  EXPECT_EQ(sight.evidence, "nothing is at 1-4.3; its hub 1-4 is there");
  EXPECT_EQ(sight.hub, "1-4");
  EXPECT_EQ(sight.controller, "0000:00:14.0");
  EXPECT_EQ(sight.devnum, 0);
  sight = sight_of(tree, "1-5.3");
  EXPECT_EQ(sight.evidence, "nothing is at 1-5.3, and its hub 1-5 is gone, too");
  EXPECT_EQ(sight.controller, "0000:00:14.0") << "by the root hub";
}

TEST(UsbSight, SaysNothingWhereNothingCanBeSaid) {
  UsbTree tree = tree_with({});
  EXPECT_EQ(sight_of(tree, "").mode, UsbMode::Unknown);
  EXPECT_EQ(sight_of(tree, "").evidence, "no usb_path is configured");
  EXPECT_EQ(sight_of(tree, "1-4").mode, UsbMode::Unknown) << "acting on a hub hits all that hangs on it";
  EXPECT_THAT(sight_of(tree, "1-4").evidence, HasSubstr("a hub"));
  EXPECT_EQ(sight_of(tree, "pci-0000:99:00.0-usb-0:1").mode, UsbMode::Unknown);
  tree = {};
  tree.host_has_usb = false;
  EXPECT_EQ(sight_of(tree, "1-4.2").mode, UsbMode::Unknown);
  EXPECT_EQ(sight_of(tree, "1-4.2").evidence, "this host has no USB");
}

TEST(UsbSight, TakesAPathWithItsController) {
  UsbTree tree = tree_with(stick(0x12d1, 0x14dc, 1, 1, {kEcm}));
  EXPECT_EQ(sight_of(tree, "pci-0000:00:14.0-usb-0:4.2"), sight_of(tree, "1-4.2"));
}

}  // namespace
}  // namespace dongle
