#include "supervisor/child_process.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <list>
#include <utility>

namespace dongle {
namespace {

/// A grandchild may keep the pipe open after the child's exit; what the child itself said has arrived by then.
constexpr Millis kDrainAfterExit{100};

char kPath[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
char kLocale[] = "LC_ALL=C";

void close_process(uv_process_t* process) {
  uv_close(reinterpret_cast<uv_handle_t*>(process),
           [](uv_handle_t* closed) { delete reinterpret_cast<uv_process_t*>(closed); });
}

}  // namespace

/// What a process handle's data points to: where its end is reported.
struct ChildProcess::Exit {
  std::function<void(std::int64_t status, int signal)> call;
};

/// Killed children that nobody waits for any more, until the kernel lets go of them. One of each loop.
class ChildProcess::Stragglers {
 public:
  explicit Stragglers(UvLoop& loop) : loop_(loop) {}
  ~Stragglers() {
    for (Straggler& s : all_) {
      s.process->data = nullptr;
      close_process(s.process);
    }
  }

  /// is_stuck: it has had its time to die. Else it gets it now, and the loop's end waits for that.
  void take(uv_process_t* process, const std::string& program, bool is_stuck, std::function<void()> on_late_end) {
    auto it = all_.emplace(all_.end(), loop_, process, program, std::move(on_late_end));
    it->exit.call = [this, it](std::int64_t, int) {
      auto late = it->is_stuck ? std::move(it->on_late_end) : nullptr;
      all_.erase(it);
      if (late) late();
    };
    process->data = &it->exit;
    if (is_stuck)
      set_stuck(*it);
    else
      it->grace.start(kKillGrace, [this, it] { set_stuck(*it); });
  }

  int stuck(const std::string& program) const {
    return static_cast<int>(
        std::ranges::count_if(all_, [&](const Straggler& s) { return s.is_stuck && s.program == program; }));
  }
  StuckCount count() const { return {static_cast<int>(std::ranges::count_if(all_, &Straggler::is_stuck)), ever_}; }

 private:
  struct Straggler {
    Straggler(UvLoop& loop, uv_process_t* p, std::string name, std::function<void()> late)
        : process(p), program(std::move(name)), on_late_end(std::move(late)), grace(loop) {}
    uv_process_t* process;
    std::string program;
    std::function<void()> on_late_end;
    Exit exit;
    Timer grace;
    bool is_stuck = false;
  };

  void set_stuck(Straggler& s) {
    s.is_stuck = true;
    ++ever_;
    uv_unref(reinterpret_cast<uv_handle_t*>(s.process));
  }

  UvLoop& loop_;
  std::list<Straggler> all_;
  std::uint64_t ever_ = 0;
};

struct ChildProcess::Stream {
  UvHandle<uv_pipe_t> pipe;
  ChildProcess* owner = nullptr;
  std::string text;
  bool open = false;
  std::array<char, 16384> buffer;
};

std::string ChildResult::summary() const {
  std::string how = stuck              ? std::string("no end within its deadline, and the kernel doesn't let it die")
                    : timed_out        ? std::string("no end within its deadline")
                    : term_signal != 0 ? fmt::format("killed by signal {}", term_signal)
                                       : fmt::format("exit status {}", exit_status);
  std::string_view said = err.empty() ? std::string_view(out) : std::string_view(err);
  said = said.substr(0, std::min<std::size_t>(said.find('\n'), 300));
  return said.empty() ? how : fmt::format("{}: {}", how, said);
}

ChildProcess::ChildProcess(UvLoop& loop, Command command, Done done)
    : loop_(loop),
      command_(std::move(command)),
      done_(std::move(done)),
      in_(std::make_unique<Stream>()),
      out_(std::make_unique<Stream>()),
      err_(std::make_unique<Stream>()),
      deadline_(loop) {}

ChildProcess::~ChildProcess() {
  *alive_ = false;
  if (process_ == nullptr) return;
  uv_process_kill(process_, SIGKILL);
  loop_.local<Stragglers>().take(std::exchange(process_, nullptr), command_.argv.front(), false,
                                 std::move(command_.on_late_end));
}

ChildProcess::StuckCount ChildProcess::stuck(UvLoop& loop) {
  return loop.local<Stragglers>().count();
}

Result<std::unique_ptr<ChildProcess>> ChildProcess::start(UvLoop& loop, Command command, Done done) {
  std::unique_ptr<ChildProcess> child(new ChildProcess(loop, std::move(command), std::move(done)));
  if (auto r = child->spawn(); !r) return std::unexpected(std::move(r).error());
  return child;
}

Result<void> ChildProcess::spawn() {
  if (int held = loop_.local<Stragglers>().stuck(command_.argv.front()); held >= kMaxStuck)
    return fail(Errc::Full, "start {}: the kernel holds {} of them already", command_.argv.front(), held);
  for (auto* stream : {in_.get(), out_.get(), err_.get()}) {
    stream->owner = this;
    CHECK(uv_pipe_init(loop_.raw(), stream->pipe.get(), 0) == 0);
    stream->pipe->data = stream;
  }
  std::vector<char*> argv;
  for (std::string& argument : command_.argv) argv.push_back(argument.data());
  argv.push_back(nullptr);
  char* environment[] = {kPath, kLocale, nullptr};
  auto pipe = [](Stream& stream, int flags) {
    uv_stdio_container_t container{};
    container.flags = static_cast<uv_stdio_flags>(UV_CREATE_PIPE | flags);
    container.data.stream = reinterpret_cast<uv_stream_t*>(stream.pipe.get());
    return container;
  };
  uv_stdio_container_t stdio[] = {pipe(*in_, UV_READABLE_PIPE), pipe(*out_, UV_WRITABLE_PIPE),
                                  pipe(*err_, UV_WRITABLE_PIPE)};
  uv_process_options_t options{};
  options.file = argv[0];
  options.args = argv.data();
  options.env = environment;
  options.stdio_count = 3;
  options.stdio = stdio;
  options.exit_cb = [](uv_process_t* process, std::int64_t status, int signal) {
    auto* exit = static_cast<Exit*>(process->data);
    close_process(process);
    if (exit == nullptr) return;
    auto call = exit->call;  // it may end with the call
    call(status, signal);
  };
  process_ = new uv_process_t{};
  exit_ = std::make_unique<Exit>(Exit{[this](std::int64_t status, int signal) { on_exit(status, signal); }});
  process_->data = exit_.get();
  if (int error = uv_spawn(loop_.raw(), process_, &options); error != 0) {
    close_process(std::exchange(process_, nullptr));
    return fail_errno(-error, "start {}", command_.argv.front());
  }
  pid_ = process_->pid;

  struct Write {
    uv_write_t request;
    std::string bytes;
  };
  if (command_.input.empty()) {
    in_.reset();
  } else {
    auto* write = new Write{{}, std::move(command_.input)};
    write->request.data = write;
    uv_buf_t buffer = uv_buf_init(write->bytes.data(), static_cast<unsigned>(write->bytes.size()));
    // Closing the pipe cancels the write, and its callback comes all the same.
    uv_write(&write->request, reinterpret_cast<uv_stream_t*>(in_->pipe.get()), &buffer, 1,
             [](uv_write_t* request, int) {
               auto* stream = static_cast<Stream*>(request->handle->data);
               delete static_cast<Write*>(request->data);
               if (stream != nullptr) stream->owner->in_.reset();  // the child sees the end of its input
             });
  }
  read_from(*out_);
  read_from(*err_);
  if (command_.deadline.count() > 0) deadline_.start(command_.deadline, [this] { kill_at_deadline(); });
  return {};
}

void ChildProcess::kill_at_deadline() {
  result_.timed_out = true;
  uv_process_kill(process_, SIGKILL);
  deadline_.start(kKillGrace, [this] { give_up(); });
}

void ChildProcess::give_up() {
  result_.stuck = true;
  loop_.local<Stragglers>().take(std::exchange(process_, nullptr), command_.argv.front(), true,
                                 std::move(command_.on_late_end));
  finish();
}

void ChildProcess::read_from(Stream& stream) {
  stream.open = true;
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(stream.pipe.get()),
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        auto* self = static_cast<Stream*>(handle->data);
        *buffer = self == nullptr ? uv_buf_init(nullptr, 0)
                                  : uv_buf_init(self->buffer.data(), static_cast<unsigned>(self->buffer.size()));
      },
      [](uv_stream_t* handle, ssize_t size, const uv_buf_t* buffer) {
        if (auto* self = static_cast<Stream*>(handle->data)) self->owner->on_output(*self, size, buffer->base);
      });
}

void ChildProcess::on_output(Stream& stream, ssize_t size, const char* data) {
  if (size < 0) {
    stream.open = false;
    uv_read_stop(reinterpret_cast<uv_stream_t*>(stream.pipe.get()));
    finish_if_over();
    return;
  }
  bool by_line = &stream == out_.get() && command_.on_line;
  std::size_t room = command_.max_output - std::min(command_.max_output, stream.text.size());
  auto length = static_cast<std::size_t>(size);
  if (!by_line && length > room) result_.truncated = true;
  stream.text.append(data, by_line ? length : std::min(length, room));
  if (by_line) take_lines(stream);
}

void ChildProcess::take_lines(Stream& stream) {
  auto alive = alive_;
  for (;;) {
    auto end = stream.text.find('\n');
    bool overlong = end == std::string::npos ? stream.text.size() > command_.max_line : end > command_.max_line;
    if (end == std::string::npos) {
      // Keep one character more than allowed, so that the line is still seen to be overlong when its end comes.
      if (overlong) stream.text.resize(command_.max_line + 1);
      return;
    }
    std::string line = stream.text.substr(0, std::min(end, command_.max_line + 1));
    stream.text.erase(0, end + 1);
    command_.on_line(line);
    if (!*alive) return;
  }
}

void ChildProcess::on_exit(std::int64_t status, int signal) {
  process_ = nullptr;
  result_.exit_status = static_cast<int>(status);
  result_.term_signal = signal;
  deadline_.start(kDrainAfterExit, [this] { finish(); });
  finish_if_over();
}

void ChildProcess::finish_if_over() {
  if (process_ == nullptr && !out_->open && !err_->open) finish();
}

void ChildProcess::finish() {
  deadline_.stop();
  result_.out = std::move(out_->text);
  result_.err = std::move(err_->text);
  out_.reset();
  err_.reset();
  auto done = std::exchange(done_, nullptr);
  if (done) done(std::move(result_));
}

}  // namespace dongle
