#pragma once
#include <sched.h>
#include <sys/mount.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

namespace dongle {

/// Runs `body` on a thread that has a /sys of its own, an empty one to be filled with `write` and `link`: libudev reads
/// USB from there only. False: not allowed here (it takes root).
class FakeSys {
 public:
  static bool run(const std::function<void(FakeSys&)>& body) {
    // libudev doubts a /sys that isn't the kernel's.
    setenv("SYSTEMD_DEVICE_VERIFY_SYSFS", "0", 1);
    bool is_allowed = false;
    std::thread([&] {
      is_allowed = unshare(CLONE_NEWNS) == 0 && mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                   mount("none", "/sys", "tmpfs", 0, "size=1m") == 0;
      FakeSys sys;
      if (is_allowed) body(sys);
    }).join();
    unsetenv("SYSTEMD_DEVICE_VERIFY_SYSFS");
    return is_allowed;
  }

  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << text << '\n';
  }
  void link(const std::string& path, const std::string& target) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::filesystem::create_symlink(target, path);
  }

  struct Attribute {
    const char* name;
    const char* value;
  };
  /// A device or an interface of the USB bus, with its attributes, as the kernel shows it.
  void usb(const std::string& folder, std::initializer_list<Attribute> attributes, const std::string& driver = "") {
    std::string name = std::filesystem::path(folder).filename();
    bool is_interface = name.find(':') != std::string::npos;
    write(folder + "/uevent", is_interface ? "DEVTYPE=usb_interface" : "DEVTYPE=usb_device");
    link(folder + "/subsystem", "/sys/bus/usb");
    link("/sys/bus/usb/devices/" + name, folder);
    for (const auto& [attribute, value] : attributes) write(folder + "/" + attribute, value);
    if (driver.empty()) return;
    std::filesystem::create_directories("/sys/bus/usb/drivers/" + driver);
    link(folder + "/driver", "/sys/bus/usb/drivers/" + driver);
  }
};

}  // namespace dongle
