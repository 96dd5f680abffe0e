#include "common/usb_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "test/support/fake_sys.h"

namespace dongle {
namespace {

using testing::ElementsAre;

constexpr const char* kRoot = "/sys/devices/pci0000:00/0000:00:14.0/usb1";

void plug_hub_and_stick(FakeSys& sys) {
  std::string root = kRoot;
  sys.usb(root,
          {{"idVendor", "1d6b"}, {"idProduct", "0002"}, {"devnum", "1"}, {"bDeviceClass", "09"}, {"maxchild", "16"}});
  sys.usb(root + "/1-0:1.0", {{"bInterfaceNumber", "00"}, {"bInterfaceClass", "09"}}, "hub");
  sys.usb(root + "/1-4",
          {{"idVendor", "05e3"}, {"idProduct", "0610"}, {"devnum", "2"}, {"bDeviceClass", "09"}, {"maxchild", "4"}});
  sys.usb(root + "/1-4/1-4.2", {{"idVendor", "12d1"},
                                {"idProduct", "14dc"},
                                {"bcdDevice", "0102"},
                                {"devnum", "7"},
                                {"bDeviceClass", "00"},
                                {"bNumConfigurations", "3"},
                                {"authorized", "1"},
                                {"product", "HUAWEI_\x01MOBILE"},
                                {"serial", " 0123 "}});
  std::string interface = root + "/1-4/1-4.2/1-4.2:2.";
  sys.usb(interface + "1", {{"bInterfaceNumber", "01"}, {"bInterfaceClass", "0a"}}, "cdc_ether");
  sys.usb(interface + "0",
          {{"bInterfaceNumber", "00"},
           {"bInterfaceClass", "02"},
           {"bInterfaceSubClass", "06"},
           {"bInterfaceProtocol", "00"}},
          "cdc_ether");
  std::filesystem::create_directories(interface + "0/net/eth1");
}

TEST(UsbScan, ReadsWhatIsPluggedIn) {
  Result<UsbTree> tree;
  bool ran = FakeSys::run([&](FakeSys& sys) {
    plug_hub_and_stick(sys);
    tree = scan_usb(UsbStrings::Read);
  });
  if (!ran) GTEST_SKIP() << "needs root for a mount namespace";
  ASSERT_TRUE(tree) << tree.error().message();
  EXPECT_TRUE(tree->host_has_usb);
  ASSERT_EQ(tree->devices.size(), 3u);

  const UsbDevice* root = tree->find("usb1");
  ASSERT_NE(root, nullptr);
  EXPECT_EQ(root->port_count, 16);
  EXPECT_EQ(root->controller, "0000:00:14.0");
  EXPECT_EQ(root->interfaces.size(), 1u) << "called 1-0:1.0";
  EXPECT_TRUE(tree->find("1-4")->is_hub);

  UsbDevice stick;
  stick.path = "1-4.2";
  stick.controller = "0000:00:14.0";
  stick.devnum = 7;
  stick.vendor = 0x12d1;
  stick.product = 0x14dc;
  stick.bcd_device = 0x0102;
  stick.product_name = "HUAWEI_ MOBILE";  // no control characters
  stick.serial = "0123";
  stick.configuration = 2;
  stick.configuration_count = 3;
  stick.interfaces = {{0, 2, 6, 0, "cdc_ether", {"eth1"}}, {1, 0xa, 0, 0, "cdc_ether", {}}};
  EXPECT_EQ(*tree->find("1-4.2"), stick);
}

// A lock of the device must not hold the scan: whatever would be read under it is a FIFO here, whose reader waits for
// ever.
TEST(UsbScan, ReadsNothingThatTakesTheDevicesLock) {
  Result<UsbTree> tree;
  UsbNames names;
  bool ran = FakeSys::run([&](FakeSys& sys) {
    plug_hub_and_stick(sys);
    std::string stick = std::string(kRoot) + "/1-4/1-4.2/";
    for (const char* locked : {"product", "serial", "manufacturer", "configuration", "bConfigurationValue",
                               "bmAttributes", "bNumInterfaces", "bMaxPower", "descriptors"}) {
      std::filesystem::remove(stick + locked);
      mkfifo((stick + locked).c_str(), 0600);
    }
    tree = scan_usb(UsbStrings::Skip);
  });
  if (!ran) GTEST_SKIP() << "needs root for a mount namespace";
  ASSERT_TRUE(tree);
  ASSERT_NE(tree->find("1-4.2"), nullptr);
  EXPECT_EQ(tree->find("1-4.2")->configuration, 2);
  EXPECT_EQ(tree->find("1-4.2")->product_name, "");
}

TEST(UsbScan, LivesWithDevicesThatVanishHalfWay) {
  Result<UsbTree> tree;
  UsbNames names;
  bool ran = FakeSys::run([&](FakeSys& sys) {
    plug_hub_and_stick(sys);
    std::string root = kRoot;
    std::filesystem::remove(root + "/1-4/idVendor");  // nothing can be said of the hub any more
    std::filesystem::remove(root + "/1-4/1-4.2/1-4.2:2.1/driver");
    std::filesystem::remove(root + "/1-4/1-4.2/1-4.2:2.0/bInterfaceClass");
    sys.write(root + "/1-4/1-4.2/devnum", "seven");
    std::filesystem::remove_all(root + "/1-0:1.0");  // its entry on the bus is still there
    sys.usb(root + "/1-9/1-9:1.0", {{"bInterfaceNumber", "00"}, {"bInterfaceClass", "08"}});  // its device isn't
    tree = scan_usb(UsbStrings::Read);
    names = read_usb_names("9-9");
  });
  if (!ran) GTEST_SKIP() << "needs root for a mount namespace";
  ASSERT_TRUE(tree) << tree.error().message();
  std::vector<std::string> found;
  for (const auto& [path, device] : tree->devices) found.push_back(path);
  EXPECT_THAT(found, ElementsAre("usb1"));
  EXPECT_EQ(names, UsbNames{});
}

TEST(UsbScan, SaysThatAHostHasNoUsb) {
  Result<UsbTree> without, empty;
  bool ran = FakeSys::run([&](FakeSys&) {
    without = scan_usb(UsbStrings::Read);
    std::filesystem::create_directories("/sys/bus/usb/devices");
    empty = scan_usb(UsbStrings::Read);
  });
  if (!ran) GTEST_SKIP() << "needs root for a mount namespace";
  ASSERT_TRUE(without);
  EXPECT_FALSE(without->host_has_usb);
  EXPECT_TRUE(without->devices.empty());
  ASSERT_TRUE(empty) << empty.error().message();
  EXPECT_TRUE(empty->host_has_usb);
  EXPECT_TRUE(empty->devices.empty());
}

}  // namespace
}  // namespace dongle
