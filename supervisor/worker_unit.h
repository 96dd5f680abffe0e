#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/backoff.h"
#include "common/ipc_channel.h"
#include "common/net_address.h"
#include "supervisor/worker_launcher.h"
#include "supervisor/worker_link.h"

namespace dongle {

/// One dongle's worker, as the supervisor has it: holds the listening socket (so that a worker's death refuses
/// nobody), starts the process and starts it again when it dies, takes over one that an earlier supervisor left.
class WorkerUnit {
 public:
  struct Events {
    std::function<void()> on_ready;                       ///< serves with the newest setup
    std::function<void(const std::string& how)> on_lost;  ///< its process is gone; it will be started again
    std::function<void(const DialResult&)> on_dial;
    std::function<void()> on_device_gone;
  };
  /// log_path: the file for the worker's standard error; created, appended to, rotated by size.
  WorkerUnit(UvLoop& loop, WorkerLauncher& launcher, DongleId id, std::string log_path, Events events);

  /// Starts serving on `listen` with `setup`, or brings a running worker up to date.
  void serve(const Endpoint& listen, Setup setup);
  /// A worker of this id has registered: the one started here, or one of an earlier supervisor.
  void attach(WorkerLink::Registration registration);
  /// Closes the port, tells the worker to finish within `drain`; done when its process is gone, also if serve() is
  /// called before that.
  void stop(Millis drain, std::function<void()> done);
  /// Ends the process and has it started anew; the port stays open. For an operator's restart.
  void restart();

  void drop_connections(const std::string& reason);
  /// Has the worker serve this stream like a client's connection (SOCKS5 or HTTP), for a probe.
  Result<void> serve_probe(UniqueFd stream);

  /// Process, listening socket, setup in force. True: connections are served.
  bool is_ready() const { return ready_; }
  std::optional<int> pid() const { return process_ ? std::optional(process_->pid()) : std::nullopt; }
  TimePoint started_at() const { return started_at_; }
  /// Totals over all processes that this unit has had.
  Report totals() const;
  std::uint64_t restarts() const { return restarts_; }
  /// Why there is no worker now, "" if there is one.
  const std::string& trouble() const { return trouble_; }

 private:
  void ensure_listening();
  void ensure_process();
  void launch();
  void retire(Millis drain);
  void on_exit(const std::string& how);
  void on_message(IpcMessage message, std::vector<UniqueFd> fds);
  void on_channel_closed(const Error& error);
  void send_setup(bool with_socket);
  Result<UniqueFd> open_log();
  void rotate_log_if_large();

  UvLoop& loop_;
  WorkerLauncher& launcher_;
  DongleId id_;
  std::string log_path_;
  Events events_;

  bool wanted_ = false;
  Endpoint listen_;
  Setup setup_;
  UniqueFd listener_;
  std::unique_ptr<WorkerProcess> process_;
  std::unique_ptr<IpcChannel> channel_;
  bool ready_ = false;
  bool retiring_ = false;  ///< the process was told to end
  TimePoint started_at_{};
  TimePoint bind_failing_since_{};
  bool listen_failure_told_ = false;
  Backoff backoff_;
  int forgiven_deaths_ = 0;
  Timer retry_;
  Timer kill_timer_;
  std::vector<std::function<void()>> when_gone_;
  std::string trouble_;
  Report before_;   ///< totals of processes that have ended
  Report current_;  ///< of the process now
  std::uint64_t restarts_ = 0;
};

}  // namespace dongle
