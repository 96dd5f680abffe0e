#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/net_address.h"
#include "common/uv_handle.h"
#include "supervisor/curl_loop.h"
#include "supervisor/hilink_auth.h"
#include "supervisor/hilink_xml.h"

namespace dongle {

/// Where a modem's API is and who we are there.
struct HilinkTarget {
  std::string device;  ///< the modem's interface: every socket is bound to it
  Endpoint endpoint;   ///< of the configured URL
  std::string username;
  std::string password;  ///< empty: never log in
  bool operator==(const HilinkTarget&) const = default;
};

/// How long things may take. Tests shorten them.
struct HilinkTimes {
  Millis connect{3000};          ///< one connection: the stick is one cable away
  Millis http{5000};             ///< one request
  Millis call{12000};            ///< a call with all its handshakes and retries, from the moment it is queued
  Millis session_idle{60000};    ///< an unused session is logged out and forgotten after that
  Millis login_interval{60000};  ///< at least this between two login attempts
  Millis back_off{1000};         ///< the first wait after "busy", doubled twice
  Millis login_retry{100};       ///< the first wait after state-login was cut off, growing by as much
};

/// A modem's HiLink API. Calls run one after the other, each over one connection at a time, in one session that is
/// kept while it is in use. Handshakes, tokens, logins and retries happen inside, as hilink_errors.def says.
///
/// Each call is answered exactly once, unless the client is destroyed first; the client may be destroyed in the answer.
/// Errors carry the modem's code in their text. Timeout: the modem didn't answer in time · Unreachable, Refused: no
/// connection (Refused also: the modem said no) · Protocol: it spoke nonsense · Permission: it wants a login and there
/// is no password, or the password is wrong, or logins are locked · Unsupported: this firmware can't ·
/// Busy: later · Cancelled: set_target() named another modem · Full: kMaxQueued calls wait already (the only answer
/// that comes before the call returns).
class HilinkClient {
 public:
  template <class T>
  using Done = std::function<void(Result<T>)>;

  static constexpr std::size_t kMaxQueued = 32;

  struct Counters {
    std::uint64_t requests = 0;            ///< HTTP requests sent
    std::uint64_t login_attempts = 0;      ///< passwords sent
    std::uint64_t transport_failures = 0;  ///< requests without an answer that makes sense
    std::uint64_t refused_full = 0;        ///< calls that found the queue full
    std::map<int, std::uint64_t> errors;   ///< by the modem's code; beyond 64 different ones under 0
  };

  /// loop and curl outlive the client.
  HilinkClient(UvLoop& loop, CurlLoop& curl, HilinkTarget target, HilinkTimes times = {});
  HilinkClient(const HilinkClient&) = delete;
  HilinkClient& operator=(const HilinkClient&) = delete;

  /// The modem enumerated again, or its settings changed. Anything new drops the session and what was learnt of the
  /// firmware; the call under way ends with Cancelled, waiting ones go to the new target. Lifts the lock after a wrong
  /// password only if the credentials changed.
  void set_target(HilinkTarget target);
  const HilinkTarget& target() const { return target_; }

  void read_status(Done<ModemStatus> done);
  void read_pin(Done<PinStatus> done);
  void read_signal(Done<Signal> done);
  void read_information(Done<DeviceInformation> done);
  void read_traffic(Done<TrafficStatistics> done);
  void read_profiles(Done<Profiles> done);
  void read_plmn(Done<Plmn> done);
  void read_data_switch(Done<bool> done);
  void read_net_mode(Done<NetMode> done);

  void set_data_switch(bool on, Done<void> done);
  /// Busy with code 1120xx: switch data off, then try again. Read the mode first and keep its bands.
  void set_net_mode(const NetMode& mode, Done<void> done);
  /// What old firmwares have instead of the data switch.
  void dial(bool connect, Done<void> done);
  /// Success also if the modem cuts the connection after the request. Whether it reboots is seen on the bus only.
  void reboot(Done<void> done);
  /// Gives the modem its login back before an orderly end; nothing happens if there is none.
  void log_out(Done<void> done);

  const Counters& counters() const { return counters_; }

 private:
  /// Where sessions and tokens come from; firmwares differ. In the order they are tried.
  enum class Handshake { HomePage, TokenEndpoint, SesTokInfo, None };
  struct Session {
    bool is_open = false;
    bool is_logged_in = false;
    std::string cookie;              ///< "SessionID=…" or empty
    std::deque<std::string> tokens;  ///< each good for one POST
    TimePoint last_used{};
  };
  struct Call {
    std::string path;
    std::optional<std::string> body;  ///< present: POST
    Done<XmlElement> done;
    std::optional<Error> invalid = {};  ///< set: never sent, this is the answer
    bool is_reboot = false;
    bool is_log_out = false;
    bool was_sent = false;           ///< the request itself, not only what leads up to it
    bool was_cut_off = false;        ///< what may be asked again is, once, after the connection broke
    bool wants_login_check = false;  ///< see relogin_if_needed()
    int back_offs = 0;
    int last_error = 0;
    std::map<int, int> seen = {};  ///< answers by error code
    std::unique_ptr<Timer> deadline = {};
    std::string key() const { return (body ? "POST " : "GET ") + path; }
  };
  using Next = std::function<void(Result<void>)>;
  using OnReply = std::function<void(Result<HilinkReply>)>;
  using OnResponse = std::function<void(Result<CurlLoop::Response>)>;

  void enqueue(Call call);
  template <class T, class Reader>
  void get(const char* path, Reader reader, Done<T> done);
  void post(std::string path, std::string body, Done<void> done);
  void pump_soon();
  void pump();
  void on_deadline(const Call* call);
  void finish(Result<XmlElement> result);

  void attempt();
  void send_active();
  void on_reply(Result<HilinkReply> reply);
  void on_error_code(int code);
  void encrypt_and_retry(int code);
  void log_in_and_retry(int code);
  void relogin_if_needed();
  void wait_then(Millis delay, std::function<void()> next);

  void open_session(bool is_fresh, Next next);
  void shake_hands(Handshake step, bool is_restart, Next next);
  void on_handshake_failed(Handshake step, bool is_restart, Next next);
  void take_handshake(Handshake step, std::vector<std::string> tokens, const Next& next);

  Result<void> login_allowed() const;
  void log_in(bool is_forced, Next next);
  void ask_login_state(int tries_left, std::function<void(Result<LoginState>)> next);
  void log_in_by_hash(const LoginState& state, const Next& next);
  void log_in_by_challenge(const Next& next);
  void on_login_reply(Result<HilinkReply> reply, const Next& next);

  void api(const std::string& path, std::optional<std::string> body, OnReply next);
  void send_api(const std::string& path, std::optional<std::string> body, const OnReply& next);
  void fetch(const std::string& url_path, std::optional<std::string> body, OnResponse next);
  void take_headers(const CurlLoop::Response& response, bool is_login);

  UvLoop& loop_;
  CurlLoop& curl_;
  HilinkTarget target_;
  HilinkTimes times_;
  Counters counters_;

  Session session_;
  std::optional<Handshake> known_handshake_;
  std::set<std::string> unsupported_;  ///< Call::key(); bounded by the calls there are
  std::string software_version_;       ///< for which unsupported_ holds

  std::set<std::string> encrypted_paths_;  ///< bounded by the calls there are
  std::optional<RsaPublicKey> public_key_;
  std::optional<bool> is_oaep_;

  TimePoint next_login_{};
  std::optional<Error> login_verdict_;  ///< wrong credentials: holds until they change

  std::deque<std::unique_ptr<Call>> queue_;
  std::unique_ptr<Call> active_;
  Timer pump_timer_;
  Timer wait_timer_;
  Timer idle_timer_;
  std::unique_ptr<CurlLoop::Request> request_;
};

}  // namespace dongle
