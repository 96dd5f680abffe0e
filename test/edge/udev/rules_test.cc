// The rules of udev/ as udevadm understands them, on a USB tree of our own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "common/stick_ids.h"
#include "test/support/fake_sys.h"

namespace dongle {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kRules = TEST_DATA_DIR "/../../udev/70-dongle-supervisor.rules";

const char* udevadm() {
  for (const char* path : {"/usr/bin/udevadm", "/bin/udevadm"})
    if (access(path, X_OK) == 0) return path;
  return nullptr;
}

/// What would become of an event: the properties, and the programs to run as "run: '…'".
std::string simulate(const char* action, const std::string& syspath) {
  std::string command = std::string(udevadm()) + " test --action=" + action + " " + syspath + " 2>/dev/null";
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return text;
  std::array<char, 4096> chunk;
  while (std::size_t size = fread(chunk.data(), 1, chunk.size(), pipe)) text.append(chunk.data(), size);
  pclose(pipe);
  return text;
}

class UdevRules : public testing::Test {
 protected:
  void SetUp() override {
    if (udevadm() == nullptr) GTEST_SKIP() << "needs udevadm (Debian: udev)";
  }

  /// false: not allowed here.
  bool run(const std::function<void()>& body) {
    return FakeSys::run([&](FakeSys& sys) {
      mount("none", "/run", "tmpfs", 0, "size=1m");
      sys.write("/run/udev/rules.d/40-usb_modeswitch.rules",
                "SUBSYSTEM==\"usb\", ATTR{bInterfaceClass}==\"08\", RUN+=\"usb_modeswitch '%b/%k'\"");
      std::filesystem::copy(kRules, "/run/udev/rules.d/");
      plug(sys, stick, "12d1", "14dc", "02");
      plug(sys, disk, "12d1", "1f01", "08");
      plug(sys, adapter, "0bda", "8153", "ff");
      sys.write(std::string(kHub) + "/power/control", kAsFound);
      add_net(sys, stick, "eth2", 102);
      add_net(sys, adapter, "eth4", 104);
      body();
    });
  }
  static void plug(FakeSys& sys, const std::string& folder, const char* vendor, const char* product, const char* what) {
    sys.usb(folder, {{"idVendor", vendor}, {"idProduct", product}, {"power/control", kAsFound}});
    sys.usb(interface(folder), {{"bInterfaceNumber", "00"}, {"bInterfaceClass", what}});
  }
  static void add_net(FakeSys& sys, const std::string& folder, const std::string& name, int index) {
    sys.write(net(folder, name) + "/uevent", "INTERFACE=" + name + "\nIFINDEX=" + std::to_string(index));
    sys.link(net(folder, name) + "/subsystem", "/sys/class/net");
    sys.link("/sys/class/net/" + name, net(folder, name));
  }
  static std::string interface(const std::string& folder) {
    return folder + "/" + std::filesystem::path(folder).filename().string() + ":1.0";
  }
  static std::string net(const std::string& folder, const std::string& name) {
    return interface(folder) + "/net/" + name;
  }
  static std::string content(const std::string& path) {
    std::string text;
    std::ifstream(path) >> text;
    return text;
  }

  // udevadm writes over what is there, as one does to the kernel's own files: no longer than "on".
  static constexpr const char* kAsFound = "--";
  static constexpr const char* kHub = "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-4";
  const std::string stick = std::string(kHub) + "/1-4.2", disk = std::string(kHub) + "/1-4.3",
                    adapter = std::string(kHub) + "/1-4.4";
};

TEST(UdevRulesFile, NamesTheIdsThatTheCodeKnows) {
  std::ifstream file(kRules);
  std::string text(std::istreambuf_iterator<char>(file), {});
  for (unsigned product = 0; product <= 0xffff; ++product) {
    UsbId id{kHuaweiVendor, static_cast<std::uint16_t>(product)};
    std::string name = to_string(id).substr(5);
    bool is_listed = text.find("\"" + name) != text.npos || text.find("|" + name) != text.npos;
    // Four digits at the beginning of a value are also those of the vendor.
    if (product == kHuaweiVendor) continue;
    EXPECT_EQ(is_listed, is_hilink_id(id) || is_zero_cd_id(id)) << name;
  }
}

TEST_F(UdevRules, MarkAStickKeepItAwakeAndTellTheDaemon) {
  std::string added, removed, stick_power, hub_power, adapter_power;
  bool ran = run([&] {
    added = simulate("add", stick);
    removed = simulate("remove", stick);
    simulate("add", adapter);
    stick_power = content(stick + "/power/control");
    hub_power = content(std::string(kHub) + "/power/control");
    adapter_power = content(adapter + "/power/control");
  });
  if (!ran) GTEST_SKIP() << "needs root for a mount namespace";
  EXPECT_THAT(added, HasSubstr("DONGLE_STICK=1"));
  EXPECT_THAT(added, HasSubstr(":dongle-supervisor:"));
  EXPECT_THAT(added, HasSubstr("ID_MM_DEVICE_IGNORE=1"));
  EXPECT_THAT(added, HasSubstr("run: '/usr/bin/donglectl hotplug 1-4.2'"));
  EXPECT_THAT(removed, HasSubstr("run: '/usr/bin/donglectl hotplug 1-4.2'"));
  EXPECT_EQ(stick_power, "on");
  EXPECT_EQ(hub_power, "on");
  EXPECT_EQ(adapter_power, kAsFound);
}

TEST_F(UdevRules, KeepOthersOffItsNetworkDevice) {
  std::string ours, other;
  bool ran = run([&] {
    for (const std::string& folder : {stick, adapter}) {
      simulate("add", folder);
      simulate("add", interface(folder));
    }
    ours = simulate("add", net(stick, "eth2"));
    other = simulate("add", net(adapter, "eth4"));
  });
  if (!ran) GTEST_SKIP() << "needs root for a mount namespace";
  for (const char* property :
       {"DONGLE_STICK=1", "NM_UNMANAGED=1", "ID_NET_MANAGED_BY=dongle-supervisor", "ID_MM_PORT_IGNORE=1"}) {
    EXPECT_THAT(ours, HasSubstr(property));
    EXPECT_THAT(other, Not(HasSubstr(property)));
  }
  EXPECT_THAT(other, HasSubstr("INTERFACE=eth4"));
}

TEST_F(UdevRules, TakeTheInstallationDiskFromUsbModeswitch) {
  std::string ours;
  bool ran = run([&] {
    simulate("add", disk);
    ours = simulate("add", interface(disk));
  });
  if (!ran) GTEST_SKIP() << "needs root for a mount namespace";
  EXPECT_THAT(ours, HasSubstr("run: '/usr/bin/donglectl hotplug 1-4.3:1.0'"));
  EXPECT_THAT(ours, Not(HasSubstr("usb_modeswitch")));
}

}  // namespace
}  // namespace dongle
