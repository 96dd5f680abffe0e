#include "common/acceptor.h"

#include <sys/socket.h>

#include <cerrno>

namespace dongle {
namespace {

// One turn's share, so that a flood of connections doesn't keep the loop to itself.
constexpr int kMaxPerTurn = 64;
constexpr Millis kPause{500};

}  // namespace

Acceptor::Acceptor(UvLoop& loop, UniqueFd listener, OnClient on_client)
    : listener_(std::move(listener)),
      on_client_(std::move(on_client)),
      pause_(loop),
      poll_(loop, listener_.get(), UV_READABLE, [this](int, int) { accept_some(); }) {}

void Acceptor::accept_some() {
  for (int i = 0; i < kMaxPerTurn; ++i) {
    UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (client) {
      on_client_(std::move(client));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      poll_.set_events(0);
      pause_.start(kPause, [this] { poll_.set_events(UV_READABLE); });
      return;
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return;
    }
  }
}

}  // namespace dongle
