#include "supervisor/usb_helper.h"

#include <utility>

#include <nlohmann/json.hpp>

namespace dongle {
namespace {

// As dongle-usb's usage says.
Errc errc_from_exit(int status) {
  switch (status) {
    case 2: return Errc::InvalidArgument;
    case 3: return Errc::Unsupported;
    case 4: return Errc::Permission;
    case 5: return Errc::NotFound;
    case 6: return Errc::Refused;
    default: return Errc::Io;
  }
}

Result<Json> read_reply(const ChildResult& child) {
  if (child.timed_out) return fail(Errc::Timeout, "{}", child.summary());
  if (child.ok()) return parse_json(child.out);
  std::string_view said = std::string_view(child.err).substr(0, child.err.find('\n'));
  if (child.term_signal != 0 || said.empty()) return fail(Errc::Io, "{}", child.summary());
  return fail(errc_from_exit(child.exit_status), "{}", said.substr(0, 300));
}

}  // namespace

UsbHelper::UsbHelper(UvLoop& loop, const std::string& program, std::vector<std::string> arguments, Millis deadline,
                     std::function<void(Reply)> done, std::function<void()> on_late_end) {
  ChildProcess::Command command;
  command.argv = {program};
  command.argv.insert(command.argv.end(), std::make_move_iterator(arguments.begin()),
                      std::make_move_iterator(arguments.end()));
  command.deadline = deadline;
  command.max_output = 1 << 20;  // 128 hubs of 16 ports
  command.on_late_end = std::move(on_late_end);
  auto started = ChildProcess::start(loop, std::move(command), [done](ChildResult child) {
    done({read_reply(child), child.stuck});
  });
  if (started) {
    child_ = std::move(*started);
    return;
  }
  // NotFound would be taken for a missing device.
  Error error{Errc::Io, started.error().sys, started.error().context};
  failed_to_start_ = std::make_unique<Timer>(loop);
  failed_to_start_->start(Millis{0}, [done = std::move(done), error] { done({std::unexpected(error), false}); });
}

}  // namespace dongle
