#pragma once
#include <cstdint>
#include <functional>
#include <memory>

#include "common/error.h"
#include "common/usb_scan.h"
#include "common/usb_tree.h"
#include "common/uv_handle.h"

namespace dongle {

/// Keeps a picture of what is plugged into this host. The kernel's events only say that the picture is stale: what is
/// in it always comes from a scan, so that lost, doubled or reordered events can't make it wrong. Scans also follow at
/// an overrun of the event socket, on request, and on a slow timer. They run beside the loop, one at a time.
class UsbWatch {
 public:
  struct Options {
    Millis settle{50};           ///< a burst of events is over when nothing came for this long
    Millis settle_limit{250};    ///< a burst that doesn't end is looked at after this
    Millis rescan{30'000};       ///< the slow timer
    Millis slow{3'000};          ///< a scan that takes longer is logged
    int event_buffer = 1 << 20;  ///< bytes, some 2,000 events
  };
  /// What a scan reads. Tests give their own; both are called outside the loop's thread.
  struct Source {
    std::function<Result<UsbTree>()> scan;
    std::function<UsbNames(const std::string& path)> names;
  };
  static Source kernel_source();

  /// Reads the first picture before it returns (without names, which follow). Fails if the kernel's events can't be
  /// subscribed to. The loop outlives the object; what is stuck in the kernel when the object dies is left behind.
  static Result<std::unique_ptr<UsbWatch>> open(UvLoop& loop, Source source, Options options);
  static Result<std::unique_ptr<UsbWatch>> open(UvLoop& loop);
  ~UsbWatch();
  UsbWatch(const UsbWatch&) = delete;
  UsbWatch& operator=(const UsbWatch&) = delete;

  const UsbTree& tree() const;
  /// Called from the loop after tree() has changed. One listener.
  void on_change(std::function<void()> callback);
  /// Look again now, without waiting for events to settle: somebody knows better.
  void rescan();

  struct Counters {
    std::uint64_t events = 0;      ///< of USB devices and their network devices
    std::uint64_t overruns = 0;    ///< times the kernel dropped events because we were slow
    std::uint64_t scans = 0;       ///< that ended
    std::uint64_t slow_scans = 0;  ///< that took longer than Options::slow, or still do
    std::uint64_t changes = 0;     ///< scans that found another picture
  };
  const Counters& counters() const;

 private:
  struct Impl;
  explicit UsbWatch(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dongle
