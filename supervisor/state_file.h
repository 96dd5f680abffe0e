#pragma once
#include <functional>
#include <memory>
#include <string>

#include "common/error.h"
#include "common/json.h"
#include "common/uv_handle.h"

namespace dongle {

/// A small JSON document in a file, replaced atomically (write, fsync, rename).
/// Missing: NotFound. Broken: moved aside to PATH.broken, and Protocol.
Result<Json> read_state_file(const std::string& path);

/// Writes documents off the loop, one at a time; of several that wait only the newest is written. A failure is
/// logged once until a write succeeds again and costs nothing else. What was handed over is written even if the writer
/// is destroyed meanwhile.
class StateFileWriter {
 public:
  StateFileWriter(UvLoop& loop, std::string path);
  ~StateFileWriter();
  /// done: this document, or a newer one, is durably in the file, or can't be.
  void write(const Json& document, std::function<void(const Result<void>&)> done = {});

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace dongle
