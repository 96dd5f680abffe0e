#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <vector>

#include "supervisor/worker_launcher.h"

// glibc 2.36 declares these without C linkage for C++.
extern "C" {
#include <sys/pidfd.h>
}

namespace dongle {
namespace {

// The child's descriptors, beside 0 to 2.
constexpr int kRuntimeDirFd = 3;
constexpr int kBinaryFd = 4;

// Between fork and exec: system calls only. Exit codes tell what failed: the parent logs them.
[[noreturn]] void become_worker(int log_fd, int runtime_dir, int binary, uid_t uid, char* const argv[],
                                char* const envp[]) {
  setsid();  // a Ctrl-C meant for us must not reach workers
  for (int s = 1; s < NSIG; ++s) signal(s, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  int null = open("/dev/null", O_RDONLY);
  // Duplicates above the target numbers first, so that none is overwritten before it is used.
  int log = fcntl(log_fd, F_DUPFD, 10), dir = fcntl(runtime_dir, F_DUPFD, 10), exe = fcntl(binary, F_DUPFD, 10);
  if (null < 0 || log < 0 || dir < 0 || exe < 0) _exit(120);
  if (dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 || dup2(dir, kRuntimeDirFd) < 0 ||
      dup3(exe, kBinaryFd, O_CLOEXEC) < 0)
    _exit(121);
  close_range(kBinaryFd + 1, ~0u, 0);
  for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; ++capability) {
  }
  if (setgroups(0, nullptr) != 0 || setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0) _exit(122);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  fexecve(kBinaryFd, argv, envp);
  _exit(123);
}

std::string describe_exit(int pidfd) {
  siginfo_t info{};
  if (waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info, WEXITED) != 0) return "ended";
  if (info.si_code != CLD_EXITED) return fmt::format("killed by signal {}", info.si_status);
  switch (info.si_status) {
    case 120:
    case 121: return "failed to start: no descriptors";
    case 122: return "failed to start: its uid can't be taken (worker_uid_base)";
    case 123: return "failed to start: the worker program can't be executed by its uid";
    default: return fmt::format("exited with {}", info.si_status);
  }
}

}  // namespace

WorkerProcess::WorkerProcess(UvLoop& loop, int pid, UniqueFd pidfd, OnExit on_exit)
    : pid_(pid),
      pidfd_(std::move(pidfd)),
      on_exit_(std::move(on_exit)),
      poll_(loop, pidfd_.get(), UV_READABLE, [this](int, int) {
        poll_.set_events(0);
        auto exited = std::move(on_exit_);
        exited(describe_exit(pidfd_.get()));
      }) {}

void WorkerProcess::kill(int signum) {
  pidfd_send_signal(pidfd_.get(), signum, nullptr, 0);
}

Result<std::unique_ptr<ForkLauncher>> ForkLauncher::create(UvLoop& loop, Options options) {
  UniqueFd binary(open(options.worker_binary.c_str(), O_RDONLY | O_CLOEXEC));
  if (!binary) return fail_errno(errno, "worker program {}", options.worker_binary);
  UniqueFd dir(open(options.runtime_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return fail_errno(errno, "runtime_dir {}", options.runtime_dir);
  return std::unique_ptr<ForkLauncher>(new ForkLauncher(loop, std::move(options), std::move(binary), std::move(dir)));
}

Result<std::unique_ptr<WorkerProcess>> ForkLauncher::start(DongleId id, int log_fd, WorkerProcess::OnExit on_exit) {
  // Everything that allocates happens before the fork.
  std::vector<std::string> args = {"dongle-worker", "--id", fmt::format("{}", id), "--runtime-fd",
                                   std::to_string(kRuntimeDirFd)};
  std::vector<std::string> environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"})
    if (const char* value = std::getenv(name)) environment.push_back(std::string(name) + "=" + value);
  std::vector<char*> argv, envp;
  for (auto& a : args) argv.push_back(a.data());
  for (auto& e : environment) envp.push_back(e.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);

  // A signal for the child before it has its own handlers would run ours, which writes to the loop's pipe, which the
  // child shares with us: a worker stopped at once would stop the daemon.
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  pid_t pid = fork();
  int sys = errno;
  if (pid == 0)
    become_worker(log_fd, runtime_dir_.get(), binary_.get(), options_.uid_base + id.value, argv.data(), envp.data());
  sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return fail_errno(sys, "worker {}: fork", id);
  UniqueFd pidfd(pidfd_open(pid, 0));
  if (!pidfd) {
    sys = errno;
    ::kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return fail_errno(sys, "worker {}: pidfd", id);
  }
  return std::make_unique<WorkerProcess>(loop_, pid, std::move(pidfd), std::move(on_exit));
}

Result<std::unique_ptr<WorkerProcess>> ForkLauncher::adopt(int pid, WorkerProcess::OnExit on_exit) {
  UniqueFd pidfd(pidfd_open(pid, 0));
  if (!pidfd) return fail_errno(errno, "worker process {}", pid);
  return std::make_unique<WorkerProcess>(loop_, pid, std::move(pidfd), std::move(on_exit));
}

}  // namespace dongle
