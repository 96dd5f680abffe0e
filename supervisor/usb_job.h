#pragma once
#include <functional>
#include <string>
#include <vector>

#include "supervisor/power_plan.h"
#include "supervisor/usb_context.h"

namespace dongle {

/// One action under way for one dongle. Destroying it gives it up: nothing is called any more, and what is half done is
/// handed to UsbContext::undo().
class UsbJob {
 public:
  using Done = std::function<void(Result<std::string> detail)>;
  UsbJob(UsbContext& context, Done done) : context_(context), timer_(context.loop()), done_(std::move(done)) {}
  virtual ~UsbJob();
  UsbJob(const UsbJob&) = delete;
  UsbJob& operator=(const UsbJob&) = delete;

  virtual void start() = 0;
  /// The context has a new tree. May end the job.
  void on_tree();

 protected:
  /// Asks the helper; `then` is called unless the job has ended.
  void run(const std::string& hub, std::vector<std::string> arguments, Millis deadline,
           std::function<void(UsbHelper::Reply)> then);
  /// Waits until the tree shows it, and says whether it did in time. Looks at once, or only at the next tree.
  enum class Look { Now, AtNextTree };
  void wait_for(std::function<bool()> seen, Millis deadline, Look look, std::function<void(bool)> then);
  void after(Millis delay, std::function<void()> then);
  /// Ends the job; the caller touches nothing of it any more.
  void finish(Result<std::string> outcome);
  void fail_with(Error error) { finish(std::unexpected(std::move(error))); }
  /// A callback that does nothing once the job is gone.
  template <class F>
  auto guard(F f) {
    return [f = std::move(f), alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) f();
    };
  }
  /// The helper under way, for whoever has to wait for its end.
  HelperRunPtr release_run();

  UsbContext& context_;

 private:
  void end_wait(bool seen);
  Timer timer_;
  Done done_;
  HelperRunPtr run_;
  std::function<bool()> seen_;
  std::function<void(bool)> then_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

/// What changes a device itself: mode switch, configuration, drivers, authorization.
class UsbDeviceJob : public UsbJob {
 public:
  enum class Verb { ModeSwitch, Configuration, Rebind, Reauthorize };
  UsbDeviceJob(UsbContext& context, Verb verb, std::string path, Done done);
  ~UsbDeviceJob() override;
  void start() override;
  const std::string& path() const { return path_; }

 private:
  void ask();
  void on_reply(const UsbHelper::Reply& reply);
  void await_other_mode();
  void await_network_device(const Json& reply);
  Verb verb_;
  std::string path_;
  int devnum_before_ = 0;
  bool wrote_intent_ = false;
};

/// Power of a port or a hub: off, on, or one after the other.
class UsbPowerJob : public UsbJob {
 public:
  enum class Goal { Cycle, Off, On };
  UsbPowerJob(UsbContext& context, Goal goal, PowerPlan plan, int attempt, Done done);
  ~UsbPowerJob() override;
  void start() override;
  const std::string& hub() const { return plan_.hub; }

 private:
  void switch_off(bool raw);
  void on_off_reply(bool raw, const UsbHelper::Reply& reply);
  void await_leaving();
  void on_left(bool left);
  void stay_off();
  void switch_on();
  void on_on_reply(const UsbHelper::Reply& reply);
  void await_return();
  void on_returned(bool returned);
  void refuse(Errc code, const std::string& why);
  bool has_left() const;
  bool is_back() const;
  std::string others_back() const;
  int lesson_port() const;
  std::vector<int> ports() const;
  Json intent() const;
  std::string intent_key() const { return "hub " + plan_.hub; }

  Goal goal_;
  PowerPlan plan_;
  int attempt_;
  std::map<std::string, int> devnums_before_;  // of what is plugged into the ports
  TimePoint began_{}, cut_{}, on_{};
  std::string story_;
  bool owes_power_ = false;  // ports may be off on our behalf
  bool raw_ = false;
  bool hung_at_on_ = false;  // a helper hung on the hub when "on" was begun
};

}  // namespace dongle
