#include "common/usb_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/stick_ids.h"

namespace dongle {
namespace {

using testing::ElementsAre;

TEST(UsbTree, KnowsParentsPortsAndChildrenByPath) {
  const struct {
    const char* path;
    const char* parent;
    int port;
  } rows[] = {
      {"1-4", "usb1", 4}, {"1-4.2", "1-4", 2}, {"12-1.2.10", "12-1.2", 10},
      {"usb1", "", 0},    {"", "", 0},         {"1-x", "usb1", 0},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(usb_parent(row.path), row.parent) << row.path;
    EXPECT_EQ(usb_port(row.path), row.port) << row.path;
    if (row.port > 0) {
      EXPECT_EQ(usb_child(row.parent, row.port), row.path);
    }
  }
}

UsbTree tree_of(std::initializer_list<std::pair<const char*, const char*>> paths_and_controllers) {
  UsbTree tree;
  for (auto [path, controller] : paths_and_controllers) {
    UsbDevice& device = tree.devices[path];
    device.path = path;
    device.controller = controller;
  }
  return tree;
}

TEST(UsbTree, ListsWhatHangsOnAHubByPort) {
  UsbTree tree =
      tree_of({{"usb1", ""}, {"1-1", ""}, {"1-1.10", ""}, {"1-1.2", ""}, {"1-1.2.1", ""}, {"1-10", ""}, {"2-1.1", ""}});
  std::vector<std::string> found;
  for (const UsbDevice* device : tree.children("1-1")) found.push_back(device->path);
  EXPECT_THAT(found, ElementsAre("1-1.2", "1-1.10"));
  found.clear();
  for (const UsbDevice* device : tree.children("usb1")) found.push_back(device->path);
  EXPECT_THAT(found, ElementsAre("1-1", "1-10"));
}

TEST(UsbTree, SortsPathsAsPeopleCount) {
  std::vector<std::string> paths = {"10-1", "2-1.10", "2-1.2", "2-1", "2-1.2.1", "1-11", "1-2"};
  std::ranges::sort(paths, usb_path_less);
  EXPECT_THAT(paths, ElementsAre("1-2", "1-11", "2-1", "2-1.2", "2-1.2.1", "2-1.10", "10-1"));
}

TEST(UsbTree, FindsAPathThatIsConfiguredByItsController) {
  UsbTree tree = tree_of({{"usb1", "0000:00:14.0"},
                          {"usb2", "0000:00:14.0"},
                          {"usb3", "0000:0a:00.0"},
                          {"usb10", "0000:0a:00.0"},
                          {"usb4", "fe980000.usb"},
                          {"1-4", "0000:00:14.0"},
                          {"1-4.2", "0000:00:14.0"},
                          {"2-3", "0000:00:14.0"}});
  const std::pair<const char*, const char*> rows[] = {
      {"1-4.2", "1-4.2"},
      {"9-9", "9-9"},
      {"", ""},
      {"pci-0000:00:14.0-usb-0:4.2", "1-4.2"},
      {"pci-0000:00:14.0-usb-0:3", "2-3"},  // plugged into the USB 3 half
      {"pci-0000:00:14.0-usb-0:7", "1-7"},  // nothing there: the first bus
      {"pci-0000:0a:00.0-usb-0:1", "3-1"},  // 3 comes before 10
      {"platform-fe980000.usb-usb-0:1.1", "4-1.1"},
      {"platform-x.pcie-pci-0000:0a:00.0-usb-0:1", "3-1"},
      {"pci-0000:99:00.0-usb-0:1", ""},
  };
  for (auto [configured, path] : rows) EXPECT_EQ(resolve_usb_path(tree, configured), path) << configured;
}

TEST(UsbTree, FindsThePathInWhatUdevPasses) {
  const std::pair<const char*, const char*> rows[] = {
      {"2-1.4", "2-1.4"},
      {"2-1", "2-1"},
      {"10-1.2.13", "10-1.2.13"},
      {"2-1.4:1.0", "2-1.4"},
      {"/devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1.4", "2-1.4"},
      {"/devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1.4/2-1.4:1.0/net/eth1", "2-1.4"},
      {"/sys/bus/usb/devices/2-1.4/", "2-1.4"},
      {"", ""},
      {"/", ""},
      {"11", ""},
      {"eth1", ""},
      {"2-", ""},
      {"-1", ""},
      {"2-1.", ""},
      {"2-1..4", ""},
      {"2.1-4", ""},
      {"2-1-4", ""},
      {"2-a", ""},
      {"usb2", ""},
      {"1-1.1111111111111111111111111111111111111111111111111111111111111111", ""},
  };
  for (auto [name, path] : rows) EXPECT_EQ(usb_path_in(name), path) << name;
}

TEST(StickIds, AreReadAndPrinted) {
  EXPECT_EQ(to_string(parse_usb_id("12d1:14DC").value()), "12d1:14dc");
  for (const char* text : {"", "12d1", "12d1:", "12d1:14d", "12d1:14dcc", "12d114dcx", "12d1:14dg", "+2d1:14dc"})
    EXPECT_FALSE(parse_usb_id(text)) << text;
}

TEST(StickIds, TellModesApart) {
  EXPECT_TRUE(is_hilink_id({0x12d1, 0x14dc}));
  EXPECT_FALSE(is_hilink_id({0x12d1, 0x1f01}));
  EXPECT_FALSE(is_hilink_id({0x0525, 0x14dc}));
  EXPECT_TRUE(is_zero_cd_id({0x12d1, 0x1f01}));
  EXPECT_FALSE(is_zero_cd_id({0x12d1, 0x14fe})) << "a switcher of serial modems";
  UsbDevice device;
  EXPECT_FALSE(is_mass_storage_only(device));
  device.interfaces = {{0, 8, 6, 0x50, "", {}}};
  EXPECT_TRUE(is_mass_storage_only(device));
  device.interfaces.push_back({1, 3, 0, 0, "", {}});
  EXPECT_FALSE(is_mass_storage_only(device));
}

TEST(StickIds, TellEthernetByDriverThenByClass) {
  const struct {
    int interface_class, subclass, protocol;
    const char* driver;
    bool expected;
  } rows[] = {
      {2, 6, 0, "cdc_ether", true},
      {2, 6, 0, "", true},
      {0xff, 1, 3, "rndis_host", true},
      {0xe0, 1, 3, "", true},
      {2, 2, 0xff, "", true},
      {2, 0xd, 0, "cdc_ncm", false},
      {2, 0xe, 0, "cdc_mbim", false},
      {2, 0xd, 0, "", false},
      {8, 6, 0x50, "usb-storage", false},
      {0xff, 2, 0x16, "huawei_cdc_ncm", false},
      {3, 1, 1, "usbhid", false},
      {2, 2, 1, "cdc_acm", false},
  };
  for (const auto& row : rows) {
    UsbInterface interface {
      0, row.interface_class, row.subclass, row.protocol, row.driver, {}
    };
    EXPECT_EQ(is_ethernet_style(interface), row.expected) << row.driver << row.interface_class << "/" << row.subclass;
  }
}

}  // namespace
}  // namespace dongle
