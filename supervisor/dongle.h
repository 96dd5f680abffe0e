#pragma once
// One dongle: its worker, its health, its ladder, its modem. Wires the pure parts (health, diagnosis, ladder, rotation
// policy) to the edges (prober, HiLink client, worker); what it does it does because one of those said so.
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/config.h"
#include "common/json.h"
#include "common/rate_ring.h"
#include "supervisor/dongle_network.h"
#include "supervisor/flap_damper.h"
#include "supervisor/health.h"
#include "supervisor/hilink_client.h"
#include "supervisor/incident_log.h"
#include "supervisor/intent_log.h"
#include "supervisor/ladder.h"
#include "supervisor/modem_actions.h"
#include "supervisor/prober.h"
#include "supervisor/rack.h"
#include "supervisor/rotation.h"
#include "supervisor/worker_unit.h"

namespace dongle {

/// As the contract names them.
enum class DongleState { Absent, Starting, Online, Degraded, Recovering, Rotating, NoService, Failed, Stopped };
const char* to_string(DongleState state);

/// Where the dongle's modem API is: as configured, else at its gateway. Nothing without either.
std::optional<Endpoint> modem_endpoint(const DongleConfig& config, const std::optional<Address>& gateway);

/// A refusal or failure of an operator's request, with the code that the control socket and the API show.
struct RequestError {
  std::string code;  ///< "busy", "cooldown", "disabled", "refused", "unsupported", "no_egress", "failed", …
  std::string message;
  std::optional<Seconds> retry_after;
};

/// What all dongles share; outlives them.
struct DongleServices {
  UvLoop& loop;
  CurlLoop& curl;
  WorkerLauncher& launcher;
  IncidentLog& incidents;
  IntentLog& intents;
  Rack& rack;
  std::string log_dir;
  std::function<int()> rotations_running;
  std::function<void(DongleId)> on_changed;  ///< something that status shows has changed
  std::function<Result<void>(DongleId)> reset_routes;
};

class Dongle final : private RackMember {
 public:
  Dongle(DongleServices services, const Config& config, const DongleConfig& dongle);
  ~Dongle();

  /// Takes over new settings; the worker and its connections stay.
  void configure(const Config& config, const DongleConfig& dongle);
  /// The routing found or made something new.
  void set_network(const DongleNetwork& network);
  /// Addresses that no client may reach: all modems' own.
  void set_denied_destinations(std::vector<Address> addresses);
  void attach_worker(WorkerLink::Registration registration) { worker_.attach(std::move(registration)); }

  void start();
  /// Port closed, worker ended, ladder off; done when the worker is gone.
  void stop(std::function<void()> done);
  /// A fresh worker; done when it serves (or after 10 s with what keeps it from doing so).
  void restart(std::function<void(std::optional<RequestError>)> done);
  /// done when the worker serves, or at once if it does.
  void when_serving(std::function<void(std::optional<RequestError>)> done);
  /// For good: the port closes, what is half done on the modem is undone; done when the worker is gone. The dongle does
  /// nothing more and may be destroyed then, though not inside done.
  void shut_down(std::function<void()> done);

  using Progress = std::function<void(const std::string&)>;
  std::optional<RequestError> rotate(Progress progress, std::function<void(const Rotation::Report&)> done);
  struct RecoverReport {
    std::string outcome;  ///< "recovered", "failed", "no_service"
    Json steps;
    std::string diagnosis;
  };
  std::optional<RequestError> recover(std::optional<Stage> from, Progress progress,
                                      std::function<void(const RecoverReport&)> done);
  /// What recover() would do, without doing it; asks the modem.
  void plan_recovery(std::optional<Stage> from, std::function<void(const RecoverReport&)> done);

  DongleId id() const { return config_.id; }
  const DongleConfig& config() const { return config_; }
  DongleState state() const { return state_; }
  bool is_rotating() const { return rotation_ != nullptr; }
  /// Where its stick is plugged in, as configured or as found; empty: not known.
  const std::string& usb_path() const { return config_.usb_path.empty() ? found_usb_path_ : config_.usb_path; }
  Json status() const;
  Json why() const;
  Json traffic() const;
  void reset_traffic();
  /// Asks the modem; done with everything known, whether it answers or not.
  void info(std::function<void(Json)> done);
  void apn(std::function<void(Result<Json>)> done);

 private:
  // What the rack asks and tells.
  DongleStanding standing() const override;
  std::uint64_t connections() const override { return worker_.totals().connections; }
  void on_usb_change() override;
  void look_again() override;
  void on_power_cut(Action action, const std::string& reason) override;
  void on_power_back(bool ok, const std::string& detail) override;

  // What comes in.
  void on_worker_ready();
  void on_dial(const DialResult& result);
  void on_probe(const Result<void>& outcome);
  void on_evidence(bool success);

  // What follows from it.
  void schedule_probe();
  void run_probe();
  void follow(const Decision& decision);
  Evidence evidence_at_hand() const;
  void gather_evidence(std::function<void(const Evidence&)> done);
  void diagnose_by(const Evidence& seen);
  void ask_modem(std::function<void(const ModemView&)> done);
  void act(Action action);
  void on_action_done(const Result<std::string>& outcome);
  void give_up_action();
  void give_up_rotation(const std::string& why);
  void start_ladder();
  bool has_network_card() const;
  void judge_absence();
  void open_incident(const std::string& seen, Fault fault, const std::string& evidence);
  void ask_identity();
  void note_verdict();
  void schedule_ladder();
  void note_steps();
  void end_incident(const std::string& outcome);
  void settle_suspicion();
  void learn_public_ip();
  void forget_public_ip();
  void note_state();
  void update_worker();
  void sample_traffic();
  void finish_recovery(const std::string& outcome);
  void abandon();
  bool must_undo() const;
  DongleState judge_state();
  std::string reason() const;
  Setup worker_setup() const;
  Obstacles obstacles() const;
  Condition condition() const;
  bool has_api() const { return config_.modem.type == ModemType::HiLink; }
  bool may_probe() const;
  Millis patience_with_network() const;
  std::optional<Millis> patience_with_bus() const;
  bool is_coming_up() const;
  bool can_probe() const { return network_.usable() && worker_.is_ready(); }
  Json steps_json(const std::vector<StepRecord>& steps) const;

  DongleServices services_;
  DongleConfig config_;
  ProxyConfig proxy_;
  ProbeConfig probe_config_;
  RotationConfig rotation_config_;

  DongleNetwork network_;
  std::vector<Address> denied_;
  std::vector<Address> modem_dns_;
  WorkerUnit worker_;
  Health health_;
  FlapDamper damper_;
  Ladder ladder_;
  Prober prober_;
  std::unique_ptr<HilinkClient> client_;
  std::unique_ptr<ModemActions> actions_;
  std::unique_ptr<Rotation> rotation_;
  std::function<void(const Rotation::Report&)> rotation_done_;  ///< while there is a rotation
  std::optional<TimePoint> rotation_ended_;

  std::string found_usb_path_;  ///< of the last device, where none is configured
  UsbSight sight_;
  std::string carrier_;             ///< as the modem last named it; empty: not known
  Fault fault_ = Fault::None;       ///< as the last diagnosis of this outage found
  std::optional<Action> acting_;    ///< the action under way, of this dongle's own ladder
  int power_cycles_ = 0;            ///< since traffic last flowed
  bool power_cut_ = false;          ///< on somebody else's behalf
  bool worked_before_ = false;      ///< traffic has passed since the start
  bool device_was_usable_ = false;  ///< since it appeared

  bool stopped_ = false;
  bool shutting_down_ = false;
  DongleState state_ = DongleState::Starting;
  WallTime since_;
  std::optional<Address> public_ip_;
  TimePoint public_ip_due_{};  ///< when to ask for it (again)
  std::optional<ModemView> modem_view_;
  TimePoint modem_view_at_{};
  std::vector<std::function<void(const ModemView&)>> waiting_for_view_;
  std::vector<std::function<void()>> waiting_for_evidence_;
  bool asking_about_suspicion_ = false;
  std::optional<TimePoint> failing_since_;  ///< by the health
  std::optional<TimePoint> unable_since_;   ///< to probe, for want of a network or a worker
  std::optional<TimePoint> absent_since_;   ///< by judge_absence()
  bool worker_missing_ = false;             ///< for longer than a probe may take
  TimePoint incident_began_{};

  Timer probe_timer_;
  Timer ladder_timer_;
  Timer sample_timer_;
  Timer serving_timer_;
  Timer action_timer_;
  Timer evidence_timer_;
  Timer absence_timer_;
  Timer damper_timer_;
  std::vector<std::function<void(std::optional<RequestError>)>> waiting_for_service_;
  std::function<void(const RecoverReport&)> recovery_done_;
  Progress recovery_progress_;
  RateRing rx_rate_, tx_rate_;
  std::uint64_t rx_base_ = 0, tx_base_ = 0;  ///< subtracted after a reset of the counters
  WallTime traffic_since_;
};

}  // namespace dongle
