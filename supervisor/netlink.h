#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "common/error.h"
#include "common/uv_handle.h"
#include "supervisor/netlink_message.h"

struct nl_sock;

namespace dongle {

/// The kernel's links, addresses, routes and rules: a picture of them that is kept current by events, and changes to
/// them. An event only says that the picture is stale; what is in it always comes from a dump, so a lost or reordered
/// event can't make it wrong. Changes are answered by the kernel before the call returns (microseconds).
class Netlink {
 public:
  /// our_protocol: routes of this protocol are kept in state() whatever their table. The loop outlives the object.
  static Result<std::unique_ptr<Netlink>> open(UvLoop& loop, std::uint8_t our_protocol);
  ~Netlink();

  const NetState& state() const { return state_; }
  /// Called from the loop after state() has changed, once for a burst of events. One listener.
  void on_change(std::function<void()> callback) { callback_ = std::move(callback); }

  // Errors name the request; sys is the kernel's errno: EEXIST, ESRCH, ENODEV, ENETDOWN, EPERM, ... state() follows
  // with the next refresh() or turn of the loop.
  Result<void> set_link_up(IfIndex index);
  Result<void> add_address(const LocalAddress& address);
  Result<void> remove_address(const LocalAddress& address);
  Result<void> add_route(const Route& route);
  Result<void> remove_route(const Route& route);
  Result<void> add_rule(const Rule& rule);
  Result<void> remove_rule(const Rule& rule);

  /// Dumps everything anew, now. on_change follows on the loop if something differs.
  Result<void> refresh();

  /// Times the kernel dropped events because we were slow; each led to a full dump.
  std::uint64_t overruns() const { return overruns_; }
  std::uint64_t dumps() const { return dumps_; }

 private:
  /// What an event has made stale.
  struct Stale {
    bool links = false, addresses = false, routes = false, rules = false;
    bool any() const { return links || addresses || routes || rules; }
  };
  Netlink(UvLoop& loop, std::uint8_t our_protocol);
  Result<void> connect();
  void read_events();
  void note_event(const nlmsghdr& message);
  void refresh_soon();
  void refresh_and_tell();
  Result<void> read_stale();
  Result<NetState> read(const Stale& stale);
  Result<void> request(const NlMsg& message);
  Result<void> dump(const NlMsg& message, const std::function<void(const nlmsghdr&)>& each);

  struct SocketDeleter {
    void operator()(nl_sock* socket) const;
  };
  using Socket = std::unique_ptr<nl_sock, SocketDeleter>;

  UvLoop& loop_;
  std::uint8_t our_protocol_;
  Socket events_;
  Socket requests_;
  std::unique_ptr<Poll> poll_;  // dies before the socket it watches
  Timer refresh_timer_;
  TimePoint refreshed_at_{};
  std::vector<char> event_buffer_;
  std::vector<char> dump_buffer_;
  std::uint32_t sequence_ = 0;
  NetState state_;
  Stale stale_;
  bool interrupted_ = false;  // a dump ran into a change
  bool changed_ = false;      // state_ differs from what the listener has seen
  std::uint64_t overruns_ = 0;
  std::uint64_t dumps_ = 0;
  std::function<void()> callback_;
};

}  // namespace dongle
