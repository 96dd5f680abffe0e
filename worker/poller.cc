#include "worker/poller.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace dongle {
namespace {

UniqueFd create_epoll() {
  UniqueFd fd(epoll_create1(EPOLL_CLOEXEC));
  CHECK(fd);
  return fd;
}

}  // namespace

Poller::Poller(UvLoop& loop)
    : epoll_(create_epoll()), poll_(loop, epoll_.get(), UV_READABLE, [this](int, int) { dispatch_events(); }) {
  CHECK(uv_idle_init(loop.raw(), idle_.get()) == 0);
  idle_->data = this;
}

Poller::~Poller() = default;

Result<std::unique_ptr<PolledSocket>> Poller::add(UniqueFd fd, Sink& sink) {
  auto socket = std::make_unique<PolledSocket>(*this, std::move(fd), sink);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = socket.get();
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket->fd(), &event) != 0) return fail_errno(errno, "epoll: add");
  return socket;
}

void Poller::requeue(PolledSocket& socket) {
  if (socket.queued_) return;
  socket.queued_ = true;
  queue_.push_back(&socket);
  if (!uv_is_active(reinterpret_cast<uv_handle_t*>(idle_.get()))) {
    uv_idle_start(idle_.get(), [](uv_idle_t* handle) {
      if (handle->data) static_cast<Poller*>(handle->data)->run_queue();
    });
  }
}

void Poller::dispatch_events() {
  batch_size_ = std::max(0, epoll_wait(epoll_.get(), batch_.data(), static_cast<int>(batch_.size()), 0));
  for (int i = 0; i < batch_size_; ++i) {
    auto& event = batch_[static_cast<std::size_t>(i)];
    if (auto* socket = static_cast<PolledSocket*>(event.data.ptr)) socket->sink_->on_ready(*socket, event.events);
  }
  batch_size_ = 0;
}

void Poller::run_queue() {
  running_.swap(queue_);
  for (auto& slot : running_) {
    PolledSocket* socket = slot;
    if (!socket) continue;
    socket->queued_ = false;
    slot = nullptr;
    socket->sink_->on_ready(*socket, 0);
  }
  running_.clear();
  if (queue_.empty()) uv_idle_stop(idle_.get());
}

// An event of this socket may wait behind the one that is being handled.
void Poller::forget(PolledSocket& socket) {
  if (!socket.fd_) return;
  // Explicitly: a descriptor that another process holds too stays in the set after our close.
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket.fd(), nullptr);
  for (int i = 0; i < batch_size_; ++i) {
    auto& event = batch_[static_cast<std::size_t>(i)];
    if (event.data.ptr == &socket) event.data.ptr = nullptr;
  }
  if (socket.queued_) {
    std::ranges::replace(running_, &socket, nullptr);
    std::erase(queue_, &socket);
  }
}

void PolledSocket::reset_on_close() {
  linger at_once{1, 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

}  // namespace dongle
