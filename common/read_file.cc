#include "common/read_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "common/unique_fd.h"

namespace dongle {

Result<std::string> read_file(const std::string& path, std::size_t max_bytes) {
  UniqueFd fd(
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // nonblocking: open() of a FIFO waits for a writer
  if (!fd) return fail_errno(errno, "can't be opened");
  struct stat st = {};
  if (::fstat(fd.get(), &st) != 0) return fail_errno(errno, "stat");
  if (!S_ISREG(st.st_mode)) return fail(Errc::InvalidArgument, "is not a regular file");
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "can't be read");
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > max_bytes) return fail(Errc::Full, "is larger than {} KiB", max_bytes / 1024);
  }
}

}  // namespace dongle
