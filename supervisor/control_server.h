#pragma once
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "common/acceptor.h"
#include "common/json.h"
#include "common/unique_fd.h"
#include "common/uv_handle.h"

namespace dongle {

/// The control socket: JSON lines, one request at a time for each connection.
///
///   → {"verb":"rotate","id":11}
///   ← {"progress":"switching mobile data off"}            any number
///   ← {"ok":true,"result":{…}}   or   {"ok":false,"error":{"code":"cooldown","message":"…"}}
///
/// `watch` answers with {"event":…} lines until the client hangs up.
/// Bounds: 64 connections, 64 KiB a request line, 4 MiB of unread answers; beyond them a client is cut off.
class ControlServer {
 public:
  /// One request under way. The server forgets it when its client hangs up; a reply then goes nowhere. One that goes
  /// out of use without an answer is answered with "cancelled".
  class Call {
   public:
    Call() = default;
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call();
    void progress(const std::string& text);
    /// An unsolicited line, for `watch`.
    void event(const std::string& name, const Json& result);
    void reply(const Json& result);
    void reply_error(const std::string& code, const std::string& message, const Json& more = {});
    bool is_connected() const;

   private:
    friend class ControlServer;
    struct Client;
    void answer(const Json& line);
    std::weak_ptr<Client> client_;
    bool answered_ = false;
  };
  using CallPtr = std::shared_ptr<Call>;
  /// request: an object with a string "verb". The handler answers through the call, now or later.
  using Handler = std::function<void(const Json& request, CallPtr call)>;

  /// Creates PATH with mode 0660, group `dongle` if there is one. Who may connect is the file system's decision.
  static Result<std::unique_ptr<ControlServer>> listen(UvLoop& loop, const std::string& path, Handler handler);
  ~ControlServer();
  std::size_t clients() const { return clients_.size(); }

 private:
  ControlServer(UvLoop& loop, UniqueFd listener, std::string path, Handler handler);
  void welcome(UniqueFd client);
  void on_ready(const std::shared_ptr<Call::Client>& client, int events);
  void take_requests(const std::shared_ptr<Call::Client>& client);
  static void flush(Call::Client& client);

  UvLoop& loop_;
  std::string path_;
  Handler handler_;
  std::list<std::shared_ptr<Call::Client>> clients_;
  Acceptor acceptor_;
};

}  // namespace dongle
