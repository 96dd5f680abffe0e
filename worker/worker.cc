#include "worker/worker.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "common/log.h"
#include "worker/device_watch.h"
#include "worker/dial_report.h"
#include "worker/listener.h"
#include "worker/session_table.h"
#include "worker/supervisor_link.h"

namespace dongle {
namespace {

// Descriptors that are not a session's: standard ones, the loop's, listeners, netlink, worker.sock, name servers.
constexpr std::size_t kOwnDescriptors = 32;
constexpr std::size_t kPerSession = 2;
constexpr Millis kReportInterval{1000};
constexpr Seconds kLimitedLogInterval{10};

bool is_listening_socket(int fd) {
  int listening = 0;
  socklen_t length = sizeof listening;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 && listening != 0;
}

std::size_t sessions_that_fit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  auto descriptors = static_cast<std::size_t>(limit.rlim_cur);
  return descriptors > kOwnDescriptors + kPerSession ? (descriptors - kOwnDescriptors) / kPerSession : 1;
}

}  // namespace

struct Worker::Impl {
  UvLoop& loop;
  Options options;
  Poller poller;
  Resolver resolver;
  SessionContext context;
  SessionTable sessions;
  SupervisorLink link;
  std::unique_ptr<DeviceWatch> device_watch;
  std::vector<Address> dns_servers;
  std::vector<std::uint16_t> ports;
  std::vector<std::unique_ptr<Listener>> listeners;
  DialReport dial_report;
  std::optional<Report> last_report;
  Timer report_timer;
  Timer drain_timer;
  bool had_setup = false;
  bool stopping = false;
  int exit_code = 0;
  TimePoint limited_logged_at{};
  std::uint64_t limited_since_log = 0;

  Impl(UvLoop& l, Options o)
      : loop(l),
        options(std::move(o)),
        poller(l),
        resolver(l),
        context(l, poller, resolver),
        sessions(context),
        link(l, options.runtime_fd, options.runtime_dir, link_handlers()),
        report_timer(l),
        drain_timer(l) {
    context.log_connections = options.log_connections;
    context.on_dial = [this](std::string_view reason) { on_dial(reason); };
    sessions.on_ended([this] { on_session_ended(); });
  }

  SupervisorLink::Handlers link_handlers() {
    return {
        .message = [this](IpcMessage message,
                          std::vector<UniqueFd> fds) { on_message(std::move(message), std::move(fds)); },
        .hello =
            [this] {
              return Hello{kIpcVersion, options.id, static_cast<int>(getpid()), ports};
            },
        .fds =
            [this] {
              std::vector<int> fds;
              for (const auto& listener : listeners) fds.push_back(listener->fd());
              return fds;
            },
        .connected =
            [this] {
              last_report.reset();
              log_event(LogEvent::supervisor_connected, {{"dongle", options.id}});
            },
        .lost =
            [this](const Error& error) {
              log_event(LogEvent::supervisor_lost, {{"dongle", options.id}, {"error", error.message()}});
            },
        .unreachable =
            [this](const Error& error) {
              log_event(LogEvent::supervisor_unreachable, {{"dongle", options.id}, {"error", error.message()}});
            },
    };
  }

  Result<void> start() {
    auto watch = DeviceWatch::open(
        loop, {.gone = [this] { on_device_gone(); },
               .renamed =
                   [this](const std::string& name) {
                     log_event(LogEvent::device_renamed, {{"dongle", options.id}, {"iface", name}});
                     context.egress.device = name;
                     resolver.set_egress(context.egress, dns_servers);
                   },
               .link = [this](bool up) { on_link(up); },
               .addresses = [this](const std::set<Address>& all) { context.guard.set_host_addresses(all); }});
    if (!watch) return std::unexpected(std::move(watch).error());
    device_watch = std::move(*watch);
    link.start();
    report_timer.repeat(kReportInterval, [this] { on_tick(); });
    log_event(LogEvent::worker_started, {{"dongle", options.id}, {"pid", getpid()}});
    return {};
  }

  void on_message(IpcMessage message, std::vector<UniqueFd> fds) {
    if (auto* setup = std::get_if<Setup>(&message)) {
      apply(*setup, std::move(fds));
    } else if (std::holds_alternative<ServeProbe>(message)) {
      for (auto& fd : fds) {
        fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
        sessions.serve_probe(std::move(fd));
      }
    } else if (auto* drop = std::get_if<DropConnections>(&message)) {
      resolver.flush();
      sessions.end_all(close_reason_from_name(drop->reason).value_or(CloseReason::dropped));
    } else if (auto* stop_message = std::get_if<Stop>(&message)) {
      stop(stop_message->drain);
    } else if (std::holds_alternative<LogFile>(message)) {
      if (!fds.empty()) dup2(fds.front().get(), STDERR_FILENO);
    }
    // The rest is what a worker says, not what it is told.
  }

  void apply(const Setup& setup, std::vector<UniqueFd> fds) {
    if (stopping) return;
    had_setup = true;
    context.guard.set_exceptions(setup.allow_destinations);
    context.guard.set_denied(setup.denied_destinations);
    context.connect_timeout = setup.connect_timeout;
    context.handshake_timeout = setup.handshake_timeout;
    context.idle_timeout = setup.idle_timeout;
    context.refuse_clients = setup.refuse_clients;
    sessions.set_limits({setup.clients, static_cast<std::size_t>(std::max(setup.max_connections, 0)),
                         static_cast<std::size_t>(std::max(setup.max_connections_per_client, 0))});
    apply_device(setup);
    if (!fds.empty() || setup.ports.empty()) listen_on(setup.ports, std::move(fds));
    log_event(LogEvent::worker_setup, {{"dongle", options.id},
                                       {"iface", setup.device},
                                       {"ifindex", setup.ifindex.value},
                                       {"address", setup.source_v4 ? setup.source_v4->to_string() : ""},
                                       {"listeners", listeners.size()}});
    send_report();
  }

  void apply_device(const Setup& setup) {
    Egress egress{setup.device, setup.ifindex, setup.source_v4, setup.source_v6};
    bool is_there = egress.is_usable() && device_watch->watch(setup.device, setup.ifindex);
    if (!is_there) {
      device_watch->forget();
      egress = {};
    }
    context.link_up = is_there && device_watch->is_link_up();
    Egress before = std::exchange(context.egress, egress);
    dns_servers = setup.dns_servers;
    resolver.set_egress(egress, dns_servers);
    if (before.is_usable() && before != egress) {
      bool same_device = is_there && before.ifindex == egress.ifindex;
      // A rename moves no connection, a new address leaves the old ones without a way back.
      if (!same_device)
        sessions.end_all(CloseReason::device_gone);
      else if (before.source_v4 != egress.source_v4 || before.source_v6 != egress.source_v6)
        sessions.end_all(CloseReason::address_changed);
    }
    if (!is_there && !setup.device.empty()) link.send(DeviceGone{setup.ifindex});
  }

  void listen_on(const std::vector<std::uint16_t>& new_ports, std::vector<UniqueFd> fds) {
    if (fds.size() != new_ports.size() ||
        !std::ranges::all_of(fds, [](const UniqueFd& fd) { return is_listening_socket(fd.get()); })) {
      log_event(LogEvent::worker_bad_sockets,
                {{"dongle", options.id}, {"ports", new_ports.size()}, {"sockets", fds.size()}});
      return;
    }
    listeners.clear();
    ports = new_ports;
    for (auto& fd : fds) {
      listeners.push_back(std::make_unique<Listener>(
          loop, std::move(fd),
          Listener::Handlers{
              [this] { return sessions.open() < sessions_that_fit(); },
              [this](UniqueFd client, const Endpoint& peer) { sessions.accept(std::move(client), peer.address); },
              [this] { on_accept_limited(); }}));
    }
  }

  // What is established may live through a pause; who waits for a connection is told at once rather than after the
  // kernel's 3 s without an answer to its ARP.
  void on_link(bool up) {
    context.link_up = up;
    if (!up) sessions.stop_connecting(CloseReason::link_down);
  }

  void on_device_gone() {
    auto gone = std::exchange(context.egress, {}).ifindex;
    resolver.set_egress({}, {});
    sessions.end_all(CloseReason::device_gone);
    log_event(LogEvent::worker_device_gone, {{"dongle", options.id}, {"ifindex", gone.value}});
    link.send(DeviceGone{gone});
  }

  void on_dial(std::string_view reason) {
    if (auto result = dial_report.add(reason, UvLoop::now())) link.send(*result);
  }

  void on_accept_limited() {
    ++context.counters.accept_limited;
    ++limited_since_log;
    auto now = UvLoop::now();
    if (now - limited_logged_at < kLimitedLogInterval) return;
    limited_logged_at = now;
    log_event(
        LogEvent::accept_limited,
        {{"dongle", options.id}, {"times", std::exchange(limited_since_log, 0)}, {"connections", sessions.open()}});
  }

  void on_session_ended() {
    for (auto& listener : listeners) listener->resume();
    if (stopping && sessions.open() == 0) leave();
  }

  void on_tick() {
    send_report();
    if (!had_setup && link.away() > kOrphanTimeout) {
      log_event(LogEvent::worker_orphaned, {{"dongle", options.id}});
      exit_code = 1;
      loop.stop();
    }
  }

  void send_report() {
    if (!link.is_connected() || !had_setup) return;
    const auto& counters = context.counters;
    Report report;
    report.connections = sessions.open();
    report.accepted = counters.accepted;
    report.rx_bytes = counters.rx_bytes;
    report.tx_bytes = counters.tx_bytes;
    for (std::size_t i = 0; i < kCloseReasons; ++i)
      if (counters.closed[i] > 0)
        report.closed.emplace_back(close_info(static_cast<CloseReason>(i)).name, counters.closed[i]);
    report.listening = !listeners.empty();
    report.counters = {{"accept_limited", counters.accept_limited},
                       {"dns_cache_evicted", resolver.cache_evicted()},
                       {"dns_refused_full", resolver.refused_full()},
                       {"log_lines_dropped", log_lines_dropped()}};
    std::ranges::sort(report.closed);
    if (report != last_report && link.send(report)) last_report = std::move(report);
  }

  void stop(Millis drain) {
    if (!stopping) {
      stopping = true;
      listeners.clear();
      ports.clear();
    }
    if (sessions.open() == 0) return leave();
    drain_timer.start(drain, [this] { sessions.end_all(CloseReason::shutdown); });
  }

  void leave() {
    send_report();
    log_event(LogEvent::worker_stopped, {{"dongle", options.id}});
    loop.stop();
  }
};

Worker::Worker(UvLoop& loop, Options options) : impl_(std::make_unique<Impl>(loop, std::move(options))) {}
Worker::~Worker() = default;
Result<void> Worker::start() {
  return impl_->start();
}
void Worker::stop() {
  impl_->stop(Millis{0});
}
int Worker::exit_code() const {
  return impl_->exit_code;
}

}  // namespace dongle
