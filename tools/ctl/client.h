#pragma once
#include <functional>
#include <string>

#include "common/clock.h"
#include "common/json.h"
#include "common/unique_fd.h"
#include "tools/ctl/exit_code.h"

namespace dongle::ctl {

/// A connection to the daemon's control socket: one JSON object a line, both ways. Blocks, always with a deadline.
class Client {
 public:
  static Outcome<Client> connect(const std::string& path, Millis timeout);

  /// Sends {"verb":…, …} and waits for the final reply; `progress` gets the texts that come before it. Returns
  /// "result". Failures: the daemon's own error, TimedOut, NotRunning (it hung up), Failed (it answers what nobody
  /// understands).
  Outcome<Json> request(const Json& request, Millis timeout, const std::function<void(const std::string&)>& progress);

  Outcome<void> send(const Json& request, TimePoint deadline);
  /// The next line that the daemon sends.
  Outcome<Json> receive(TimePoint deadline);
  int fd() const { return fd_.get(); }
  /// A whole line is here already; the socket's readiness says nothing about it.
  bool has_line() const { return buffer_.find('\n') != std::string::npos; }

 private:
  explicit Client(UniqueFd fd) : fd_(std::move(fd)) {}
  Outcome<void> wait(short events, TimePoint deadline);

  UniqueFd fd_;
  std::string buffer_;
  std::size_t searched_ = 0;  // no line end before this
};

/// The failure in a reply {"ok":false,"error":{…}}, with what to do about it.
Failure failure_from_reply(const Json& error);

}  // namespace dongle::ctl
