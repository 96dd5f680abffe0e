#include "worker/resolver.h"

#include <ares.h>
#include <ares_nameser.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "common/uv_handle.h"

namespace dongle {
namespace {

// With one server this asks three times within the deadline: at 0, 0.7 and 2.1 s (each wait is twice the one before).
constexpr int kTryTimeoutMs = 700;
constexpr int kTries = 3;
// How long a name's IPv4 addresses wait for its IPv6 ones.
constexpr Millis kOtherFamilyGrace{300};
constexpr std::size_t kMaxAddresses = 32;

struct Lookup {
  explicit Lookup(UvLoop& loop, std::string n) : name(std::move(n)), deadline(loop) {}
  std::string name;
  std::vector<Resolver::Ticket*> waiters;
  int queries = 0;  // not answered yet
  bool settled = false;
  std::vector<Address> v4, v6;
  int ttl = static_cast<int>(DnsCache::kMaxTtl.count());
  bool name_exists = true;
  int failure = ARES_SUCCESS;  // the last status other than "no such name" and "no such record"
  Result<std::vector<Address>> result;
  Timer deadline;
};

}  // namespace

struct Resolver::Impl {
  UvLoop& loop;
  Egress egress;
  std::vector<Address> servers;
  ares_channel channel = nullptr;
  bool outdated = false;  // the channel lacks servers that came later
  std::map<ares_socket_t, std::unique_ptr<Poll>> polls;
  Timer retransmit;
  Timer deliver;
  DnsCache cache;
  std::map<std::string, std::shared_ptr<Lookup>> in_flight;
  std::vector<std::shared_ptr<Lookup>> finished;  // to be told
  std::size_t queries = 0;                        // that c-ares still works on, settled or not
  std::uint64_t refused_full = 0;
  bool bind_failed = false;

  struct Query {
    Impl* impl;
    std::shared_ptr<Lookup> lookup;
    bool is_v6;
  };

  explicit Impl(UvLoop& l) : loop(l), retransmit(l), deliver(l) {}
  ~Impl() { close_channel(); }

  bool open_channel() {
    if (channel && outdated && queries == 0) close_channel();
    if (channel) return true;
    outdated = false;
    // Every field that c-ares would else read from resolv.conf or the environment is given here.
    ares_options options{};
    char lookups[] = "b";
    options.lookups = lookups;
    options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
    options.timeout = kTryTimeoutMs;
    options.tries = kTries;
    options.ndots = 1;
    options.sock_state_cb = [](void* data, ares_socket_t fd, int readable, int writable) {
      static_cast<Impl*>(data)->watch(fd, readable != 0, writable != 0);
    };
    options.sock_state_cb_data = this;
    int mask = ARES_OPT_LOOKUPS | ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
               ARES_OPT_DOMAINS | ARES_OPT_SORTLIST | ARES_OPT_SERVERS | ARES_OPT_SOCK_STATE_CB | ARES_OPT_NOROTATE;
    if (ares_init_options(&channel, &options, mask) != ARES_SUCCESS) {
      channel = nullptr;
      return false;
    }
    ares_set_socket_configure_callback(
        channel, [](ares_socket_t fd, int, void* data) { return static_cast<Impl*>(data)->configure(fd); }, this);
    std::vector<ares_addr_node> nodes;
    for (const auto& server : servers) {
      if (!egress.source_for(server.family())) continue;
      auto& node = nodes.emplace_back();
      node.family = server.family();
      std::memcpy(&node.addr, server.bytes().data(), server.bytes().size());
    }
    for (std::size_t i = 0; i + 1 < nodes.size(); ++i) nodes[i].next = &nodes[i + 1];
    if (nodes.empty() || ares_set_servers(channel, nodes.data()) != ARES_SUCCESS) {
      close_channel();
      return false;
    }
    return true;
  }

  void close_channel() {
    if (channel) ares_destroy(channel);  // calls back for every query that is open
    channel = nullptr;
    polls.clear();
    retransmit.stop();
  }

  // The way out is checked on every socket; an error here makes c-ares drop the socket unused.
  int configure(ares_socket_t fd) {
    auto bound = bind_egress(fd, egress);
    if (!bound) bind_failed = true;
    return bound ? 0 : -1;
  }

  void watch(ares_socket_t fd, bool readable, bool writable) {
    int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
    if (events == 0) {
      polls.erase(fd);
      return;
    }
    auto& poll = polls[fd];
    if (poll) return poll->set_events(events);
    poll = std::make_unique<Poll>(loop, fd, events, [this, fd](int status, int ready) {
      bool failed = status < 0;
      ares_process_fd(channel, failed || (ready & UV_READABLE) ? fd : ARES_SOCKET_BAD,
                      failed || (ready & UV_WRITABLE) ? fd : ARES_SOCKET_BAD);
      schedule_retransmit();
    });
  }

  void schedule_retransmit() {
    timeval tv{};
    if (!channel || !ares_timeout(channel, nullptr, &tv)) return retransmit.stop();
    Millis delay{tv.tv_sec * 1000 + tv.tv_usec / 1000 + 1};
    retransmit.start(delay, [this] {
      ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
      schedule_retransmit();
    });
  }

  void ask(const std::shared_ptr<Lookup>& lookup, bool is_v6) {
    ++lookup->queries;
    ++queries;
    ares_query(channel, lookup->name.c_str(), ns_c_in, is_v6 ? ns_t_aaaa : ns_t_a, on_answer,
               new Query{this, lookup, is_v6});
  }

  static void on_answer(void* arg, int status, int, unsigned char* bytes, int length) {
    std::unique_ptr<Query> query(static_cast<Query*>(arg));
    auto& lookup = *query->lookup;
    --lookup.queries;
    --query->impl->queries;
    if (status == ARES_SUCCESS) status = query->is_v6 ? read_v6(lookup, bytes, length) : read_v4(lookup, bytes, length);
    if (status == ARES_ENOTFOUND) lookup.name_exists = false;
    if (status != ARES_SUCCESS && status != ARES_ENOTFOUND && status != ARES_ENODATA) lookup.failure = status;
    if (lookup.settled) return;
    if (lookup.queries == 0 || !lookup.name_exists) return query->impl->settle(query->lookup);
    if (!lookup.v4.empty())
      lookup.deadline.start(kOtherFamilyGrace,
                            [impl = query->impl, kept = query->lookup.get()] { impl->expire(*kept); });
  }

  static int read_v4(Lookup& lookup, const unsigned char* bytes, int length) {
    std::array<ares_addrttl, kMaxAddresses> found{};
    int count = static_cast<int>(found.size());
    int status = ares_parse_a_reply(bytes, length, nullptr, found.data(), &count);
    if (status != ARES_SUCCESS) return status;
    for (const auto& item : std::span(found).first(static_cast<std::size_t>(count))) {
      lookup.v4.push_back(Address::v4(ntohl(item.ipaddr.s_addr)));
      lookup.ttl = std::min(lookup.ttl, item.ttl);
    }
    return count > 0 ? ARES_SUCCESS : ARES_ENODATA;
  }

  static int read_v6(Lookup& lookup, const unsigned char* bytes, int length) {
    std::array<ares_addr6ttl, kMaxAddresses> found{};
    int count = static_cast<int>(found.size());
    int status = ares_parse_aaaa_reply(bytes, length, nullptr, found.data(), &count);
    if (status != ARES_SUCCESS) return status;
    for (const auto& item : std::span(found).first(static_cast<std::size_t>(count))) {
      lookup.v6.push_back(Address::v6(std::span<const std::uint8_t, 16>(item.ip6addr._S6_un._S6_u8, 16)));
      lookup.ttl = std::min(lookup.ttl, item.ttl);
    }
    return count > 0 ? ARES_SUCCESS : ARES_ENODATA;
  }

  void expire(Lookup& lookup) {
    if (auto it = in_flight.find(lookup.name); it != in_flight.end() && it->second.get() == &lookup) {
      auto kept = it->second;
      if (kept->queries > 0) kept->failure = ARES_ETIMEOUT;
      settle(kept);
    }
  }

  void settle(std::shared_ptr<Lookup> lookup) {
    lookup->settled = true;
    lookup->deadline.stop();
    lookup->result = verdict(*lookup);
    if (auto it = in_flight.find(lookup->name); it != in_flight.end() && it->second == lookup) in_flight.erase(it);
    // Failures of the servers aren't kept: they say nothing of the name, and the next question may go well.
    if (lookup->result)
      cache.put(lookup->name, *lookup->result, Seconds{lookup->ttl}, UvLoop::now());
    else if (lookup->result.error().code == Errc::NotFound)
      cache.put(lookup->name, {}, DnsCache::kNegativeTtl, UvLoop::now());
    // Later: c-ares may be calling us from within lookup().
    finished.push_back(std::move(lookup));
    deliver.start(Millis{0}, [this] { deliver_finished(); });
  }

  Result<std::vector<Address>> verdict(const Lookup& lookup) const {
    if (lookup.failure == ARES_EDESTRUCTION) return fail(Errc::Cancelled, "{}: the way out changed", lookup.name);
    std::vector<Address> all = lookup.v4;
    all.insert(all.end(), lookup.v6.begin(), lookup.v6.end());
    if (!all.empty()) return all;
    if (lookup.failure == ARES_SUCCESS) return fail(Errc::NotFound, "{}: no such name", lookup.name);
    if (lookup.failure == ARES_ETIMEOUT) return fail(Errc::Timeout, "{}: the name servers don't answer", lookup.name);
    if (bind_failed) return fail(Errc::Unreachable, "{}: no device to ask through", lookup.name);
    return fail(Errc::Io, "{}: {}", lookup.name, ares_strerror(lookup.failure));
  }

  void deliver_finished() {
    auto batch = std::move(finished);
    finished.clear();
    for (auto& lookup : batch) {
      while (!lookup->waiters.empty()) {
        auto* ticket = lookup->waiters.back();
        lookup->waiters.pop_back();
        auto done = std::move(ticket->done_);
        done(lookup->result);
      }
    }
  }
};

Resolver::Ticket::~Ticket() {
  if (auto lookup = std::static_pointer_cast<Lookup>(lookup_.lock())) std::erase(lookup->waiters, this);
}

Resolver::Resolver(UvLoop& loop) : impl_(std::make_unique<Impl>(loop)) {}
Resolver::~Resolver() = default;

void Resolver::set_egress(const Egress& egress, const std::vector<Address>& servers) {
  if (egress == impl_->egress && servers == impl_->servers) return;
  bool only_more = egress == impl_->egress && std::ranges::all_of(impl_->servers, [&](const Address& known) {
                     return std::ranges::find(servers, known) != servers.end();
                   });
  if (!only_more) {
    impl_->close_channel();
    impl_->cache.clear();
  }
  impl_->outdated = only_more;
  impl_->egress = egress;
  impl_->servers = servers;
}

void Resolver::flush() {
  impl_->close_channel();
  impl_->cache.clear();
}

const std::vector<Address>* Resolver::find(const std::string& name) {
  return impl_->cache.find(name, UvLoop::now());
}

Result<std::unique_ptr<Resolver::Ticket>> Resolver::lookup(const std::string& name, Done done) {
  auto& impl = *impl_;
  if (!impl.egress.is_usable()) return fail(Errc::Unreachable, "{}: no device to ask through", name);
  auto& lookup = impl.in_flight[name];
  bool is_new = !lookup;
  if (is_new) {
    if (impl.queries >= 2 * kMaxInFlight || impl.in_flight.size() > kMaxInFlight || !impl.open_channel()) {
      bool is_full = impl.channel != nullptr;
      impl.in_flight.erase(name);
      if (!is_full) return fail(Errc::Io, "{}: no name servers", name);
      ++impl.refused_full;
      return fail(Errc::Full, "{}: too many lookups under way", name);
    }
    lookup = std::make_shared<Lookup>(impl.loop, name);
  }
  auto ticket = std::make_unique<Ticket>();
  ticket->done_ = std::move(done);
  ticket->lookup_ = lookup;
  lookup->waiters.push_back(ticket.get());
  if (is_new) {
    auto kept = lookup;  // settling removes it from the table
    impl.bind_failed = false;
    kept->deadline.start(kDeadline, [&impl, raw = kept.get()] { impl.expire(*raw); });
    if (impl.egress.source_v6) kept->queries = 1;  // holds the verdict back until both questions are on their way
    if (impl.egress.source_v4) impl.ask(kept, false);
    if (impl.egress.source_v6) {
      --kept->queries;
      impl.ask(kept, true);
    }
    impl.schedule_retransmit();
  }
  return ticket;
}

std::uint64_t Resolver::cache_evicted() const {
  return impl_->cache.evicted();
}
std::uint64_t Resolver::refused_full() const {
  return impl_->refused_full;
}

}  // namespace dongle
