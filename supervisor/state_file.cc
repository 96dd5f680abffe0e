#include "supervisor/state_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "common/log.h"
#include "common/unique_fd.h"

namespace dongle {
namespace {

Result<void> replace_file(const std::string& path, const std::string& text) {
  std::string fresh = path + ".new";
  UniqueFd fd(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640));
  if (!fd) return fail_errno(errno, "{}", fresh);
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || fsync(fd.get()) != 0)
    return fail_errno(errno, "{}", fresh);
  if (rename(fresh.c_str(), path.c_str()) != 0) return fail_errno(errno, "{}", path);
  return {};
}

}  // namespace

Result<Json> read_state_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(Errc::NotFound, "{}", path);
  std::stringstream text;
  text << in.rdbuf();
  auto json = parse_json(text.str());
  if (!json) {
    rename(path.c_str(), (path + ".broken").c_str());
    return fail(Errc::Protocol, "{}: {}; moved aside to {}.broken", path, json.error().message(), path);
  }
  return json;
}

struct StateFileWriter::Impl {
  UvLoop& loop;
  std::string path;
  std::optional<std::string> waiting;
  std::vector<std::function<void(const Result<void>&)>> waiting_for_it;
  bool writing = false;
  bool failing = false;

  struct Job {
    uv_work_t request{};
    std::shared_ptr<Impl> owner;
    std::string text;
    std::vector<std::function<void(const Result<void>&)>> done;
    Result<void> outcome;
  };

  static void start(const std::shared_ptr<Impl>& self) {
    if (self->writing || !self->waiting) return;
    auto* job = new Job;
    job->owner = self;
    job->text = std::move(*self->waiting);
    job->done = std::exchange(self->waiting_for_it, {});
    job->request.data = job;
    self->waiting.reset();
    self->writing = true;
    uv_queue_work(
        self->loop.raw(), &job->request,
        [](uv_work_t* r) {
          auto* j = static_cast<Job*>(r->data);
          j->outcome = replace_file(j->owner->path, j->text);
        },
        [](uv_work_t* r, int) {
          std::unique_ptr<Job> j(static_cast<Job*>(r->data));
          Impl& impl = *j->owner;
          impl.writing = false;
          if (!j->outcome && !impl.failing)
            log_event(LogEvent::state_write_failed, {{"reason", j->outcome.error().message()}});
          impl.failing = !j->outcome;
          for (auto& done : j->done) done(j->outcome);
          start(j->owner);
        });
  }
};

StateFileWriter::StateFileWriter(UvLoop& loop, std::string path)
    : impl_(std::make_shared<Impl>(Impl{loop, std::move(path), {}, {}, false, false})) {}

StateFileWriter::~StateFileWriter() {
  // Nobody is there any more to hear of it.
  impl_->waiting_for_it.clear();
}

void StateFileWriter::write(const Json& document, std::function<void(const Result<void>&)> done) {
  impl_->waiting = dump_json(document) + "\n";
  if (done) impl_->waiting_for_it.push_back(std::move(done));
  Impl::start(impl_);
}

}  // namespace dongle
