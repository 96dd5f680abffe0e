#pragma once
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "common/unique_fd.h"

namespace dongle {

/// A file that holds whoever opens it in the kernel, deaf to SIGKILL, as a driver does that waits for a dead device: a
/// FUSE file system in a mount namespace of this thread's, which takes each request and never answers. Everyone is let
/// go when this ends. Needs root.
class StuckFile {
 public:
  StuckFile() {
    std::string pattern = (std::filesystem::temp_directory_path() / "stuck-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    fd_.reset(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    if (!fd_ || unshare(CLONE_NEWNS) != 0) return;
    mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    std::string options = "fd=" + std::to_string(fd_.get()) + ",rootmode=40000,user_id=0,group_id=0";
    is_mounted_ = mount("stuck", folder_.c_str(), "fuse", 0, options.c_str()) == 0 && greet();
    if (is_mounted_) reader_ = std::thread([this] { take_requests(); });
  }
  ~StuckFile() {
    if (reader_.joinable()) {
      eventfd_write(stop_.get(), 1);
      reader_.join();
    }
    fd_.reset();  // ends the connection: who waits for an answer gets an error
    if (is_mounted_) umount2(folder_.c_str(), MNT_DETACH);
    rmdir(folder_.c_str());
  }
  /// False: this user or machine can't have one.
  explicit operator bool() const { return is_mounted_; }
  std::string path() const { return folder_ + "/stuck"; }

 private:
  bool greet() {
    auto* header = reinterpret_cast<fuse_in_header*>(buffer_.data());
    if (read(fd_.get(), buffer_.data(), buffer_.size()) < 0 || header->opcode != FUSE_INIT) return false;
    struct {
      fuse_out_header out;
      fuse_init_out init;
    } answer{};
    answer.out.len = sizeof answer;
    answer.out.unique = header->unique;
    answer.init.major = FUSE_KERNEL_VERSION;
    answer.init.minor = FUSE_KERNEL_MINOR_VERSION;
    answer.init.max_write = 4096;
    return write(fd_.get(), &answer, sizeof answer) > 0;
  }
  void take_requests() {
    for (;;) {
      pollfd waiting[] = {{fd_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      poll(waiting, 2, -1);
      if (waiting[1].revents) return;
      if (read(fd_.get(), buffer_.data(), buffer_.size()) < 0 && errno != EINTR && errno != EAGAIN) return;
    }
  }

  std::string folder_;
  UniqueFd fd_, stop_{eventfd(0, EFD_CLOEXEC)};
  bool is_mounted_ = false;
  std::vector<char> buffer_ = std::vector<char>(1 << 20);
  std::thread reader_;
};

}  // namespace dongle
