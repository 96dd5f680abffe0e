#include "supervisor/netlink.h"

#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "common/log.h"

namespace dongle {
namespace {

constexpr std::size_t kBufferSize = 64 * 1024;     // the kernel fills dumps up to 32 KiB
constexpr int kEventBufferSize = 4 * 1024 * 1024;  // some 10,000 events
constexpr int kReadsPerTurn = 512;                 // leaves the loop to others during a flood
constexpr Millis kMinRefreshInterval{10};
constexpr Millis kRetryInterval{500};
constexpr int kDumpTries = 4;              // a dump that a change interrupted is repeated
constexpr timeval kRequestDeadline{2, 0};  // the kernel answers inline; this only guards against its bugs

/// One read from a netlink socket. Only what the kernel itself sent counts: any process may send to our port.
ssize_t receive(int fd, std::vector<char>& buffer, int flags) {
  sockaddr_nl sender{};
  socklen_t length = sizeof sender;
  for (;;) {
    ssize_t size = recvfrom(fd, buffer.data(), buffer.size(), flags, reinterpret_cast<sockaddr*>(&sender), &length);
    if (size >= 0 && sender.nl_pid != 0) continue;
    if (size >= 0 || errno != EINTR) return size;
  }
}

/// Calls each(message) for every whole message in the buffer.
template <class F>
void for_each_message(std::vector<char>& buffer, ssize_t size, F each) {
  int left = static_cast<int>(size);
  for (auto* h = reinterpret_cast<nlmsghdr*>(buffer.data()); nlmsg_ok(h, left); h = nlmsg_next(h, &left)) each(*h);
}

int set_option(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value);
}

/// The kernel's own words behind an error code, if it sent any.
std::string kernel_text(const nlmsghdr& message) {
  if ((message.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
  auto* error = static_cast<nlmsgerr*>(nlmsg_data(&message));
  auto* head = reinterpret_cast<nlattr*>(error + 1);
  int size = static_cast<int>(message.nlmsg_len - NLMSG_LENGTH(sizeof *error));
  const nlattr* text = nla_find(head, size, NLMSGERR_ATTR_MSG);
  return text == nullptr ? "" : fmt::format(" ({})", static_cast<const char*>(nla_data(text)));
}

}  // namespace

void Netlink::SocketDeleter::operator()(nl_sock* socket) const {
  nl_socket_free(socket);
}

Netlink::Netlink(UvLoop& loop, std::uint8_t our_protocol)
    : loop_(loop),
      our_protocol_(our_protocol),
      refresh_timer_(loop),
      event_buffer_(kBufferSize),
      dump_buffer_(kBufferSize) {}

Netlink::~Netlink() = default;

Result<std::unique_ptr<Netlink>> Netlink::open(UvLoop& loop, std::uint8_t our_protocol) {
  std::unique_ptr<Netlink> netlink(new Netlink(loop, our_protocol));
  if (auto r = netlink->connect(); !r) return wrap(std::move(r).error(), "netlink");
  netlink->stale_ = {true, true, true, true};
  if (auto r = netlink->read_stale(); !r) return wrap(std::move(r).error(), "netlink");
  netlink->changed_ = false;  // the caller reads the first picture by itself
  return netlink;
}

Result<void> Netlink::connect() {
  events_.reset(nl_socket_alloc());
  requests_.reset(nl_socket_alloc());
  if (!events_ || !requests_) return fail(Errc::Full, "no memory for a socket");
  for (auto* socket : {events_.get(), requests_.get()})
    if (nl_connect(socket, NETLINK_ROUTE) < 0) return fail_errno(errno, "connect to the kernel");

  int fd = nl_socket_get_fd(requests_.get());
  set_option(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
  set_option(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
  if (set_option(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1) != 0)
    return fail_errno(errno, "filtered dumps (Linux 4.20 or later is needed)");
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kRequestDeadline, sizeof kRequestDeadline);

  fd = nl_socket_get_fd(events_.get());
  // FORCE goes beyond rmem_max and needs CAP_NET_ADMIN, which changing routes needs anyway.
  if (set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, kEventBufferSize) != 0)
    set_option(fd, SOL_SOCKET, SO_RCVBUF, kEventBufferSize);
  if (nl_socket_add_memberships(events_.get(), RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                                RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, 0) < 0)
    return fail_errno(errno, "subscribe to events");
  nl_socket_set_nonblocking(events_.get());
  poll_ = std::make_unique<Poll>(loop_, fd, UV_READABLE, [this](int, int) { read_events(); });
  return {};
}

void Netlink::read_events() {
  for (int i = 0; i < kReadsPerTurn; ++i) {
    ssize_t size = receive(nl_socket_get_fd(events_.get()), event_buffer_, MSG_DONTWAIT);
    if (size < 0 && errno == ENOBUFS) {
      ++overruns_;
      stale_ = {true, true, true, true};
      log_event(LogEvent::netlink_overrun, {{"overruns", overruns_}});
      continue;
    }
    if (size <= 0) break;
    for_each_message(event_buffer_, size, [this](const nlmsghdr& message) { note_event(message); });
  }
  if (stale_.any()) refresh_soon();
}

void Netlink::note_event(const nlmsghdr& message) {
  switch (message.nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      // The kernel removes the routes of a device that goes down without a word (IPv4).
      stale_.links = stale_.routes = true;
      break;
    case RTM_NEWADDR: stale_.addresses = true; break;
    case RTM_DELADDR:
      // Routes with that address as their source go silently, too.
      stale_.addresses = stale_.routes = true;
      break;
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
      // A replacement is reported as the new route alone, so a foreign route in a table of ours may mean that one of
      // ours is gone.
      bool replaced = message.nlmsg_type == RTM_NEWROUTE && (message.nlmsg_flags & NLM_F_REPLACE) != 0;
      if (replaced || parse_route(message, our_protocol_)) stale_.routes = true;
      break;
    }
    case RTM_NEWRULE:
    case RTM_DELRULE: stale_.rules = true; break;
    default: break;
  }
}

void Netlink::refresh_soon() {
  if (refresh_timer_.is_active()) return;
  if (UvLoop::now() - refreshed_at_ >= kMinRefreshInterval) {
    refresh_and_tell();
  } else {
    refresh_timer_.start(kMinRefreshInterval, [this] { refresh_and_tell(); });
  }
}

void Netlink::refresh_and_tell() {
  if (auto r = read_stale(); !r) {
    log_event(LogEvent::netlink_dump_failed, {{"error", r.error().message()}, {"outcome", "retried"}});
    refresh_timer_.start(kRetryInterval, [this] { refresh_and_tell(); });
  } else if (stale_.any()) {
    refresh_timer_.start(kMinRefreshInterval, [this] { refresh_and_tell(); });
  }
  if (std::exchange(changed_, false) && callback_) {
    auto call = callback_;  // a copy: the listener may replace itself
    call();
  }
}

Result<void> Netlink::refresh() {
  stale_ = {true, true, true, true};
  if (auto r = read_stale(); !r) return r;
  if (changed_ || stale_.any()) refresh_timer_.start(Millis{0}, [this] { refresh_and_tell(); });
  return {};
}

Result<void> Netlink::read_stale() {
  Stale stale = std::exchange(stale_, {});
  refreshed_at_ = UvLoop::now();
  for (int i = 0; i < kDumpTries; ++i) {
    interrupted_ = false;
    auto next = read(stale);
    if (!next) {
      stale_ = stale;
      return std::unexpected(std::move(next).error());
    }
    if (interrupted_ && i + 1 < kDumpTries) continue;
    // Tables that change faster than they can be read: take what there is and look again soon.
    if (interrupted_) stale_ = stale;
    if (*next != state_) {
      state_ = std::move(*next);
      changed_ = true;
    }
    break;
  }
  return {};
}

Result<NetState> Netlink::read(const Stale& stale) {
  NetState next = state_;
  auto collect = [&](const NlMsg& request, auto& list, auto parse) {
    return dump(request, [&](const nlmsghdr& message) {
      if (auto value = parse(message)) list.push_back(std::move(*value));
    });
  };
  if (stale.links) {
    next.links.clear();
    if (auto r = collect(dump_request(RTM_GETLINK, AF_UNSPEC), next.links, parse_link); !r)
      return wrap(std::move(r).error(), "dump links");
  }
  if (stale.addresses) {
    next.addresses.clear();
    if (auto r = collect(dump_request(RTM_GETADDR, AF_UNSPEC), next.addresses, parse_address); !r)
      return wrap(std::move(r).error(), "dump addresses");
  }
  if (stale.rules) next.rules.clear();
  if (stale.routes) next.routes.clear();
  for (int family : {AF_INET, AF_INET6}) {
    if (stale.rules) {
      if (auto r = collect(dump_request(RTM_GETRULE, family), next.rules, parse_rule); !r)
        return wrap(std::move(r).error(), "dump rules");
    }
    if (!stale.routes) continue;
    auto ours = [&](const nlmsghdr& message) { return parse_route(message, our_protocol_); };
    if (auto r = collect(route_dump_request(family, our_protocol_, {}), next.routes, ours); !r)
      return wrap(std::move(r).error(), "dump routes");
    auto foreign = [&](const nlmsghdr& message) {
      auto route = parse_route(message, our_protocol_);
      return route && route->protocol != our_protocol_ ? route : std::nullopt;
    };
    auto r = collect(route_dump_request(family, 0, kMainTable), next.routes, foreign);
    // IPv6 has no main table before its first route.
    if (!r && r.error().sys != ENOENT) return wrap(std::move(r).error(), "dump main table");
  }
  return next;
}

Result<void> Netlink::set_link_up(IfIndex index) {
  return request(link_up_request(index));
}
Result<void> Netlink::add_address(const LocalAddress& address) {
  return request(address_request(address, true));
}
Result<void> Netlink::remove_address(const LocalAddress& address) {
  return request(address_request(address, false));
}
Result<void> Netlink::add_route(const Route& route) {
  return request(route_request(route, true));
}
Result<void> Netlink::remove_route(const Route& route) {
  return request(route_request(route, false));
}
Result<void> Netlink::add_rule(const Rule& rule) {
  return request(rule_request(rule, true));
}
Result<void> Netlink::remove_rule(const Rule& rule) {
  return request(rule_request(rule, false));
}

Result<void> Netlink::request(const NlMsg& message) {
  int fd = nl_socket_get_fd(requests_.get());
  nlmsghdr& header = header_of(message);
  header.nlmsg_seq = ++sequence_;
  if (send(fd, &header, header.nlmsg_len, 0) < 0) return fail_errno(errno, "send to the kernel");
  for (;;) {
    ssize_t size = receive(fd, dump_buffer_, 0);
    if (size < 0) return fail_errno(errno == EAGAIN ? ETIMEDOUT : errno, "the kernel's answer");
    std::optional<Result<void>> answer;
    for_each_message(dump_buffer_, size, [&](const nlmsghdr& reply) {
      // An answer to an earlier request, one that we gave up waiting for, is passed over.
      if (reply.nlmsg_type != NLMSG_ERROR || reply.nlmsg_seq != sequence_) return;
      int error = -static_cast<nlmsgerr*>(nlmsg_data(&reply))->error;
      if (error == 0)
        answer = Result<void>{};
      else
        answer = fail_errno(error, "refused by the kernel{}", kernel_text(reply));
    });
    if (answer) return *answer;
  }
}

Result<void> Netlink::dump(const NlMsg& message, const std::function<void(const nlmsghdr&)>& each) {
  int fd = nl_socket_get_fd(requests_.get());
  nlmsghdr& header = header_of(message);
  header.nlmsg_seq = ++sequence_;
  ++dumps_;
  if (send(fd, &header, header.nlmsg_len, 0) < 0) return fail_errno(errno, "send to the kernel");
  for (;;) {
    ssize_t size = receive(fd, dump_buffer_, 0);
    if (size < 0) return fail_errno(errno == EAGAIN ? ETIMEDOUT : errno, "the kernel's answer");
    bool finished = false;
    int error = 0;
    for_each_message(dump_buffer_, size, [&](const nlmsghdr& reply) {
      if (reply.nlmsg_seq != sequence_) return;
      if ((reply.nlmsg_flags & NLM_F_DUMP_INTR) != 0) interrupted_ = true;
      if (reply.nlmsg_type == NLMSG_ERROR) {
        error = -static_cast<nlmsgerr*>(nlmsg_data(&reply))->error;
        finished = true;
      } else if (reply.nlmsg_type == NLMSG_DONE) {
        // A dump that failed half-way says so in its last message.
        if (reply.nlmsg_len >= NLMSG_LENGTH(sizeof(int))) error = -*static_cast<int*>(nlmsg_data(&reply));
        finished = true;
      } else {
        each(reply);
      }
    });
    if (finished) return error == 0 ? Result<void>{} : fail_errno(error, "refused by the kernel");
  }
}

}  // namespace dongle
