#include "tools/ctl/log_follower.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace dongle::ctl {

Result<void> LogFollower::open() {
  offset_ = 0;
  file_.reset(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file_) return fail_errno(errno, "{}", path_);
  struct stat st = {};
  if (::fstat(file_.get(), &st) == 0 && S_ISREG(st.st_mode)) return {};
  file_.reset();
  return fail(Errc::InvalidArgument, "{}: is not a regular file", path_);
}

Result<void> LogFollower::read_last(int lines) {
  if (auto opened = open(); !opened) return opened;
  struct stat st = {};
  if (::fstat(file_.get(), &st) != 0) return fail_errno(errno, "{}", path_);
  // Backwards by blocks until enough line ends are behind us; the one that ends the file counts for its own line.
  std::array<char, 65536> block;
  off_t start = st.st_size;
  off_t found = lines == 0 ? st.st_size : 0;
  for (int ends = 0; start > 0 && found == 0;) {
    auto size = static_cast<std::size_t>(std::min<off_t>(start, block.size()));
    start -= static_cast<off_t>(size);
    if (::pread(file_.get(), block.data(), size, start) != static_cast<ssize_t>(size)) break;  // truncated meanwhile
    for (std::size_t i = size; i-- > 0 && found == 0;) {
      off_t here = start + static_cast<off_t>(i);
      if (block[i] == '\n' && here + 1 != st.st_size && ++ends == lines) found = here + 1;
    }
  }
  offset_ = found;
  auto read = read_on();
  if (!read) return std::unexpected(std::move(read).error());
  return {};
}

Result<bool> LogFollower::read_on() {
  std::array<char, 65536> block;
  for (;;) {
    ssize_t got = ::pread(file_.get(), block.data(), block.size(), offset_);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "{}", path_);
    if (got == 0) return true;
    offset_ += got;
    if (!sink_({block.data(), static_cast<std::size_t>(got)})) return false;
  }
}

// Reads the rest of the file that is open, then moves to the one that has its name now.
Result<bool> LogFollower::catch_up() {
  struct stat opened = {};
  struct stat named = {};
  bool exists = ::stat(path_.c_str(), &named) == 0;
  if (file_ && ::fstat(file_.get(), &opened) == 0) {
    if (opened.st_size < offset_) offset_ = 0;  // truncated: what is there now was written since
    if (auto more = read_on(); !more || !*more) return more;
    if (!exists || (opened.st_ino == named.st_ino && opened.st_dev == named.st_dev)) return true;
  }
  if (!exists) return true;
  if (auto reopened = open(); !reopened) {
    if (reopened.error().code == Errc::NotFound) return true;  // gone again; the next event tells
    return std::unexpected(std::move(reopened).error());
  }
  return read_on();
}

Result<void> LogFollower::follow() {
  std::string directory = path_.substr(0, path_.rfind('/') + 1);
  UniqueFd events(::inotify_init1(IN_CLOEXEC));
  if (!events) return fail_errno(errno, "inotify");
  // The directory tells of its files' changes too, and of what comes and goes under the name.
  constexpr std::uint32_t kMask =
      IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF;
  if (::inotify_add_watch(events.get(), directory.c_str(), kMask) < 0) return fail_errno(errno, "{}", directory);
  for (;;) {
    auto more = catch_up();  // first of all: something may have been written before the watch stood
    if (!more) return std::unexpected(std::move(more).error());
    if (!*more) return {};
    alignas(inotify_event) std::array<char, 16384> buffer;
    ssize_t got = ::read(events.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "inotify");
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      if ((event->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) != 0)
        return fail(Errc::NotFound, "{}: the directory is gone", directory);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
  }
}

}  // namespace dongle::ctl
