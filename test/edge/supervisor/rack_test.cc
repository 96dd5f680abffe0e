#include "supervisor/rack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>

#include <nlohmann/json.hpp>

#include "test/support/run_until.h"

namespace dongle {
namespace {

using ::testing::HasSubstr;

constexpr DongleId k11{11}, k12{12};

struct Member final : RackMember {
  DongleStanding standing() const override { return {k11, "2-1.1", true, "online"}; }
  std::uint64_t connections() const override { return 0; }
  void on_usb_change() override {}
  void look_again() override {}
  void on_power_cut(Action, const std::string&) override { ++cuts; }
  void on_power_back(bool, const std::string&) override { ++backs; }
  int cuts = 0, backs = 0;
};

/// A rack that has not looked at USB: there is no hub to be found.
class RackTest : public testing::Test {
 protected:
  RackTest() {
    std::string pattern = testing::TempDir() + "rack-XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~RackTest() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
  UvLoop loop_;
  IntentLog intents_{loop_, folder_ + "/intents.json"};
  Rack rack_{loop_, intents_, "/bin/false", folder_};
  Member member_;
  std::optional<Result<std::string>> outcome_;
  UsbActions::Done keep_ = [this](Result<std::string> outcome) { outcome_ = std::move(outcome); };
};

TEST_F(RackTest, APlanThatIsNotAllowedAnyMoreIsAnsweredAndNobodyIsTold) {
  rack_.add(k11, member_);
  rack_.power(k11, Rack::Power::Cycle, keep_);
  EXPECT_FALSE(outcome_) << "from the loop";
  ASSERT_TRUE(run_until(loop_, [this] { return outcome_.has_value(); }));
  ASSERT_FALSE(outcome_->has_value());
  EXPECT_EQ(outcome_->error().code, Errc::Refused);
  EXPECT_THAT(outcome_->error().message(), HasSubstr("hub 2-1 isn't on the bus"));
  EXPECT_EQ(member_.cuts, 0);
  EXPECT_EQ(member_.backs, 0);
}

TEST_F(RackTest, WhoLeavesDoesNotTakeHisSuccessorAlong) {
  Member successor;
  rack_.add(k11, member_);
  rack_.add(k11, successor);
  rack_.remove(k11, member_);
  EXPECT_EQ(rack_.power_status(k11)["usb_path"], "2-1.1");
  rack_.remove(k11, successor);
  EXPECT_TRUE(rack_.power_status(k11)["usb_path"].is_null());
}

TEST_F(RackTest, AnOperatorWaitsForWhatIsUnderWayOnTheHub) {
  Member sibling;
  rack_.add(k11, member_);
  rack_.add(k12, sibling);
  Condition condition;
  condition.hub = "2-1";
  rack_.note(k12, condition);
  rack_.begin(k12, Action::HubPower);
  rack_.power(k11, Rack::Power::Cycle, keep_);
  ASSERT_TRUE(outcome_ && !outcome_->has_value());
  EXPECT_EQ(outcome_->error().code, Errc::Busy);
  EXPECT_EQ(sibling.cuts, 0) << "whose cut is under way";
  rack_.end(k12);
  outcome_.reset();
  rack_.power(k11, Rack::Power::Cycle, keep_);
  EXPECT_FALSE(outcome_) << "under way";
}

TEST_F(RackTest, AnOperatorIsAnsweredWhenTheDongleGoesMeanwhile) {
  rack_.add(k11, member_);
  rack_.power(k11, Rack::Power::Cycle, keep_);
  rack_.remove(k11, member_);
  ASSERT_TRUE(outcome_ && !outcome_->has_value());
  EXPECT_EQ(outcome_->error().code, Errc::Cancelled);
}

}  // namespace
}  // namespace dongle
