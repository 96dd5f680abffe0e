#include "tools/ctl/proposal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/config_parse.h"

namespace dongle::ctl {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

/// A rack to be filled, with a hub at 2-1 and one behind it at 2-1.4.
class Rack {
 public:
  Rack() {
    for (const char* path : {"usb1", "usb2", "2-1", "2-1.4"}) {
      UsbDevice& hub = plug(path, 0x05e3, 0x0610, "", "");
      hub.is_hub = true;
      hub.port_count = 4;
      hub.product_name = "USB2.0 Hub";
    }
  }
  UsbDevice& plug(const std::string& path, std::uint16_t vendor, std::uint16_t product, const char* interface,
                  const char* driver, int interface_class = 2) {
    UsbDevice& device = seen.tree.devices[path];
    device.path = path;
    device.vendor = vendor;
    device.product = product;
    UsbInterface i{0, interface_class, 6, 0, driver, {}};
    if (*interface) i.net_devices = {interface};
    device.interfaces = {i};
    return device;
  }
  void hilink(const std::string& path, const char* interface, const char* address = nullptr) {
    plug(path, 0x12d1, 0x14dc, interface, "cdc_ether").product_name = "HUAWEI_MOBILE";
    if (address) seen.addresses[interface] = Prefix::parse(address).value();
  }
  Hardware seen;
};

std::vector<std::string> paths(const std::vector<ProposedDongle>& list) {
  std::vector<std::string> found;
  for (const ProposedDongle& dongle : list) found.push_back(dongle.usb_path);
  return found;
}
std::vector<unsigned> ids(const std::vector<ProposedDongle>& list) {
  std::vector<unsigned> found;
  for (const ProposedDongle& dongle : list) found.push_back(dongle.id);
  return found;
}

Config parse_good(const std::string& yaml) {
  auto config = parse_config(yaml, "c.yaml");
  EXPECT_TRUE(config) << testing::PrintToString(config.error()) << yaml;
  return config.value_or(Config{});
}

TEST(Proposal, TakesSticksInTheOrderOfTheirPorts) {
  Rack rack;
  rack.hilink("2-1.10", "eth3");
  rack.hilink("2-1.2", "eth2");
  rack.hilink("1-3", "eth1");
  Proposal proposal = propose(rack.seen, {});
  EXPECT_THAT(paths(proposal.dongles), ElementsAre("1-3", "2-1.2", "2-1.10"));
  EXPECT_THAT(ids(proposal.dongles), ElementsAre(11u, 12u, 13u));
  for (const ProposedDongle& dongle : proposal.dongles) EXPECT_EQ(dongle.address, "dhcp");
}

TEST(Proposal, TakesWhatIsAStickAndLeavesTheRestToAPerson) {
  Rack rack;
  rack.hilink("2-1.1", "eth1");
  rack.plug("2-1.2", 0x12d1, 0x1f01, "", "usb-storage", 8).product_name = "HUAWEI_MOBILE";
  rack.plug("2-1.3", 0x0bda, 0x8153, "eth2", "r8152").product_name = "USB 10/100/1000 LAN";
  rack.plug("2-1.4.1", 0x12d1, 0x107e, "", "", 6);             // a phone
  rack.plug("2-1.4.2", 0x046d, 0xc31c, "", "usbhid", 3);       // a keyboard
  rack.plug("2-1.4.3", 0x0781, 0x5567, "", "usb-storage", 8);  // a memory stick
  rack.plug("2-1.4.4", 0x0525, 0xa4a2, "eth3", "rndis_host");  // QEMU's
  Proposal proposal = propose(rack.seen, {});
  EXPECT_THAT(paths(proposal.dongles), ElementsAre("2-1.1", "2-1.2"));
  EXPECT_THAT(paths(proposal.passed_over), ElementsAre("2-1.3", "2-1.4.1", "2-1.4.4"));
  EXPECT_THAT(proposal.passed_over[0].reason, HasSubstr("a network adapter (r8152)"));
  EXPECT_THAT(ids(proposal.passed_over), ElementsAre(13u, 14u, 15u)) << "ready to be taken";

  proposal = propose(rack.seen, {.more_ids = {{0x0525, 0xa4a2}}});
  EXPECT_THAT(paths(proposal.dongles), ElementsAre("2-1.1", "2-1.2", "2-1.4.4"));
  proposal = propose(rack.seen, {.more_ids = {}, .every_adapter = true});
  EXPECT_THAT(paths(proposal.dongles), ElementsAre("2-1.1", "2-1.2", "2-1.3", "2-1.4.4"));
  EXPECT_THAT(paths(proposal.passed_over), ElementsAre("2-1.4.1"));
}

TEST(Proposal, GivesIdsBySubnetWhereThatIsClear) {
  Rack rack;
  rack.hilink("2-1.1", "eth1", "192.168.14.100/24");
  rack.hilink("2-1.2", "eth2", "192.168.8.100/24");
  rack.hilink("2-1.3", "eth3", "192.168.8.100/24");  // like its neighbour, as it left the factory
  rack.hilink("2-1.4.1", "eth4", "192.168.11.100/24");
  rack.hilink("2-1.4.2", "eth5", "169.254.77.1/24");
  rack.hilink("2-1.4.3", "eth6", "10.0.0.5/8");
  rack.hilink("2-1.4.4", "eth7", "192.168.253.100/24");
  Proposal proposal = propose(rack.seen, {});
  EXPECT_THAT(ids(proposal.dongles), ElementsAre(14u, 12u, 13u, 11u, 15u, 16u, 17u));
  EXPECT_EQ(proposal.dongles[0].address, "192.168.14.100/24");
  EXPECT_EQ(proposal.dongles[3].address, "192.168.11.100/24");
  for (int i : {1, 2, 4, 5, 6}) EXPECT_EQ(proposal.dongles[static_cast<std::size_t>(i)].address, "dhcp") << i;
}

TEST(Proposal, NamesTheHubsThatCarrySticks) {
  Rack rack;
  rack.hilink("1-3", "eth1");
  rack.hilink("2-1.4.1", "eth2");
  rack.hilink("2-1.4.2", "eth3");
  Proposal proposal = propose(rack.seen, {});
  ASSERT_EQ(proposal.hubs.size(), 1u) << "2-1 carries only another hub, usb1 is the host's own";
  EXPECT_EQ(proposal.hubs[0].location, "2-1.4");
  EXPECT_EQ(proposal.hubs[0].sticks, 2);
  EXPECT_THAT(proposal.sticks_on_root_hubs, ElementsAre(testing::Pair("usb1", 1)));
}

TEST(Proposal, IsAConfigThatTheDaemonTakes) {
  Rack rack;
  rack.hilink("1-3", "eth1", "192.168.30.100/24");
  rack.hilink("2-1.1", "eth2");
  rack.plug("2-1.2", 0x12d1, 0x1f01, "", "usb-storage", 8);
  rack.plug("2-1.3", 0x0bda, 0x8153, "eth3", "r8152");
  std::string yaml = render_yaml(propose(rack.seen, {}));
  Config config = parse_good(yaml);
  ASSERT_EQ(config.hubs.size(), 1u);
  EXPECT_EQ(config.hubs[0].location, "2-1");
  ASSERT_EQ(config.dongles.size(), 3u);
  EXPECT_EQ(config.dongles[0].id, DongleId{30});
  EXPECT_EQ(config.dongles[0].usb_path, "1-3");
  EXPECT_EQ(config.dongles[0].address_mode, AddressMode::Static);
  EXPECT_EQ(config.dongles[1].id, DongleId{11});
  EXPECT_EQ(config.dongles[1].address_mode, AddressMode::Dhcp);
  EXPECT_EQ(config.dongles[2].usb_path, "2-1.2");
  EXPECT_EQ(config.dongles[2].modem.type, ModemType::HiLink);
  EXPECT_THAT(yaml, HasSubstr("# 12d1:1f01: shows its installation disk"));
  EXPECT_THAT(yaml, HasSubstr("# On the host's own ports (usb1): 1 stick."));
}

TEST(Proposal, CanBeTakenOverWithWhatItLeftToAPerson) {
  Rack rack;
  rack.hilink("2-1.1", "eth2");
  rack.plug("2-1.3", 0x0bda, 0x8153, "eth3", "r8152");
  std::string yaml = render_yaml(propose(rack.seen, {}));
  auto at = yaml.find("#  # 0bda:8153");
  ASSERT_NE(at, std::string::npos) << yaml;
  std::string uncommented = yaml.substr(0, at);
  std::string rest = yaml.substr(at);
  for (int line = 0; line < 5; ++line) {
    auto end = rest.find('\n') + 1;
    uncommented += rest.substr(1, end - 1);
    rest.erase(0, end);
  }
  Config config = parse_good(uncommented + rest);
  ASSERT_EQ(config.dongles.size(), 2u);
  EXPECT_EQ(config.dongles[1].usb_path, "2-1.3");
  EXPECT_EQ(config.dongles[1].id, DongleId{12});
}

TEST(Proposal, IsNotUpsetByWhatDevicesCallThemselves) {
  Rack rack;
  rack.hilink("2-1.1", "eth2");
  rack.seen.tree.devices["2-1.1"].product_name = "x\ndongles: []\n\"{\t#\x1b[2J";
  rack.seen.tree.devices["2-1"].product_name = "\xff\xfe\n- {name";
  Proposal proposal = propose(rack.seen, {});
  EXPECT_EQ(parse_good(render_yaml(proposal)).dongles.size(), 1u);
  EXPECT_THAT(render_yaml(proposal), Not(HasSubstr("\x1b")));
  EXPECT_TRUE(parse_json(dump_json(to_json(proposal))));
}

TEST(Proposal, StopsAtTheSticksThatADaemonServes) {
  Rack rack;
  for (int bus = 10; bus < 20; ++bus)
    for (int port = 1; port <= 26; ++port) rack.hilink(fmt::format("{}-{}", bus, port), "");
  rack.hilink("1-1", "eth0", "192.168.200.100/24");
  Proposal proposal = propose(rack.seen, {});
  EXPECT_EQ(proposal.dongles.size(), 252u);
  EXPECT_EQ(proposal.left_out.size(), 9u);
  EXPECT_EQ(proposal.left_out.back(), "19-26");
  EXPECT_EQ(parse_good(render_yaml(proposal)).dongles.size(), 252u);
}

TEST(Proposal, IsJsonToo) {
  Rack rack;
  rack.hilink("2-1.1", "eth2");
  rack.plug("2-1.2", 0x12d1, 0x1f01, "", "usb-storage", 8);
  Json json = to_json(propose(rack.seen, {}));
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["dongles"][0]["usb_id"], "12d1:14dc");
  EXPECT_EQ(json["dongles"][0]["interface"], "eth2");
  EXPECT_TRUE(json["dongles"][1]["interface"].is_null());
  EXPECT_EQ(json["hubs"][0]["sticks"], 2);
  EXPECT_EQ(propose({}, {}).dongles.size(), 0u);
}

}  // namespace
}  // namespace dongle::ctl
