// The daemon: builds everything, passes references, runs the loop, tears down in reverse order.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <curl/curl.h>
#include <nlohmann/json.hpp>

#include "common/config_parse.h"
#include "common/log.h"
#include "common/version.h"
#include "supervisor/supervisor.h"

namespace dongle {
namespace {

constexpr const char* kDefaultConfig = "/etc/dongle-supervisor/config.yaml";
constexpr const char* kUsage =
    "usage: dongle-supervisor [--config FILE] [--check]\n"
    "\n"
    "Runs one proxy for each configured USB LTE stick and keeps the sticks alive. Stays in the foreground.\n"
    "\n"
    "  --config FILE  default /etc/dongle-supervisor/config.yaml\n"
    "  --check        check the configuration, tell every problem, exit 0 or 1\n"
    "  --debug        log every probe as well\n"
    "  --version, --help\n";

std::string directory_of_this_program() {
  char path[PATH_MAX] = {};
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  return n > 0 ? std::filesystem::path(std::string(path, static_cast<std::size_t>(n))).parent_path() : ".";
}

// Beside us in a build tree, else where they are installed.
std::string find_program(const std::string& name) {
  std::string here = directory_of_this_program();
  for (const std::string& candidate : {here + "/" + name, here + "/../libexec/dongle-supervisor/" + name})
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  return "/usr/libexec/dongle-supervisor/" + name;
}

// Exactly one supervisor for a runtime_dir; the kernel drops the lock with the process.
Result<UniqueFd> take_lock(const std::string& runtime_dir) {
  std::error_code ec;
  std::filesystem::create_directories(runtime_dir, ec);
  std::string path = runtime_dir + "/lock";
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd) return fail_errno(errno, "{}", path);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    char pid[32] = {};
    ssize_t n = read(fd.get(), pid, sizeof pid - 1);
    return fail(Errc::Busy, "another dongle-supervisor runs already (pid {}); it holds {}",
                n > 0 ? std::string(pid, static_cast<std::size_t>(n)) : "?", path);
  }
  std::string pid = std::to_string(getpid());
  if (ftruncate(fd.get(), 0) != 0 || write(fd.get(), pid.data(), pid.size()) < 0) return fail_errno(errno, "{}", path);
  return fd;
}

// systemd's readiness protocol: one datagram to the socket it names.
void notify_systemd(const char* state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string_view name = path ? path : "";
  if (name.empty() || name.size() >= sizeof address.sun_path) return;
  name.copy(address.sun_path, name.size());
  if (name[0] == '@') address.sun_path[0] = '\0';
  UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  std::string_view text = state;
  (void)sendto(fd.get(), text.data(), text.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address), length);
}

int complain(const ConfigProblems& problems) {
  for (const std::string& problem : problems) std::fprintf(stderr, "%s\n", problem.c_str());
  return 1;
}

int run(const std::string& config_file) {
  auto config = load_config(config_file);
  if (!config) return complain(config.error());
  if (geteuid() != 0) {
    std::fprintf(stderr, "dongle-supervisor: needs root (routes, rules, nftables, a uid for each worker); try sudo\n");
    return 1;
  }
  signal(SIGPIPE, SIG_IGN);
  umask(0022);  // whatever the caller's was: workers pass through runtime_dir
  // `donglectl tail ID` shows what the supervisor did with a dongle among what its worker says.
  set_dongle_log_sink([dir = config->state_dir + "/log/"](std::string_view dongle, std::string_view line) {
    UniqueFd fd(open((dir + std::string(dongle) + ".log").c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640));
    if (fd) (void)!write(fd.get(), line.data(), line.size());
  });
  auto lock = take_lock(config->runtime_dir);
  if (!lock) {
    std::fprintf(stderr, "dongle-supervisor: %s\n", lock.error().message().c_str());
    return 1;
  }
  curl_global_init(CURL_GLOBAL_DEFAULT);
  int exit_code = 0;
  {
    UvLoop loop;
    Supervisor supervisor(loop, std::move(*config),
                          {find_program("dongle-worker"), find_program("dhcp-report"), find_program("dongle-usb")});
    auto down = [&] {
      notify_systemd("STOPPING=1");
      supervisor.shut_down();
    };
    SignalWatch on_term(loop, SIGTERM, down);
    SignalWatch on_int(loop, SIGINT, down);
    SignalWatch on_hup(loop, SIGHUP, [&] { (void)supervisor.reload(); });  // its outcome is in the log
    if (auto started = supervisor.start(); !started) {
      std::fprintf(stderr, "dongle-supervisor: %s\n", started.error().message().c_str());
      exit_code = 1;
    } else {
      notify_systemd("READY=1");
      loop.run();
    }
  }
  curl_global_cleanup();
  return exit_code;
}

}  // namespace
}  // namespace dongle

int main(int argc, char** argv) {
  std::string config = dongle::kDefaultConfig;
  bool check = false;
  for (int i = 1; i < argc; ++i) {
    std::string_view arg = argv[i];
    if (arg == "--version") return std::printf("dongle-supervisor %s\n", dongle::kVersion), 0;
    if (arg == "--help" || arg == "-h") return std::fputs(dongle::kUsage, stdout), 0;
    if (arg == "--check") {
      check = true;
    } else if (arg == "--debug") {
      dongle::set_log_level(dongle::LogLevel::Debug);
    } else if (arg == "--config" && i + 1 < argc) {
      config = argv[++i];
    } else if (arg.starts_with("--config=")) {
      config = arg.substr(9);
    } else {
      return std::fprintf(stderr, "dongle-supervisor: unknown argument %s\n%s", argv[i], dongle::kUsage), 2;
    }
  }
  if (!check) return dongle::run(config);
  auto checked = dongle::load_config(config);
  if (!checked) return dongle::complain(checked.error());
  std::printf("%s: ok, %zu dongles\n", config.c_str(), checked->dongles.size());
  return 0;
}
