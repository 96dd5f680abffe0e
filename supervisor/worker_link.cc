#include "supervisor/worker_link.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "common/log.h"

namespace dongle {
namespace {

// Any local user may connect, so the connections that have not yet said who they are, are bounded.
constexpr std::size_t kMaxNewcomers = 300;
constexpr Millis kHelloDeadline = Seconds(2);

}  // namespace

struct WorkerLink::Newcomer {
  UniqueFd fd;
  ucred peer{};
  std::unique_ptr<Poll> poll;
  std::unique_ptr<Timer> deadline;
};

Result<std::unique_ptr<WorkerLink>> WorkerLink::listen(UvLoop& loop, const std::string& path, std::uint32_t uid_base,
                                                       OnRegister on_register) {
  auto fd = listen_unix(path, SOCK_SEQPACKET, 0666, static_cast<gid_t>(-1), 300);
  if (!fd) return std::unexpected(std::move(fd).error());
  return std::unique_ptr<WorkerLink>(new WorkerLink(loop, std::move(*fd), path, uid_base, std::move(on_register)));
}

WorkerLink::WorkerLink(UvLoop& loop, UniqueFd listener, std::string path, std::uint32_t uid_base,
                       OnRegister on_register)
    : loop_(loop),
      path_(std::move(path)),
      uid_base_(uid_base),
      on_register_(std::move(on_register)),
      acceptor_(loop, std::move(listener), [this](UniqueFd client) { welcome(std::move(client)); }) {}

WorkerLink::~WorkerLink() {
  unlink(path_.c_str());
}

void WorkerLink::welcome(UniqueFd fd) {
  if (newcomers_.size() >= kMaxNewcomers) return;  // closed at once; a worker of ours tries again
  auto newcomer = std::make_unique<Newcomer>();
  socklen_t length = sizeof newcomer->peer;
  if (getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &newcomer->peer, &length) != 0) return;
  Newcomer& n = *newcomer;
  n.fd = std::move(fd);
  n.poll = std::make_unique<Poll>(loop_, n.fd.get(), UV_READABLE, [this, &n](int, int) { read_hello(n); });
  n.deadline = std::make_unique<Timer>(loop_);
  n.deadline->start(kHelloDeadline, [this, &n] { forget(n); });
  newcomers_.push_back(std::move(newcomer));
}

void WorkerLink::forget(Newcomer& newcomer) {
  newcomers_.remove_if([&](const auto& n) { return n.get() == &newcomer; });
}

void WorkerLink::read_hello(Newcomer& newcomer) {
  auto packet = receive_ipc(newcomer.fd.get());
  if (!packet && packet.error().sys == EAGAIN) return;
  Result<IpcMessage> message = packet ? decode_ipc(packet->bytes) : std::unexpected(packet.error());
  const Hello* hello = message ? std::get_if<Hello>(&*message) : nullptr;
  bool is_worker = hello && newcomer.peer.uid == uid_base_ + hello->id.value;
  if (!is_worker) {
    log_event(LogEvent::worker_refused,
              {{"uid", newcomer.peer.uid},
               {"pid", newcomer.peer.pid},
               {"reason", !message ? message.error().message()
                          : !hello ? std::string("its first message isn't Hello")
                                   : fmt::format("its uid isn't the one of worker {}", hello->id)}});
    forget(newcomer);
    return;
  }
  Registration registration{*hello, newcomer.peer.pid, std::move(newcomer.fd), std::move(packet->fds)};
  newcomer.poll.reset();
  // The descriptor has moved out, so forgetting closes nothing.
  forget(newcomer);
  on_register_(std::move(registration));
}

}  // namespace dongle
