#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "test/support/stuck_file.h"
#include "tools/usb/verbs.h"

namespace dongle::usb {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// A folder that stands in for /sys/bus/usb, with what the kernel would show: the hub 2-1 with four ports, its USB 3
/// half 3-1, and a stick in port 3. There is no usbfs.
class DongleUsbTest : public testing::Test {
 protected:
  DongleUsbTest() {
    std::string pattern = testing::TempDir() + "sysfs-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    roots_ = {folder_ + "/sys", folder_ + "/dev"};
    for (const char* hub : {"2-1", "3-1"}) add_hub(hub);
    for (int port = 1; port <= 4; ++port) {
      link("2-1", port, "3-1");
      link("3-1", port, "2-1");
    }
    put("devices/2-1.3/busnum", "2\n");
    put("devices/2-1.3/devnum", "7\n");
    put("devices/2-1.3/idVendor", "12d1\n");
    put("devices/2-1.3/idProduct", "14dc\n");
    put("devices/2-1.3/bDeviceClass", "00\n");
    put("devices/2-1.3/authorized", "1\n");
  }
  ~DongleUsbTest() override { fs::remove_all(folder_); }

  void add_hub(const std::string& hub) {
    put("devices/" + hub + "/bDeviceClass", "09\n");
    put("devices/" + hub + "/idVendor", "2109\n");
    put("devices/" + hub + "/idProduct", "3431\n");
    put("devices/" + hub + "/product", "Rack\n");
    put("devices/" + hub + "/busnum", "2\n");
    put("devices/" + hub + "/devnum", "3\n");
    for (int port = 1; port <= 4; ++port) put(port_file(hub, port), "0\n");
  }
  static std::string port_file(const std::string& hub, int port) {
    return fmt::format("devices/{0}/{0}:1.0/{0}-port{1}/disable", hub, port);
  }
  void link(const std::string& hub, int port, const std::string& peer) {
    fs::create_symlink(fmt::format("../../../{0}/{0}:1.0/{0}-port{1}", peer, port),
                       fs::path(roots_.devices + "/" + port_file(hub, port)).parent_path() / "peer");
  }
  void add_interface(const std::string& name, const std::string& ids, const std::string& driver, bool has_net) {
    std::string at = "devices/2-1.3/" + name;
    put(at + "/bInterfaceClass", ids.substr(0, 2));
    put(at + "/bInterfaceSubClass", ids.substr(2, 2));
    put(at + "/bInterfaceProtocol", ids.substr(4, 2));
    if (has_net) fs::create_directories(roots_.devices + "/" + at + "/net/wwan0");
    put("drivers_probe", "");
    if (driver.empty()) return;
    put("drivers/" + driver + "/bind", "");
    put("drivers/" + driver + "/unbind", "");
    fs::create_symlink("../../../../drivers/" + driver, roots_.devices + "/" + at + "/driver");
  }
  void put(const std::string& file, const std::string& text) {
    fs::path path = roots_.devices + "/" + file;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::string get(const std::string& file) const {
    return read_attribute(roots_.devices + "/" + file).value_or("(missing)");
  }

  std::string folder_;
  Roots roots_;
};

TEST_F(DongleUsbTest, SwitchesAPortAndItsTwinOffAndOn) {
  auto off = switch_ports(roots_, "2-1", {3}, {});
  ASSERT_TRUE(off) << off.error().message();
  EXPECT_TRUE((*off)["effective"]);
  EXPECT_EQ((*off)["ports"][0]["hub"], "3-1") << "the twin first";
  EXPECT_EQ((*off)["ports"][1]["method"], "disable");
  EXPECT_TRUE((*off)["ports"][1]["powered"].is_null()) << "without usbfs the hub can't be asked";
  EXPECT_EQ(get(port_file("2-1", 3)), "1");
  EXPECT_EQ(get(port_file("3-1", 3)), "1");
  for (int port : {1, 2, 4}) EXPECT_EQ(get(port_file("2-1", port)), "0");
  ASSERT_TRUE(switch_ports(roots_, "2-1", {3}, {.on = true}));
  EXPECT_EQ(get(port_file("2-1", 3)), "0");
  EXPECT_EQ(get(port_file("3-1", 3)), "0");
}

TEST_F(DongleUsbTest, SwitchesSeveralPortsInOneRun) {
  ASSERT_TRUE(switch_ports(roots_, "2-1", {1, 2}, {}));
  EXPECT_EQ(get(port_file("2-1", 1)) + get(port_file("2-1", 2)) + get(port_file("2-1", 3)), "110");
}

TEST_F(DongleUsbTest, NeverCutsAHubOffAndThenTouchesNoOtherPortEither) {
  add_hub("3-1.4");  // the USB 3 half of a hub behind port 4
  auto off = switch_ports(roots_, "2-1", {3, 4}, {});
  ASSERT_FALSE(off);
  EXPECT_EQ(off.error().code, Errc::Refused);
  EXPECT_THAT(off.error().message(), HasSubstr("a hub is plugged into port 4 of hub 3-1"));
  EXPECT_EQ(get(port_file("2-1", 3)), "0");
  EXPECT_TRUE(switch_ports(roots_, "2-1", {4}, {.even_a_hub = true}));
}

TEST_F(DongleUsbTest, PutsTheOthersBackOnWhenOnePortFails) {
  fs::remove(roots_.devices + "/" + port_file("2-1", 2));  // that one only by a request, for which there is no usbfs
  auto off = switch_ports(roots_, "2-1", {1, 2}, {});
  ASSERT_FALSE(off);
  EXPECT_EQ(off.error().code, Errc::Unsupported);
  EXPECT_EQ(get(port_file("2-1", 1)), "0");
  EXPECT_EQ(get(port_file("3-1", 2)), "0");
}

TEST_F(DongleUsbTest, SwitchesOnWhatItCan) {
  ASSERT_TRUE(switch_ports(roots_, "2-1", {1, 2, 3, 4}, {}));
  fs::remove(roots_.devices + "/" + port_file("2-1", 2));
  fs::create_directory(roots_.devices + "/" + port_file("2-1", 2));  // can't be written
  add_hub("2-1.4");                                                  // plugged in meanwhile
  EXPECT_FALSE(switch_ports(roots_, "2-1", {1, 2, 3, 4}, {.on = true}));
  for (int port : {1, 3, 4}) EXPECT_EQ(get(port_file("2-1", port)), "0") << port;
}

TEST_F(DongleUsbTest, TellsWhatIsMissingApart) {
  EXPECT_EQ(switch_ports(roots_, "2-1", {9}, {}).error().code, Errc::NotFound);
  EXPECT_EQ(switch_ports(roots_, "2-7", {1}, {}).error().code, Errc::NotFound);
  EXPECT_EQ(switch_ports(roots_, "../../etc", {1}, {}).error().code, Errc::InvalidArgument);
  EXPECT_EQ(authorize(roots_, "2-1.", true).error().code, Errc::InvalidArgument);
  EXPECT_EQ(switch_ports(roots_, "2-1", {1}, {.raw = true}).error().code, Errc::Unsupported);
  EXPECT_EQ(rebind(roots_, "2-1.4").error().code, Errc::NotFound);
}

TEST_F(DongleUsbTest, SwitchesNoStickThatIsNoCdRom) {
  auto refused = mode_switch(roots_, "2-1.3");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::Refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("12d1:14dc"));
}

TEST_F(DongleUsbTest, SelectsAConfigurationWithMassStorageBeforeTheSwitch) {
  put("devices/2-1.3/idProduct", "1f01\n");
  put("devices/2-1.3/bConfigurationValue", "2\n");
  std::string descriptors(
      "\x09\x02\x00\x00\x01\x01\x00\xc0\xfa"
      "\x09\x04\x00\x00\x01\x08\x06\x50\x00"
      "\x07\x05\x01\x02\x00\x02\x00"
      "\x09\x02\x00\x00\x01\x02\x00\xc0\xfa"
      "\x09\x04\x00\x00\x00\x02\x0e\x00\x00",
      43);
  put("devices/2-1.3/descriptors", descriptors);
  auto sent = mode_switch(roots_, "2-1.3");
  ASSERT_FALSE(sent) << "there is no usbfs to send it by";
  EXPECT_EQ(sent.error().code, Errc::Unsupported);
  EXPECT_EQ(get("devices/2-1.3/bConfigurationValue"), "1");
}

TEST_F(DongleUsbTest, SelectsTheConfigurationWithTheNetworkCard) {
  std::string descriptors(
      "\x09\x02\x00\x00\x01\x01\x00\xc0\xfa"
      "\x09\x04\x00\x00\x00\x02\x0d\x00\x00"
      "\x09\x02\x00\x00\x01\x03\x00\xc0\xfa"
      "\x09\x04\x00\x00\x00\x02\x06\x00\x00",
      36);
  put("devices/2-1.3/descriptors", descriptors);
  put("devices/2-1.3/bConfigurationValue", "1");
  add_interface("2-1.3:3.0", "020600", "cdc_ether", true);
  auto set = set_configuration(roots_, "2-1.3", "network");
  ASSERT_TRUE(set) << set.error().message();
  EXPECT_EQ(get("devices/2-1.3/bConfigurationValue"), "3");
  EXPECT_EQ((*set)["was"], 1);
  EXPECT_EQ((*set)["net_devices"][0], "wwan0");
  put("devices/2-1.3/descriptors", "");
  EXPECT_EQ(set_configuration(roots_, "2-1.3", "network").error().code, Errc::Unsupported);
  EXPECT_EQ(set_configuration(roots_, "2-1.3", "0").error().code, Errc::InvalidArgument);
}

TEST_F(DongleUsbTest, RebindsTheControlInterfaceOfACdcPairAndLeavesTheRestAlone) {
  add_interface("2-1.3:1.0", "020600", "cdc_ether", true);
  add_interface("2-1.3:1.1", "0a0000", "cdc_ether", false);
  add_interface("2-1.3:1.2", "080650", "usb-storage", false);
  auto bound = rebind(roots_, "2-1.3");
  ASSERT_TRUE(bound) << bound.error().message();
  EXPECT_EQ(get("drivers/cdc_ether/unbind"), "2-1.3:1.0");
  EXPECT_EQ(get("drivers/cdc_ether/bind"), "2-1.3:1.0");
  EXPECT_EQ(get("drivers/usb-storage/unbind"), "");
  EXPECT_EQ((*bound)["interfaces"].size(), 1u);
  EXPECT_EQ((*bound)["net_devices"][0], "wwan0");
}

TEST_F(DongleUsbTest, AsksTheKernelForADriverWhereNoneIsBound) {
  add_interface("2-1.3:1.0", "e00103", "", false);
  auto bound = rebind(roots_, "2-1.3");
  EXPECT_EQ(get("drivers_probe"), "2-1.3:1.0");
  ASSERT_FALSE(bound) << "nobody took it";
  EXPECT_THAT(bound.error().message(), HasSubstr("no driver takes it"));
}

TEST_F(DongleUsbTest, SaysThatThereIsNoNetworkInterface) {
  add_interface("2-1.3:1.0", "080650", "usb-storage", false);
  EXPECT_EQ(rebind(roots_, "2-1.3").error().code, Errc::Unsupported);
}

TEST_F(DongleUsbTest, AuthorizesAndLeavesADeviceAuthorizedAtTheEnd) {
  ASSERT_TRUE(authorize(roots_, "2-1.3", false));
  EXPECT_EQ(get("devices/2-1.3/authorized"), "0");
  ASSERT_TRUE(reauthorize(roots_, "2-1.3"));
  EXPECT_EQ(get("devices/2-1.3/authorized"), "1");
}

TEST_F(DongleUsbTest, ListsHubsWithTheirPorts) {
  add_hub("2-1.4");
  put(port_file("2-1", 2), "1\n");
  auto facts = hub_facts_from_json(list_hubs(roots_, {}).value());
  ASSERT_EQ(facts.size(), 3u);
  const HubFacts& hub = facts["2-1"];
  EXPECT_EQ(hub.vendor, 0x2109);
  EXPECT_EQ(hub.product_name, "Rack");
  EXPECT_EQ(hub.switching, PowerSwitching::Unknown);
  EXPECT_THAT(hub.error, HasSubstr("there is no")) << "no usbfs to ask it by";
  ASSERT_EQ(hub.ports.size(), 4u);
  EXPECT_TRUE(hub.ports.at(1).has_disable);
  EXPECT_EQ(hub.ports.at(1).disabled, false);
  EXPECT_EQ(hub.ports.at(2).disabled, true);
  EXPECT_EQ(hub.ports.at(1).peer, (PortRef{"3-1", 1}));
  EXPECT_TRUE(hub.ports.at(4).hub_behind);
  EXPECT_FALSE(hub.ports.at(3).hub_behind);
  EXPECT_EQ(list_hubs(roots_, {"2-1.3"}).error().code, Errc::Refused);
  EXPECT_EQ(list_hubs(roots_, {"2-9"}).error().code, Errc::NotFound);
}

TEST_F(DongleUsbTest, ListsAHubThatHangsWithoutLosingTheOthers) {
  StuckFile stuck;
  if (!stuck) GTEST_SKIP() << "needs root and FUSE";
  fs::remove(roots_.devices + "/devices/2-1/product");
  fs::create_symlink(stuck.path(), roots_.devices + "/devices/2-1/product");
  auto began = std::chrono::steady_clock::now();
  auto facts = hub_facts_from_json(list_hubs(roots_, {}).value());
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(4));
  EXPECT_THAT(facts["2-1"].error, HasSubstr("the kernel holds it"));
  EXPECT_EQ(facts["2-1"].ports.size(), 4u) << "what is known without asking it";
  EXPECT_EQ(facts["3-1"].product_name, "Rack");
}

}  // namespace
}  // namespace dongle::usb
