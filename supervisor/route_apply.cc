#include "supervisor/route_apply.h"

#include <algorithm>
#include <cerrno>
#include <set>

#include "common/log.h"

namespace dongle {
namespace {

/// Removing an IPv4 address takes the other addresses of its subnet along (promote_secondaries is off by default), and
/// those take their routes along. So what was carried out is checked, and mended again.
constexpr int kPasses = 3;
/// Short enough for a repair within half a second: `ip addr flush` removes again what was put back while it runs.
constexpr Millis kRetryInterval{250};

/// The kernel's "it is so already".
bool is_done_already(const RouteOp& op, const Error& error) {
  if (op.kind == RouteOp::Kind::Add) return error.sys == EEXIST;
  return error.sys == ENOENT || error.sys == ESRCH || error.sys == EADDRNOTAVAIL || error.sys == ENODEV;
}

}  // namespace

RouteApply::RouteApply(UvLoop& loop, Netlink& netlink) : netlink_(netlink), retry_timer_(loop) {}

void RouteApply::set_wanted(RoutePlan wanted) {
  if (withdrawn_) return;  // a change of the picture that our own removal caused
  wanted_ = std::move(wanted);
  std::erase_if(looks_, [this](const auto& entry) { return wanted_.find(entry.first) == nullptr; });
  reconcile();
}

void RouteApply::withdraw() {
  withdrawn_ = true;
  wanted_ = {};
  looks_.clear();
  reconcile();
}

void RouteApply::reconcile() {
  auto failures_before = std::exchange(failures_, {});
  for (int pass = 0; pass < kPasses; ++pass) {
    failures_.clear();  // what failed may have relied on what somebody has removed meanwhile
    if (!mend()) break;
  }
  take_look();
  std::optional<Millis> retry;
  for (const auto& [id, error] : failures_) {
    retry = kRetryInterval;
    auto before = failures_before.find(id);
    if (before == failures_before.end() || before->second.context != error.context)
      log_event(LogEvent::route_failed, {{"dongle", id}, {"error", error.message()}, {"outcome", "retried"}});
  }
  for (const DonglePlan& plan : wanted_.dongles)
    if (auto until = contested_until(plan.id)) {
      auto wait = std::chrono::ceil<Millis>(*until - UvLoop::now());
      retry = std::min(retry.value_or(wait), wait);
    }
  if (retry)
    retry_timer_.start(*retry, [this] { reconcile(); });
  else
    retry_timer_.stop();
}

/// One pass. Returns whether it changed anything, so that the result needs a look.
bool RouteApply::mend() {
  std::vector<RouteOp> ops = diff(wanted_, netlink_.state());
  std::map<DongleId, bool> allowed;  // decided, and counted, once for each dongle
  bool changed = false;
  for (const RouteOp& op : ops) {
    if (failures_.contains(op.id)) continue;  // each step relies on those before it
    auto [decision, is_new] = allowed.try_emplace(op.id, true);
    if (is_new && op.kind == RouteOp::Kind::Add) decision->second = may_mend(op.id);
    if (!decision->second) continue;
    if (auto r = carry_out(op); r) {
      changed = true;
    } else if (!is_done_already(op, r.error())) {
      failures_.emplace(op.id, wrap(std::move(r).error(), "{}", to_string(op, netlink_.state())).error());
    }
  }
  if (!changed) return false;
  if (auto r = netlink_.refresh(); !r) {
    log_event(LogEvent::netlink_dump_failed, {{"error", r.error().message()}, {"outcome", "retried"}});
    return false;
  }
  return true;
}

bool RouteApply::may_mend(DongleId id) {
  const DonglePlan* plan = wanted_.find(id);
  auto look = looks_.find(id);
  // A new plan or a changed link is our own affair, contested or not.
  if (plan == nullptr || look == looks_.end() || look->second.plan != *plan || look->second.link != link_of(*plan))
    return true;
  if (!look->second.complete) return !contested_until(id);
  look->second.complete = false;  // a second pass belongs to the same repair
  switch (policy_.on_repair_needed(id, UvLoop::now())) {
    case RepairPolicy::Verdict::Repair:
      log_event(LogEvent::route_repaired, {{"dongle", id}, {"repairs", policy_.repairs(id)}});
      return true;
    case RepairPolicy::Verdict::BecameContested:
      log_event(LogEvent::route_contested, {{"dongle", id}, {"repairs", policy_.repairs(id)}});
      return true;
    case RepairPolicy::Verdict::Contested: return false;
  }
  return false;
}

void RouteApply::take_look() {
  std::set<DongleId> incomplete;
  for (const RouteOp& op : diff(wanted_, netlink_.state())) incomplete.insert(op.id);
  for (const DonglePlan& plan : wanted_.dongles)
    looks_.insert_or_assign(plan.id, Look{plan, link_of(plan), !incomplete.contains(plan.id)});
}

std::optional<Link> RouteApply::link_of(const DonglePlan& plan) const {
  const Link* link = netlink_.state().find_link(plan.ifindex);
  return link == nullptr ? std::nullopt : std::optional(*link);
}

bool RouteApply::is_settled(DongleId id) const {
  auto look = looks_.find(id);
  return look != looks_.end() && look->second.complete;
}

std::optional<Error> RouteApply::failure(DongleId id) const {
  auto it = failures_.find(id);
  return it == failures_.end() ? std::nullopt : std::optional(it->second);
}

Result<void> RouteApply::carry_out(const RouteOp& op) {
  bool add = op.kind == RouteOp::Kind::Add;
  if (auto* rule = std::get_if<Rule>(&op.object)) return add ? netlink_.add_rule(*rule) : netlink_.remove_rule(*rule);
  if (auto* route = std::get_if<Route>(&op.object))
    return add ? netlink_.add_route(*route) : netlink_.remove_route(*route);
  if (auto* address = std::get_if<LocalAddress>(&op.object))
    return add ? netlink_.add_address(*address) : netlink_.remove_address(*address);
  return netlink_.set_link_up(std::get<LinkUp>(op.object).index);
}

}  // namespace dongle
