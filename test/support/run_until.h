#pragma once
#include <functional>

#include "common/uv_handle.h"

namespace dongle {

/// Runs the loop until the condition holds; false if that takes more than ten seconds.
inline bool run_until(UvLoop& loop, const std::function<bool()>& condition) {
  bool late = false;
  Timer guard(loop);
  guard.start(Millis{10'000}, [&late] { late = true; });
  // Looked at before each wait: a timer may be all that had to happen.
  UvHandle<uv_prepare_t> prepare;
  uv_prepare_init(loop.raw(), prepare.get());
  auto over = [&] { return late || condition(); };
  prepare->data = &over;
  uv_prepare_start(prepare.get(), [](uv_prepare_t* h) {
    if ((*static_cast<decltype(over)*>(h->data))()) uv_stop(h->loop);
  });
  loop.run();
  return condition();
}

}  // namespace dongle
