#include "supervisor/firewall_apply.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/log.h"

namespace dongle {
namespace {

constexpr DongleId kWholeHost{};  // the repair policy's key: the table is one for all dongles
constexpr std::size_t kMaxReaders = 16;
constexpr std::size_t kMaxNftOutput = 1 << 20;
constexpr Millis kNftDeadline{20'000};  // a list of 100,000 clients takes it some seconds
constexpr Millis kFirstRetry{250};
constexpr Millis kMaxRetry{30'000};
constexpr int kEventBufferSize = 1 << 20;
constexpr int kNetlinkTableAttribute = 1;  // NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, ...: all are 1

/// What nft did, as an error that says what to do.
Error nft_error(const Result<ChildResult>& result) {
  if (!result) {
    Error error = result.error();
    if (error.code == Errc::NotFound) error.context += " (install the package nftables)";
    return error;
  }
  return {Errc::Refused, 0, "nft: " + result->summary()};
}

}  // namespace

FirewallApply::FirewallApply(UvLoop& loop) : loop_(loop), buffer_(64 * 1024), retry_timer_(loop) {}
FirewallApply::~FirewallApply() = default;

Result<std::unique_ptr<FirewallApply>> FirewallApply::open(UvLoop& loop) {
  std::unique_ptr<FirewallApply> firewall(new FirewallApply(loop));
  if (auto r = firewall->subscribe(); !r) return wrap(std::move(r).error(), "firewall");
  return firewall;
}

Result<void> FirewallApply::subscribe() {
  events_.reset(socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!events_) return fail_errno(errno, "the kernel's netfilter socket");
  int size = kEventBufferSize;
  if (setsockopt(events_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
    setsockopt(events_.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = 1u << (NFNLGRP_NFTABLES - 1);
  if (bind(events_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(errno, "subscribe to nftables' changes (CAP_NET_ADMIN is needed)");
  poll_ = std::make_unique<Poll>(loop_, events_.get(), UV_READABLE, [this](int, int) { read_events(); });
  return {};
}

void FirewallApply::read_events() {
  bool foreign = false;
  for (;;) {
    sockaddr_nl sender{};
    socklen_t length = sizeof sender;
    ssize_t size =
        recvfrom(events_.get(), buffer_.data(), buffer_.size(), 0, reinterpret_cast<sockaddr*>(&sender), &length);
    if (size < 0 && errno == EINTR) continue;
    // What was lost may have been the loss of our table.
    if (size < 0 && errno == ENOBUFS) {
      foreign = true;
      continue;
    }
    if (size < 0) break;
    if (sender.nl_pid != 0) continue;
    int left = static_cast<int>(size);
    for (auto* h = reinterpret_cast<nlmsghdr*>(buffer_.data()); nlmsg_ok(h, left); h = nlmsg_next(h, &left))
      foreign = note_event(*h) || foreign;
  }
  if (foreign) on_foreign_change();
}

bool FirewallApply::note_event(const nlmsghdr& message) {
  int type = message.nlmsg_type & 0xff;
  if (message.nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || message.nlmsg_len < NLMSG_LENGTH(sizeof(nfgenmsg)))
    return false;
  auto* header = static_cast<nfgenmsg*>(nlmsg_data(&message));
  auto* attributes = reinterpret_cast<nlattr*>(header + 1);
  int size = static_cast<int>(message.nlmsg_len - NLMSG_LENGTH(sizeof(nfgenmsg)));
  auto is_own = [this](std::uint32_t pid) { return pid != 0 && std::ranges::find(own_pids_, pid) != own_pids_.end(); };

  if (type == NFT_MSG_NEWGEN) {
    // The end of a transaction. In a container the process's number may be the host's; the port's is always ours.
    const nlattr* pid = nla_find(attributes, size, NFTA_GEN_PROC_PID);
    bool own = is_own(message.nlmsg_pid) || (pid != nullptr && is_own(ntohl(nla_get_u32(pid))));
    return std::exchange(batch_touches_us_, false) && !own;
  }
  // Setting back a counter is announced as a new object; it takes nothing from us.
  if (type == NFT_MSG_NEWOBJ || header->nfgen_family != NFPROTO_INET) return false;
  const nlattr* table = nla_find(attributes, size, kNetlinkTableAttribute);
  if (table != nullptr && nla_len(table) > 0) {
    std::string_view name(static_cast<const char*>(nla_data(table)), static_cast<std::size_t>(nla_len(table)) - 1);
    if (name == kFirewallTable) batch_touches_us_ = true;
  }
  return false;
}

void FirewallApply::on_foreign_change() {
  if (wanted_.empty() || removing_) return;
  applied_ = false;
  table_present_ = false;
  totals_.on_replaced();
  switch (policy_.on_repair_needed(kWholeHost, UvLoop::now())) {
    case RepairPolicy::Verdict::Repair: log_event(LogEvent::firewall_repaired, {{"repairs", repairs()}}); break;
    case RepairPolicy::Verdict::BecameContested:
      log_event(LogEvent::firewall_contested, {{"repairs", repairs()}});
      break;
    case RepairPolicy::Verdict::Contested:
      if (auto until = policy_.contested_until(kWholeHost, UvLoop::now()))
        retry_timer_.start(std::chrono::ceil<Millis>(*until - UvLoop::now()), [this] { next(); });
      break;
  }
  next();
}

Result<void> FirewallApply::set_wanted(const FirewallPlan& plan) {
  auto script = firewall_script(plan);
  if (!script) return std::unexpected(std::move(script).error());
  if (*script == wanted_) return {};
  wanted_ = std::move(*script);
  applied_ = false;
  retry_delay_ = Millis{0};
  retry_timer_.stop();
  next();
  return {};
}

void FirewallApply::read_counters(CountersDone done) {
  if (readers_.size() >= kMaxReaders) {
    done(fail(Errc::Full, "firewall: {} readers of the counters wait already", kMaxReaders));
    return;
  }
  readers_.push_back(std::move(done));
  next();
}

void FirewallApply::remove(std::function<void(Result<void>)> done) {
  removing_ = true;
  remove_done_ = std::move(done);
  wanted_.clear();
  retry_timer_.stop();
  next();
}

/// Starts what is most needed, unless a child runs; its end comes back here.
void FirewallApply::next() {
  if (child_) return;
  if (removing_) {
    if (remove_done_) run_remove();
    return;
  }
  bool may_apply = !wanted_.empty() && !applied_ && !retry_timer_.is_active();
  if (may_apply && (!table_present_ || counters_fresh_))
    run_apply();
  else if (may_apply || !readers_.empty())
    run_read();
}

void FirewallApply::run(std::vector<std::string> argv, std::string input,
                        void (FirewallApply::*done)(Result<ChildResult>)) {
  ChildProcess::Command command;
  command.argv = std::move(argv);
  command.input = std::move(input);
  command.deadline = kNftDeadline;
  command.max_output = kMaxNftOutput;
  auto child = ChildProcess::start(loop_, std::move(command), [this, done](ChildResult result) {
    child_.reset();
    (this->*done)(std::move(result));
  });
  if (!child) {
    (this->*done)(std::unexpected(std::move(child).error()));
    return;
  }
  child_ = std::move(*child);
  own_pids_[own_pid_count_++ % own_pids_.size()] = static_cast<std::uint32_t>(child_->pid());
}

void FirewallApply::run_apply() {
  applying_ = wanted_;
  applied_ = true;  // until an event, a new plan or the outcome says otherwise
  counters_fresh_ = false;
  totals_.on_replaced();
  run({"nft", "-f", "-"}, applying_, &FirewallApply::on_applied);
}

void FirewallApply::on_applied(Result<ChildResult> result) {
  if (!result || !result->ok()) {
    fail_apply(nft_error(result));
  } else {
    if (failure_) log_event(LogEvent::firewall_applied, {{"after", failure_->message()}});
    failure_.reset();
    retry_delay_ = Millis{0};
    table_present_ = applied_;  // not if it was flushed meanwhile
  }
  next();
}

void FirewallApply::fail_apply(Error error) {
  applied_ = false;
  if (!failure_ || failure_->context != error.context)
    log_event(LogEvent::firewall_failed, {{"error", error.message()}, {"outcome", "retried"}});
  failure_ = std::move(error);
  retry_delay_ = std::clamp(retry_delay_ * 2, kFirstRetry, kMaxRetry);
  retry_timer_.start(retry_delay_, [this] { next(); });
}

void FirewallApply::run_read() {
  run({"nft", "-j", "list", "counters", "table", "inet", std::string(kFirewallTable)}, {}, &FirewallApply::on_read);
}

void FirewallApply::on_read(Result<ChildResult> result) {
  Result<void> outcome;
  if (!result || !result->ok()) {
    // No table, no news: the totals stand.
    if (table_present_) outcome = std::unexpected(nft_error(result));
  } else if (auto counters = parse_counters(result->out); !counters) {
    outcome = std::unexpected(std::move(counters).error());
  } else if (table_present_) {
    totals_.update(*counters);
  }
  counters_fresh_ = true;  // or they can't be had: no reason to put off the rules
  auto readers = std::exchange(readers_, {});
  for (auto& reader : readers) reader(outcome ? Result<Counters>(totals_.totals()) : std::unexpected(outcome.error()));
  next();
  counters_fresh_ = false;
}

void FirewallApply::run_remove() {
  run({"nft", "-f", "-"}, firewall_removal_script(), &FirewallApply::on_removed);
}

void FirewallApply::on_removed(Result<ChildResult> result) {
  table_present_ = applied_ = false;
  auto done = std::exchange(remove_done_, nullptr);
  if (!result || !result->ok()) {
    done(std::unexpected(nft_error(result)));
  } else {
    done({});
  }
}

}  // namespace dongle
