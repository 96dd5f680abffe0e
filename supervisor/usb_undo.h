#pragma once
#include <string>

#include "common/backoff.h"
#include "supervisor/usb_context.h"

namespace dongle {

/// Puts right what an intent says is half done: ports on, or a device authorized. Tries until the kernel confirms it or
/// the hub or device has left the bus (which has power again when it returns). While a helper hangs that may still
/// switch something off, the intent stays.
class UsbUndo {
 public:
  UsbUndo(UsbContext& context, std::string key, Json intent, HelperRunPtr after);
  ~UsbUndo();
  void start();
  void retry_now();

 private:
  void attempt();
  void on_reply(const UsbHelper::Reply& reply);
  void finish(const std::string& outcome);
  void retry_later(const std::string& reason);

  UsbContext& context_;
  std::string key_, hub_, device_;
  Json intent_;
  HelperRunPtr run_;
  Timer timer_;
  Backoff backoff_;
  bool hung_at_start_ = false;  // a helper hung when the one under way was started
  bool complained_ = false;
};

}  // namespace dongle
