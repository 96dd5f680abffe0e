#include "supervisor/inventory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dongle {
namespace {

using ::testing::HasSubstr;

DongleConfig dongle(unsigned id, const char* interface, const char* mac, const char* usb_path) {
  DongleConfig config;
  config.id = DongleId{id};
  config.interface = interface;
  config.mac = mac;
  config.usb_path = usb_path;
  return config;
}

Link link(int index, const char* name, const char* mac = "", const char* usb_path = "") {
  Link link;
  link.index = IfIndex{index};
  link.name = name;
  link.mac = mac;
  link.usb_path = usb_path;
  return link;
}

constexpr const char* kMac = "0c:5b:8f:27:9a:64";  // every E3372 of a batch has this one

DeviceMatch match_one(const DongleConfig& config, const std::vector<Link>& links) {
  return match_devices(std::vector{config}, links)[config.id];
}

TEST(Inventory, FindsADeviceByWhatIsConfigured) {
  const std::vector<Link> links = {link(1, "lo"), link(2, "up0", "02:00:00:00:00:01"), link(3, "m11", kMac, "2-1.1"),
                                   link(4, "m12", "0c:5b:8f:27:9a:65", "2-1.2"), link(5, "veth0")};
  const struct {
    const char* name;
    DongleConfig config;
    int index;  // 0: none
    const char* trouble;
  } rows[] = {
      {"by name", dongle(11, "m11", "", ""), 3, ""},
      {"by name, no USB device", dongle(11, "veth0", "", ""), 5, ""},
      {"by MAC", dongle(11, "", kMac, ""), 3, ""},
      {"by port", dongle(11, "", "", "2-1.2"), 4, ""},
      {"the port decides over the name", dongle(11, "m11", "", "2-1.2"), 4, ""},
      {"the port decides over the MAC", dongle(11, "", kMac, "2-1.2"), 4, ""},
      {"nothing in the port, the name sits in another", dongle(11, "m11", "", "2-1.3"), 0,
       "is at USB path 2-1.1, not at 2-1.3"},
      {"nothing in the port, the name isn't a USB device", dongle(11, "veth0", "", "2-1.3"), 5, ""},
      {"no such name", dongle(11, "m19", "", ""), 0, "no interface m19"},
      {"no such MAC", dongle(11, "", "02:00:00:00:00:99", ""), 0, "no interface with mac 02:00:00:00:00:99"},
      {"empty port", dongle(11, "", "", "1-1"), 0, "no interface at USB path 1-1"},
      {"a port's beginning is another port", dongle(11, "", "", "2-1"), 0, "no interface at USB path 2-1"},
  };
  for (const auto& row : rows) {
    DeviceMatch found = match_one(row.config, links);
    EXPECT_EQ(found.index.value, row.index) << row.name;
    EXPECT_THAT(found.trouble, HasSubstr(row.trouble)) << row.name;
    EXPECT_EQ(found.trouble.empty(), static_cast<bool>(found.index))
        << row.name << ": a reason exactly if there is none";
  }
}

TEST(Inventory, FindsADeviceByAPortWithItsController) {
  const std::vector<Link> links = {link(3, "m11", kMac, "1-4.1"), link(4, "m12", kMac, "1-4.2")};
  UsbTree tree;
  tree.devices["usb1"].controller = "0000:00:14.0";
  const std::vector config = {dongle(11, "", "", "pci-0000:00:14.0-usb-0:4.2")};
  EXPECT_EQ(match_devices(config, links, tree)[DongleId{11}].index.value, 4);
  EXPECT_THAT(match_devices(config, links)[DongleId{11}].trouble, HasSubstr("no interface at USB path pci-"));
}

TEST(Inventory, TakesNoneOfTwoWithTheSameMac) {
  const std::vector<Link> links = {link(3, "m11", kMac), link(4, "m12", kMac)};
  DeviceMatch found = match_one(dongle(11, "", kMac, ""), links);
  EXPECT_FALSE(found.index);
  EXPECT_THAT(found.trouble, HasSubstr("m11 and m12 both have mac"));
  EXPECT_THAT(found.trouble, HasSubstr("use usb_path")) << "it says what to do";
}

TEST(Inventory, GivesADeviceToOneDongleOnly) {
  const std::vector<Link> links = {link(3, "m11", kMac, "2-1.1")};
  auto matches = match_devices(std::vector{dongle(11, "m11", "", ""), dongle(12, "", kMac, "")}, links);
  EXPECT_EQ(matches[DongleId{11}].index.value, 3);
  EXPECT_FALSE(matches[DongleId{12}].index);
  EXPECT_THAT(matches[DongleId{12}].trouble, HasSubstr("belongs to another dongle"));
}

}  // namespace
}  // namespace dongle
