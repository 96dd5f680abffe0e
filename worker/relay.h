#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "worker/http_proxy.h"
#include "worker/poller.h"
#include "worker/session_close.h"

namespace dongle {

/// Moves the bytes of one connection both ways, exactly and in order. A side that doesn't take them stops the reading
/// of the other; a side's end (FIN) is passed on behind what it sent before. Owns no buffer while nothing waits.
class Relay : Poller::Sink {
 public:
  /// Read at once; what the other side doesn't take of it is all that is ever kept, for each direction.
  static constexpr std::size_t kReadSize = 128 * 1024;
  /// Moved in one turn before others have theirs.
  static constexpr std::size_t kTurn = 256 * 1024;

  struct Start {
    std::unique_ptr<PolledSocket> client, server;
    std::uint32_t client_events = 0, server_events = 0;  ///< epoll events of theirs that were not acted on
    std::string to_client;                               ///< our own answer, sent first and not counted
    std::string to_server;                               ///< what the client sent already
    std::optional<http::BodyFramer> body;                ///< set: only these bytes of the client's go to the server
  };
  /// The connection is over: client_eof and server_eof say who closed first. Destroys the Relay.
  using Finished = std::function<void(CloseReason)>;

  /// buffer: kReadSize bytes shared by all relays of the loop. counters: where bytes are counted, null: nowhere.
  Relay(UvLoop& loop, Poller& poller, std::span<char> buffer, Counters* counters, Start start, Finished finished);
  /// Sends what waits and moves what is there. Once, right after construction; may call `finished`.
  void run() { advance(); }

  /// One side has closed, the other not yet.
  bool is_half_open() const { return up_.eof != down_.eof; }
  /// Loop time of the last byte moved.
  std::uint64_t last_activity_ms() const { return last_activity_ms_; }
  std::uint64_t rx_bytes() const { return down_.moved; }
  std::uint64_t tx_bytes() const { return up_.moved; }
  /// Both sides get RST when the Relay goes.
  void reset_both();

 private:
  struct Direction {
    std::string pending;  // what `to` didn't take yet, from `sent` on
    std::size_t sent = 0;
    std::size_t uncounted = 0;
    std::uint64_t moved = 0;
    bool readable = false;
    bool hangup = false;  // an end or error waits behind the data: read until it shows
    bool writable = true;
    bool eof = false;
    bool fin_sent = false;
    bool broken = false;  // `to` takes no more
  };
  enum class Pumped : std::uint8_t { Ok, ReadFailed, WriteFailed };

  void on_ready(PolledSocket& socket, std::uint32_t events) override;
  static void note_events(std::uint32_t events, Direction& reads, Direction& writes);
  void advance();
  Pumped pump(Direction& d, PolledSocket& from, PolledSocket& to, http::BodyFramer* body);
  bool write(Direction& d, PolledSocket& to, std::string_view bytes, std::size_t& taken);
  void finish(CloseReason reason);

  UvLoop& loop_;
  Poller& poller_;
  std::span<char> buffer_;
  Counters* counters_;
  std::unique_ptr<PolledSocket> client_, server_;
  Direction up_, down_;  // client -> server, server -> client
  std::optional<http::BodyFramer> body_;
  int error_ = 0;  // errno of what failed last
  bool client_ended_first_ = false;
  std::uint64_t last_activity_ms_;
  Finished finished_;
};

}  // namespace dongle
