#include "worker/supervisor_link.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>

namespace dongle {
namespace {

// By way of the directory's descriptor: its path may be closed to our uid, or too long for a socket address.
Result<UniqueFd> connect_in(int directory) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  fmt::format_to_n(address.sun_path, sizeof address.sun_path - 1, "/proc/self/fd/{}/worker.sock", directory);
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(errno, "worker.sock: socket");
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(errno, "worker.sock: connect");
  return fd;
}

}  // namespace

SupervisorLink::SupervisorLink(UvLoop& loop, int runtime_fd, std::string runtime_dir, Handlers handlers)
    : loop_(loop),
      runtime_fd_(runtime_fd),
      runtime_dir_(std::move(runtime_dir)),
      handlers_(std::move(handlers)),
      retry_(loop),
      lost_at_(UvLoop::now()) {}

void SupervisorLink::start() {
  retry_.start(Millis{0}, [this] { try_connect(); });
}

Millis SupervisorLink::away() const {
  if (channel_) return Millis{0};
  return std::chrono::duration_cast<Millis>(UvLoop::now() - lost_at_);
}

void SupervisorLink::try_connect() {
  Result<UniqueFd> fd = fail(Errc::NotFound, "worker.sock: no directory");
  if (runtime_fd_ >= 0) fd = connect_in(runtime_fd_);
  if (!fd && !runtime_dir_.empty()) {
    if (UniqueFd directory(open(runtime_dir_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)); directory)
      fd = connect_in(directory.get());
  }
  if (!fd) {
    // Not at once: while it restarts there is nothing to tell.
    if (delay_ == kLastRetry && !std::exchange(told_unreachable_, true)) handlers_.unreachable(fd.error());
    retry_.start(delay_, [this] { try_connect(); });
    delay_ = std::min(delay_ * 2, kLastRetry);
    return;
  }
  delay_ = kFirstRetry;
  told_unreachable_ = false;
  channel_ = std::make_unique<IpcChannel>(loop_, std::move(*fd),
                                          IpcChannel::Handlers{[this](IpcMessage message, std::vector<UniqueFd> fds) {
                                                                 handlers_.message(std::move(message), std::move(fds));
                                                               },
                                                               [this](const Error& error) { on_lost(error); }});
  if (auto sent = channel_->send(handlers_.hello(), handlers_.fds()); !sent) return on_lost(sent.error());
  handlers_.connected();
}

void SupervisorLink::on_lost(const Error& error) {
  channel_.reset();
  lost_at_ = UvLoop::now();
  retry_.start(delay_, [this] { try_connect(); });
  handlers_.lost(error);
}

bool SupervisorLink::send(const IpcMessage& message) {
  return channel_ && channel_->send(message).has_value();
}

}  // namespace dongle
