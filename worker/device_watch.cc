#include "worker/device_watch.h"

#include <linux/ethtool.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace dongle {
namespace {

constexpr int kReceiveBuffer = 1024 * 1024;
constexpr int kDumpTimeoutMs = 1000;

/// As events will tell it from now on. A driver that knows no carrier counts as having it.
bool has_link(int fd, const std::string& name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  if (ioctl(fd, SIOCGIFFLAGS, &request) != 0 || (request.ifr_flags & IFF_UP) == 0) return false;
  ethtool_value carrier{ETHTOOL_GLINK, 0};
  request.ifr_data = reinterpret_cast<char*>(&carrier);
  return ioctl(fd, SIOCETHTOOL, &request) != 0 || carrier.data != 0;
}

}  // namespace

Result<std::unique_ptr<DeviceWatch>> DeviceWatch::open(UvLoop& loop, Handlers handlers) {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!fd) return fail_errno(errno, "rtnetlink: socket");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(errno, "rtnetlink: bind");
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
  std::unique_ptr<DeviceWatch> watch(new DeviceWatch(loop, std::move(fd), std::move(handlers)));
  if (!watch->request_dump()) return fail_errno(errno, "rtnetlink: ask for the addresses");
  while (watch->dumping_) {
    pollfd ready{watch->fd_.get(), POLLIN, 0};
    if (::poll(&ready, 1, kDumpTimeoutMs) <= 0) return fail(Errc::Timeout, "rtnetlink: the addresses don't come");
    watch->read_events();
  }
  return watch;
}

DeviceWatch::DeviceWatch(UvLoop& loop, UniqueFd fd, Handlers handlers)
    : fd_(std::move(fd)),
      handlers_(std::move(handlers)),
      poll_(std::make_unique<Poll>(loop, fd_.get(), UV_READABLE, [this](int, int) { read_events(); })) {}

bool DeviceWatch::watch(const std::string& name, IfIndex ifindex) {
  name_ = name;
  ifindex_ = ifindex;
  link_up_ = has_link(fd_.get(), name);
  if (static_cast<int>(if_nametoindex(name.c_str())) == ifindex.value) return true;
  forget();
  return false;
}

bool DeviceWatch::request_dump() {
  auto request = address_dump_request();
  dumped_.clear();
  dumping_ = send(fd_.get(), request.data(), request.size(), 0) == static_cast<ssize_t>(request.size());
  return dumping_;
}

void DeviceWatch::read_events() {
  alignas(nlmsghdr) std::array<std::byte, 32 * 1024> buffer;
  for (int i = 0; i < 64; ++i) {
    ssize_t n = recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (n >= 0) {
      for (const auto& event : read_netlink(std::span(buffer).first(static_cast<std::size_t>(n)))) handle(event);
    } else if (errno == ENOBUFS) {
      // Events were lost: look at everything again.
      request_dump();
      check_device();
    } else if (errno != EINTR) {
      return;
    }
  }
}

void DeviceWatch::handle(const NetlinkEvent& event) {
  if (std::holds_alternative<DumpDone>(event)) {
    if (!dumping_) return;
    dumping_ = false;
    addresses_ = std::move(dumped_);
    handlers_.addresses(addresses_);
  } else if (auto* seen = std::get_if<AddressSeen>(&event)) {
    // During a dump events and answers come mixed; both are true of both sets.
    bool changed = seen->gone ? addresses_.erase(seen->address) > 0 : addresses_.insert(seen->address).second;
    if (dumping_) seen->gone ? void(dumped_.erase(seen->address)) : void(dumped_.insert(seen->address));
    if (changed) handlers_.addresses(addresses_);
  } else if (auto* link = std::get_if<LinkSeen>(&event); link && ifindex_) {
    if (link->ifindex == ifindex_ && link->gone) return report_gone();
    if (link->gone) return;
    if (link->ifindex == ifindex_) note_link(link->up);
    if (link->ifindex == ifindex_ && link->name != name_) {
      name_ = link->name;
      handlers_.renamed(name_);
    } else if (link->ifindex != ifindex_ && link->name == name_) {
      check_device();
    }
  }
}

void DeviceWatch::check_device() {
  if (!ifindex_) return;
  std::array<char, IF_NAMESIZE> name{};
  if (!if_indextoname(static_cast<unsigned>(ifindex_.value), name.data())) return report_gone();
  note_link(has_link(fd_.get(), name.data()));
  if (name_ == name.data()) return;
  name_ = name.data();
  handlers_.renamed(name_);
}

void DeviceWatch::note_link(bool up) {
  if (std::exchange(link_up_, up) != up) handlers_.link(up);
}

void DeviceWatch::report_gone() {
  forget();
  handlers_.gone();
}

}  // namespace dongle
