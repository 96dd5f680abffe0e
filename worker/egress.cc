#include "worker/egress.h"

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include "common/bind_device.h"

namespace dongle {

Result<void> bind_egress(int fd, const Egress& egress) {
  int family = 0;
  int bound_index = 0;
  socklen_t length = sizeof family;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) != 0) return fail_errno(errno, "egress socket");
  if (auto bound = bind_to_device(fd, egress.device); !bound) return bound;
  // The name may have passed to another stick a moment ago.
  length = sizeof bound_index;
  if (getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &bound_index, &length) != 0 || bound_index != egress.ifindex.value)
    return fail(Errc::Unreachable, "{} is another device now", egress.device);
  const auto& source = egress.source_for(family);
  if (!source) return fail(Errc::Unreachable, "{} has no address of that family", egress.device);
  int on = 1;
  if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  // The port is chosen at connect, where it need only be free for that destination.
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  sockaddr_storage address{};
  socklen_t size = Endpoint{*source, 0}.to_sockaddr(address);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0)
    return std::unexpected(Error{Errc::Unreachable, errno, "bind to " + source->to_string()});
  return {};
}

Result<UniqueFd> open_egress_socket(const Egress& egress, int family, int type) {
  UniqueFd fd(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(errno, "egress socket");
  if (auto bound = bind_egress(fd.get(), egress); !bound) return std::unexpected(std::move(bound).error());
  return fd;
}

void tune_tcp(int fd) {
  auto set = [fd](int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 6);
}

}  // namespace dongle
