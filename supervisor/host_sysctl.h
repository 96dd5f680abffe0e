#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "common/error.h"
#include "common/ids.h"

namespace dongle {

/// The kernel settings of a dongle's device without which it works badly or harms the host:
///   rp_filter   not 1 (strict): it drops the answers that come in by a modem while the host's default is elsewhere.
///               The kernel uses the greater of conf/all and conf/DEV, so 2 (loose) on the device overrules a 1 on all.
///   accept_ra   0: a stick's router advertisement must not become the host's IPv6 default route.
class HostSysctl {
 public:
  /// base: /proc/sys, or a directory that a test has filled.
  explicit HostSysctl(std::filesystem::path base = "/proc/sys");

  /// Sets what is needed on the device and remembers what was there. Again for the same device: mends what differs.
  /// Fails with NotFound if the device is gone, InvalidArgument if its name can't be a path.
  Result<void> apply(const std::string& device, IfIndex index);

  struct Deviation {
    std::string device;
    std::string key;  ///< "rp_filter"
    int value = 0;
    int wanted = 0;
    bool operator==(const Deviation&) const = default;
  };
  /// What somebody else has set since, on the devices that apply() was called for. Changes nothing.
  std::vector<Deviation> check() const;

  /// Puts the former values back on a device that is still the one with this index, and forgets it. For a device that
  /// is gone or was replaced, only forgets it.
  void restore(const std::string& device, IfIndex current_index);

 private:
  struct Saved {
    IfIndex index;
    std::map<std::string, int> values;  // path below base -> former value; only of what we changed
  };
  Result<void> correct(const Deviation& deviation, Saved& saved);
  std::vector<Deviation> deviations(const std::string& device) const;
  Result<int> read(const std::string& path) const;
  Result<void> write(const std::string& path, int value) const;

  std::filesystem::path base_;
  std::map<std::string, Saved> devices_;
};

}  // namespace dongle
