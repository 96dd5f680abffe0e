#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/config.h"
#include "supervisor/control_server.h"
#include "supervisor/dongle.h"
#include "supervisor/rack.h"
#include "supervisor/routing.h"
#include "supervisor/worker_link.h"

namespace dongle {

/// Where the programs that the supervisor starts are.
struct ProgramPaths {
  std::string worker;
  std::string dhcp_report;
  std::string usb_helper;
};

/// All dongles of one configuration: start-up, reload, the control socket's verbs, and the way down.
class Supervisor {
 public:
  Supervisor(UvLoop& loop, Config config, ProgramPaths paths);
  ~Supervisor();

  /// Brings everything up in order: directories, netlink and firewall, worker.sock, dongles, control.sock. An error
  /// says what is missing; nothing is left behind then.
  Result<void> start();
  /// Reads the configuration file anew and applies the difference. An error keeps everything as it is.
  Result<Json> reload();
  /// Ends workers, then removes what is ours from the host, then stops the loop.
  void shut_down();

 private:
  struct Verb {
    const char* name;
    void (Supervisor::*run)(const Json& request, ControlServer::CallPtr call);
  };
  static const Verb kVerbs[];

  Result<void> prepare_directories();
  void add_dongle(const DongleConfig& config);
  void retire(std::unique_ptr<Dongle> dongle);
  void sweep();
  Config routed_config() const;
  void spread_denied_destinations();
  void on_changed(DongleId id);
  void tell_watchers();
  void save_stopped();
  std::set<DongleId> load_stopped();
  void note_keys_without_effect() const;

  void handle(const Json& request, ControlServer::CallPtr call);
  Json status(const std::vector<DongleId>& ids) const;
  /// The dongles that "ids" (a list or "all") or "id" names; answers the call and returns nothing if one isn't there.
  std::optional<std::vector<DongleId>> select(const Json& request, const ControlServer::CallPtr& call,
                                              bool default_all) const;
  Dongle* select_one(const Json& request, const ControlServer::CallPtr& call) const;
  /// Does `act` on each selected dongle and answers when all are done.
  void for_each_selected(const Json& request, ControlServer::CallPtr call,
                         std::function<void(Dongle&, std::function<void(std::optional<RequestError>)>)> act);

  struct PowerRequest;
  void switch_power(const std::shared_ptr<PowerRequest>& work, const std::string& hub);
  void serve_again(DongleId id);

  void verb_status(const Json& request, ControlServer::CallPtr call);
  void verb_watch(const Json& request, ControlServer::CallPtr call);
  void verb_start(const Json& request, ControlServer::CallPtr call);
  void verb_stop(const Json& request, ControlServer::CallPtr call);
  void verb_restart(const Json& request, ControlServer::CallPtr call);
  void verb_rotate(const Json& request, ControlServer::CallPtr call);
  void verb_recover(const Json& request, ControlServer::CallPtr call);
  void verb_why(const Json& request, ControlServer::CallPtr call);
  void verb_info(const Json& request, ControlServer::CallPtr call);
  void verb_traffic(const Json& request, ControlServer::CallPtr call);
  void verb_incidents(const Json& request, ControlServer::CallPtr call);
  void verb_apn(const Json& request, ControlServer::CallPtr call);
  void verb_reload(const Json& request, ControlServer::CallPtr call);
  void verb_power(const Json& request, ControlServer::CallPtr call);
  void verb_hotplug(const Json& request, ControlServer::CallPtr call);
  void verb_tail(const Json& request, ControlServer::CallPtr call);
  void verb_version(const Json& request, ControlServer::CallPtr call);

  UvLoop& loop_;
  Config config_;
  ProgramPaths paths_;
  WallTime started_;
  CurlLoop curl_;
  std::unique_ptr<IncidentLog> incidents_;
  std::unique_ptr<IntentLog> intents_;
  std::unique_ptr<StateFileWriter> stopped_file_;
  std::unique_ptr<Rack> rack_;
  std::unique_ptr<WorkerLauncher> launcher_;
  std::unique_ptr<Routing> routing_;
  std::map<DongleId, std::unique_ptr<Dongle>> dongles_;
  std::vector<std::unique_ptr<Dongle>> leaving_;  // removed by a reload or the shutdown, until their workers are gone
  std::set<DongleId> powered_off_;                ///< by an operator: power on starts them again
  std::vector<const Dongle*> gone_;               // of those: whose workers are
  std::unique_ptr<WorkerLink> workers_;
  std::unique_ptr<ControlServer> control_;
  std::vector<ControlServer::CallPtr> watchers_;
  Timer watch_timer_;
  Timer tick_timer_;
  Timer sweep_timer_;
  bool going_down_ = false;
};

}  // namespace dongle
