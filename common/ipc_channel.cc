#include "common/ipc_channel.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace dongle {

Result<IpcPacket> receive_ipc(int fd) {
  IpcPacket packet;
  // Not resize(): zeroing the whole limit would cost more than the messages, which are mostly small.
  packet.bytes.resize_and_overwrite(kIpcMaxMessage, [](char*, std::size_t size) { return size; });
  iovec iov{packet.bytes.data(), packet.bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kIpcMaxFds)];
  msghdr msg{};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  msg.msg_control = control;
  msg.msg_controllen = sizeof control;
  ssize_t n;
  do n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  if (n < 0) return fail_errno(errno, "worker.sock: receive");
  for (cmsghdr* c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t k = 0; k < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++k) {
      int one;
      std::memcpy(&one, CMSG_DATA(c) + k * sizeof(int), sizeof one);
      packet.fds.emplace_back(one);
    }
  }
  if (n == 0) return fail(Errc::Cancelled, "worker.sock: closed by the other side");
  if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) return fail(Errc::Protocol, "worker.sock: message over the size limit");
  packet.bytes.resize(static_cast<std::size_t>(n));
  return packet;
}

struct IpcChannel::Impl : std::enable_shared_from_this<Impl> {
  UniqueFd fd;
  Handlers handlers;
  std::unique_ptr<Poll> poll;
  bool dead = false;

  void close_with(const Error& error) {
    if (dead) return;
    dead = true;
    poll.reset();
    // A move: the handler may destroy the channel and with it the function that runs.
    auto on_closed = std::move(handlers.on_closed);
    if (on_closed) on_closed(error);
  }

  void on_ready() {
    auto self = shared_from_this();
    // Bounded, so that a chatty peer can't keep the loop to itself.
    for (int i = 0; i < 16 && !dead; ++i) {
      auto packet = receive_ipc(fd.get());
      if (!packet && packet.error().sys == EAGAIN) return;
      if (!packet) return close_with(packet.error());
      auto message = decode_ipc(packet->bytes);
      if (!message) return close_with(message.error());
      auto on_message = handlers.on_message;  // a copy: the handler may destroy the channel
      if (on_message) on_message(std::move(*message), std::move(packet->fds));
    }
  }
};

IpcChannel::IpcChannel(UvLoop& loop, UniqueFd fd, Handlers handlers) : impl_(std::make_shared<Impl>()) {
  impl_->fd = std::move(fd);
  impl_->handlers = std::move(handlers);
  impl_->poll = std::make_unique<Poll>(loop, impl_->fd.get(), UV_READABLE, [impl = impl_.get()](int status, int) {
    if (status < 0) return impl->close_with(Error{Errc::Io, -status, "worker.sock: poll"});
    impl->on_ready();
  });
}

IpcChannel::~IpcChannel() {
  impl_->dead = true;
  impl_->handlers = {};
  impl_->poll.reset();
}

Result<void> IpcChannel::send(const IpcMessage& message, std::initializer_list<int> fds) {
  return send(message, std::vector<int>(fds));
}

Result<void> IpcChannel::send(const IpcMessage& message, const std::vector<int>& fds) {
  if (impl_->dead) return fail(Errc::Cancelled, "worker.sock: closed");
  std::string packet = encode_ipc(message);
  CHECK(fds.size() <= kIpcMaxFds);
  if (packet.size() > kIpcMaxMessage)
    return fail(Errc::InvalidArgument, "worker.sock: a message of {} bytes is over the limit of {}", packet.size(),
                kIpcMaxMessage);
  iovec iov{packet.data(), packet.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kIpcMaxFds)] = {};
  msghdr msg{};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  if (!fds.empty()) {
    msg.msg_control = control;
    msg.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(c), fds.data(), sizeof(int) * fds.size());
  }
  if (sendmsg(impl_->fd.get(), &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return {};
  if (errno == EAGAIN) return fail(Errc::Full, "worker.sock: the other side doesn't read");
  return fail_errno(errno, "worker.sock: send");
}

int IpcChannel::fd() const {
  return impl_->fd.get();
}

}  // namespace dongle
