#include "supervisor/worker_unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>

#include "common/log.h"

namespace dongle {
namespace {

// A worker that lived this long didn't die of its start: it comes back without a wait.
constexpr Millis kLivedWell = Seconds(10);
// One that had served before it died comes back without a wait, too, so that clients hardly notice; but not for ever,
// or one that dies of its first connection would keep the host busy.
constexpr int kForgivenDeaths = 30;
// An earlier supervisor's worker that still holds the port registers within its own retry time (500 ms); only after
// this long is the port somebody else's.
constexpr Millis kOrphanGrace = Seconds(3);
constexpr Millis kBindRetry{200};
// Beyond its drain time a worker gets this long to end by itself.
constexpr Millis kKillGrace = Seconds(2);
constexpr off_t kLogSizeLimit = 4 * 1024 * 1024;

Result<UniqueFd> listen_on(const Endpoint& where) {
  sockaddr_storage address{};
  socklen_t length = where.to_sockaddr(address);
  UniqueFd fd(socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(errno, "socket");
  int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(fd.get(), SOMAXCONN) != 0)
    return fail_errno(errno, "listen on {}", where.to_string());
  return fd;
}

}  // namespace

WorkerUnit::WorkerUnit(UvLoop& loop, WorkerLauncher& launcher, DongleId id, std::string log_path, Events events)
    : loop_(loop),
      launcher_(launcher),
      id_(id),
      log_path_(std::move(log_path)),
      events_(std::move(events)),
      backoff_(Millis{100}, Seconds(30), kLivedWell),
      retry_(loop),
      kill_timer_(loop) {}

void WorkerUnit::serve(const Endpoint& listen, Setup setup) {
  bool moved = wanted_ && !(listen == listen_);
  wanted_ = true;
  setup_ = std::move(setup);
  setup_.ports = {listen.port};
  listen_ = listen;
  if (moved) listener_.reset();
  ensure_listening();
  if (channel_) send_setup(moved);
}

void WorkerUnit::ensure_listening() {
  if (!wanted_) return;
  if (!listener_) {
    auto fd = listen_on(listen_);
    if (!fd) {
      auto now = UvLoop::now();
      if (bind_failing_since_ == TimePoint{}) bind_failing_since_ = now;
      trouble_ = fd.error().message();
      if (now - bind_failing_since_ >= kOrphanGrace && !std::exchange(listen_failure_told_, true)) {
        log_event(LogEvent::listen_failed, {{"dongle", id_}, {"reason", trouble_}});
      }
      retry_.start(kBindRetry, [this] { ensure_listening(); });
      return;
    }
    listener_ = std::move(*fd);
    if (channel_) send_setup(true);
  }
  bind_failing_since_ = {};
  listen_failure_told_ = false;
  trouble_.clear();
  ensure_process();
}

void WorkerUnit::ensure_process() {
  if (!wanted_ || process_ || retry_.is_active()) return;
  auto lived =
      started_at_ == TimePoint{} ? kLivedWell : std::chrono::duration_cast<Millis>(UvLoop::now() - started_at_);
  Millis wait = backoff_.next(lived);
  if (wait == Millis{0}) return launch();
  retry_.start(wait, [this] {
    if (wanted_ && !process_) launch();
  });
}

void WorkerUnit::launch() {
  auto log = open_log();
  Result<std::unique_ptr<WorkerProcess>> process =
      log ? launcher_.start(id_, log->get(), [this](const std::string& how) { on_exit(how); })
          : Result<std::unique_ptr<WorkerProcess>>(std::unexpected(log.error()));
  started_at_ = UvLoop::now();
  if (!process) {
    trouble_ = process.error().message();
    log_event(LogEvent::worker_start_failed, {{"dongle", id_}, {"reason", trouble_}});
    retry_.start(Seconds(1), [this] { ensure_listening(); });
    return;
  }
  process_ = std::move(*process);
  retiring_ = false;
  current_ = {};
  log_event(LogEvent::worker_started, {{"dongle", id_}, {"pid", process_->pid()}, {"try", backoff_.tries()}});
}

void WorkerUnit::attach(WorkerLink::Registration registration) {
  if (!process_ || process_->pid() != registration.pid) {
    if (process_ || !wanted_) {
      // Somebody else serves this port already, or nobody is wanted: the newcomer has nothing to do here.
      log_event(LogEvent::worker_surplus, {{"dongle", id_}, {"pid", registration.pid}});
      (void)IpcChannel(loop_, std::move(registration.socket), {}).send(Stop{Millis{0}});
      return;
    }
    auto adopted = launcher_.adopt(registration.pid, [this](const std::string& how) { on_exit(how); });
    if (!adopted) return;  // it died meanwhile; the port comes free and a new one starts
    process_ = std::move(*adopted);
    retiring_ = false;
    started_at_ = UvLoop::now();
    retry_.stop();
    log_event(LogEvent::worker_adopted, {{"dongle", id_}, {"pid", registration.pid}});
  }
  // Its socket is the living one only if we don't have one: an adopted worker brings it back to us.
  if (!listener_ && registration.hello.ports == std::vector{listen_.port} && registration.fds.size() == 1) {
    listener_ = std::move(registration.fds[0]);
    bind_failing_since_ = {};
    trouble_.clear();
    retry_.stop();
  }
  ready_ = false;
  channel_ = std::make_unique<IpcChannel>(
      loop_, std::move(registration.socket),
      IpcChannel::Handlers{
          [this](IpcMessage m, std::vector<UniqueFd> fds) { on_message(std::move(m), std::move(fds)); },
          [this](const Error& error) { on_channel_closed(error); }});
  if (listener_) return send_setup(registration.hello.ports != std::vector{listen_.port});
  ensure_listening();  // the port has changed, and the new one was not free yet
}

void WorkerUnit::send_setup(bool with_socket) {
  std::vector<int> fds;
  if (with_socket && listener_) fds.push_back(listener_.get());
  if (auto sent = channel_->send(setup_, fds); !sent) {
    // A worker that doesn't read its socket is stuck; its successor gets the setup.
    log_event(LogEvent::worker_stuck, {{"dongle", id_}, {"reason", sent.error().message()}});
    if (process_) process_->kill(SIGKILL);
  }
}

void WorkerUnit::on_message(IpcMessage message, std::vector<UniqueFd>) {
  if (auto* report = std::get_if<Report>(&message)) {
    current_ = std::move(*report);
    bool was_ready = std::exchange(ready_, current_.listening && !retiring_);
    if (ready_ && !was_ready && events_.on_ready) events_.on_ready();
    rotate_log_if_large();
  } else if (auto* dial = std::get_if<DialResult>(&message)) {
    if (events_.on_dial) events_.on_dial(*dial);
  } else if (std::holds_alternative<DeviceGone>(message)) {
    if (events_.on_device_gone) events_.on_device_gone();
  }
}

void WorkerUnit::on_channel_closed(const Error& error) {
  channel_.reset();
  ready_ = false;
  // A live worker whose connection broke registers again by itself; a dead one is told by its pidfd.
  log_event(LogEvent::worker_link_lost, {{"dongle", id_}, {"reason", error.message()}});
}

void WorkerUnit::on_exit(const std::string& how) {
  int pid = process_->pid();
  process_.reset();
  channel_.reset();
  ready_ = false;
  before_ = totals();
  bool had_served = std::exchange(current_, {}).listening;
  if (UvLoop::now() - started_at_ >= kLivedWell) forgiven_deaths_ = 0;
  if (had_served && ++forgiven_deaths_ <= kForgivenDeaths) backoff_.reset();
  kill_timer_.stop();
  auto when_gone = std::exchange(when_gone_, {});
  if (!wanted_) {
    log_event(LogEvent::worker_stopped, {{"dongle", id_}, {"pid", pid}});
    for (auto& done : when_gone) done();
    return;
  }
  ++restarts_;
  trouble_ = "the worker " + how;
  log_event(LogEvent::worker_died, {{"dongle", id_}, {"pid", pid}, {"how", how}});
  ensure_listening();
  if (events_.on_lost) events_.on_lost(how);
  for (auto& done : when_gone) done();
}

void WorkerUnit::stop(Millis drain, std::function<void()> done) {
  wanted_ = false;
  retry_.stop();
  listener_.reset();
  if (!process_) {
    if (done) done();
    return;
  }
  if (done) when_gone_.push_back(std::move(done));
  retire(drain);
}

void WorkerUnit::retire(Millis drain) {
  ready_ = false;
  retiring_ = true;
  if (!channel_ || !channel_->send(Stop{drain})) process_->kill(SIGTERM);
  kill_timer_.start(drain + kKillGrace, [this] {
    if (process_) process_->kill(SIGKILL);
  });
}

void WorkerUnit::restart() {
  backoff_.reset();
  if (process_) return retire(Millis{0});
  retry_.stop();
  ensure_listening();
}

void WorkerUnit::drop_connections(const std::string& reason) {
  if (channel_) (void)channel_->send(DropConnections{reason});  // gone or stuck: its connections end with it
}

Result<void> WorkerUnit::serve_probe(UniqueFd stream) {
  if (!channel_ || !ready_) return fail(Errc::Unreachable, "the worker isn't ready");
  return channel_->send(ServeProbe{}, {stream.get()});
}

Report WorkerUnit::totals() const {
  Report sum = current_;
  sum.accepted += before_.accepted;
  sum.rx_bytes += before_.rx_bytes;
  sum.tx_bytes += before_.tx_bytes;
  for (const auto& [reason, count] : before_.closed) {
    auto it = std::ranges::find(sum.closed, reason, [](const auto& entry) { return entry.first; });
    if (it == sum.closed.end())
      sum.closed.emplace_back(reason, count);
    else
      it->second += count;
  }
  return sum;
}

Result<UniqueFd> WorkerUnit::open_log() {
  UniqueFd fd(open(log_path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640));
  if (!fd) return fail_errno(errno, "{}", log_path_);
  return fd;
}

void WorkerUnit::rotate_log_if_large() {
  struct stat st {};
  if (stat(log_path_.c_str(), &st) != 0 || st.st_size < kLogSizeLimit || !channel_) return;
  std::rename(log_path_.c_str(), (log_path_ + ".1").c_str());
  if (auto fresh = open_log()) (void)channel_->send(LogFile{}, {fresh->get()});  // if lost, the next report tries again
}

}  // namespace dongle
