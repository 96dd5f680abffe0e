#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "common/log.h"
#include "common/net_address.h"
#include "common/version.h"
#include "worker/sandbox.h"
#include "worker/worker.h"

namespace {

using namespace dongle;

constexpr const char* kHelp =
    "dongle-worker: one modem's proxy. Started by dongle-supervisor, which tells it the rest over worker.sock.\n"
    "\n"
    "  --id N              the dongle's number, 1 to 252\n"
    "  --runtime-fd FD     an open descriptor of the directory that has worker.sock\n"
    "  --runtime-dir DIR   that directory's path (tried after --runtime-fd)\n"
    "  --verbose           log every connection\n"
    "  --allow-root        run as root all the same: for trying things by hand\n"
    "  --version, --help\n";

struct Arguments {
  Worker::Options options;
  bool allow_root = false;
};

int usage_error(const std::string& text) {
  std::fprintf(stderr, "dongle-worker: %s (see dongle-worker --help)\n", text.c_str());
  return 2;
}

// Exit code to end with, or -1 to go on.
int parse_arguments(int argc, char** argv, Arguments& out) {
  for (int i = 1; i < argc; ++i) {
    std::string_view key = argv[i];
    if (key == "--version") return std::printf("dongle-worker %s\n", kVersion) < 0;
    if (key == "--help") return std::fputs(kHelp, stdout) < 0;
    if (key == "--allow-root") {
      out.allow_root = true;
    } else if (key == "--verbose") {
      out.options.log_connections = true;
    } else if (key == "--id" || key == "--runtime-fd" || key == "--runtime-dir") {
      if (++i == argc) return usage_error(fmt::format("{} wants a value", key));
      if (key == "--runtime-dir") {
        out.options.runtime_dir = argv[i];
        continue;
      }
      bool is_id = key == "--id";
      auto number = parse_decimal(argv[i], is_id ? kMinDongleId : 0, is_id ? kMaxDongleId : 1 << 20);
      if (!number) return usage_error(fmt::format("{}: {}", key, number.error().message()));
      if (is_id)
        out.options.id = DongleId{static_cast<unsigned>(*number)};
      else
        out.options.runtime_fd = static_cast<int>(*number);
    } else {
      return usage_error(fmt::format("unknown option {}", key));
    }
  }
  if (out.options.id.value == 0) return usage_error("--id is missing");
  if (out.options.runtime_fd < 0 && out.options.runtime_dir.empty())
    return usage_error("one of --runtime-fd and --runtime-dir is needed");
  return -1;
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (int code = parse_arguments(argc, argv, arguments); code >= 0) return code;
  if (geteuid() == 0 && !arguments.allow_root) {
    std::fputs("dongle-worker: refusing to run as root: start it under a user of its own\n", stderr);
    return 1;
  }
  prctl(PR_SET_NAME, "dongle-worker");
  signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  if (arguments.options.log_connections) set_log_level(LogLevel::Debug);
  if (auto sandboxed = enter_sandbox(); !sandboxed) {
    std::fprintf(stderr, "dongle-worker: sandbox: %s\n", sandboxed.error().message().c_str());
    return 1;
  }

  UvLoop loop;
  Worker worker(loop, arguments.options);
  SignalWatch on_term(loop, SIGTERM, [&] { worker.stop(); });
  SignalWatch on_interrupt(loop, SIGINT, [&] { worker.stop(); });
  if (auto started = worker.start(); !started) {
    std::fprintf(stderr, "dongle-worker: %s\n", started.error().message().c_str());
    return 1;
  }
  loop.run();
  return worker.exit_code();
}
