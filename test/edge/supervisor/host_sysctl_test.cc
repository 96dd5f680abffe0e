#include "supervisor/host_sysctl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace dongle {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// A directory that looks like /proc/sys for the devices "all" and "m.11".
class HostSysctlTest : public ::testing::Test {
 protected:
  HostSysctlTest() {
    std::string pattern = ::testing::TempDir() + "sysctl-XXXXXX";
    base_ = mkdtemp(pattern.data());
    set("ipv4", "all", "rp_filter", 0);
    set("ipv4", "m.11", "rp_filter", 1);
    set("ipv6", "m.11", "accept_ra", 1);
  }
  ~HostSysctlTest() override { std::filesystem::remove_all(base_); }

  std::filesystem::path path(const char* family, const char* device, const char* key) const {
    return base_ / "net" / family / "conf" / device / key;
  }
  void set(const char* family, const char* device, const char* key, int value) {
    std::filesystem::create_directories(path(family, device, key).parent_path());
    std::ofstream(path(family, device, key)) << value << '\n';
  }
  int get(const char* family, const char* device, const char* key) const {
    int value = -1;
    std::ifstream(path(family, device, key)) >> value;
    return value;
  }

  std::filesystem::path base_;
};

TEST_F(HostSysctlTest, SetsWhatADongleNeedsAndPutsItBack) {
  HostSysctl sysctl(base_);
  ASSERT_TRUE(sysctl.apply("m.11", IfIndex{7}));
  EXPECT_EQ(get("ipv4", "m.11", "rp_filter"), 2);
  EXPECT_EQ(get("ipv6", "m.11", "accept_ra"), 0);
  EXPECT_THAT(sysctl.check(), IsEmpty());
  sysctl.restore("m.11", IfIndex{7});
  EXPECT_EQ(get("ipv4", "m.11", "rp_filter"), 1);
  EXPECT_EQ(get("ipv6", "m.11", "accept_ra"), 1);
}

TEST_F(HostSysctlTest, GoesByTheGreaterOfAllAndTheDevice) {
  struct Row {
    int all, device, expected;
  };
  for (Row row : {Row{0, 0, 0}, Row{0, 1, 2}, Row{1, 0, 2}, Row{1, 1, 2}, Row{1, 2, 2}, Row{2, 0, 0}, Row{2, 1, 1}}) {
    set("ipv4", "all", "rp_filter", row.all);
    set("ipv4", "m.11", "rp_filter", row.device);
    HostSysctl sysctl(base_);
    ASSERT_TRUE(sysctl.apply("m.11", IfIndex{7}));
    EXPECT_EQ(get("ipv4", "m.11", "rp_filter"), row.expected) << row.all << " " << row.device;
  }
}

TEST_F(HostSysctlTest, ReportsWhatSomebodyElseSetAndMendsItWhenAsked) {
  HostSysctl sysctl(base_);
  ASSERT_TRUE(sysctl.apply("m.11", IfIndex{7}));
  set("ipv4", "m.11", "rp_filter", 1);
  EXPECT_THAT(sysctl.check(), ElementsAre(HostSysctl::Deviation{"m.11", "rp_filter", 1, 2}));
  ASSERT_TRUE(sysctl.apply("m.11", IfIndex{7}));
  EXPECT_THAT(sysctl.check(), IsEmpty());
}

TEST_F(HostSysctlTest, LeavesAnotherDeviceOfTheSameNameAlone) {
  HostSysctl sysctl(base_);
  ASSERT_TRUE(sysctl.apply("m.11", IfIndex{7}));
  sysctl.restore("m.11", IfIndex{8});
  EXPECT_EQ(get("ipv4", "m.11", "rp_filter"), 2);
  EXPECT_THAT(sysctl.check(), IsEmpty());
}

TEST_F(HostSysctlTest, DoesWithoutIpv6) {
  std::filesystem::remove_all(base_ / "net" / "ipv6");
  HostSysctl sysctl(base_);
  EXPECT_TRUE(sysctl.apply("m.11", IfIndex{7}));
  EXPECT_THAT(sysctl.check(), IsEmpty());
}

TEST_F(HostSysctlTest, RefusesADeviceThatIsGoneOrIsNoName) {
  HostSysctl sysctl(base_);
  EXPECT_EQ(sysctl.apply("m12", IfIndex{7}).error().code, Errc::NotFound);
  EXPECT_EQ(sysctl.apply("../all", IfIndex{7}).error().code, Errc::InvalidArgument);
  EXPECT_THAT(sysctl.check(), IsEmpty());
}

}  // namespace
}  // namespace dongle
