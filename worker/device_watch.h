#pragma once
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "common/unique_fd.h"
#include "common/uv_handle.h"
#include "worker/netlink_message.h"

namespace dongle {

/// Watches the worker's device and the host's addresses by rtnetlink, which needs no privilege and no supervisor. A
/// socket bound to a device that was deleted hangs without an error, so somebody has to say that it is gone.
class DeviceWatch {
 public:
  struct Handlers {
    std::function<void()> gone;  ///< the watched device was deleted, or its name belongs to another one now
    std::function<void(const std::string& name)> renamed;
    std::function<void(bool up)> link;  ///< carrier lost or back, or switched off or on; not after watch()
    std::function<void(const std::set<Address>&)> addresses;  ///< all addresses of the host, after every change
  };
  /// Reads the host's addresses before it returns, within a second, and calls `addresses` with them.
  static Result<std::unique_ptr<DeviceWatch>> open(UvLoop& loop, Handlers handlers);

  /// Looks at the device from now on. False: it isn't there under that name with that index.
  bool watch(const std::string& name, IfIndex ifindex);
  void forget() { ifindex_ = {}; }
  /// The watched device is switched on and has carrier, as far as it can tell.
  bool is_link_up() const { return link_up_; }

 private:
  DeviceWatch(UvLoop& loop, UniqueFd fd, Handlers handlers);
  bool request_dump();
  void read_events();
  void handle(const NetlinkEvent& event);
  void check_device();
  void note_link(bool up);
  void report_gone();

  UniqueFd fd_;
  Handlers handlers_;
  std::string name_;
  IfIndex ifindex_;
  bool link_up_ = false;
  std::set<Address> addresses_;
  std::set<Address> dumped_;
  bool dumping_ = false;
  std::unique_ptr<Poll> poll_;
};

}  // namespace dongle
