#include "supervisor/host_sysctl.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/net_address.h"
#include "common/unique_fd.h"
#include "supervisor/netlink_types.h"

namespace dongle {
namespace {

constexpr int kStrict = 1;
constexpr int kLoose = 2;

// Paths, not sysctl names: a device's name may contain dots.
std::string rp_filter_path(const std::string& device) {
  return "net/ipv4/conf/" + device + "/rp_filter";
}
std::string accept_ra_path(const std::string& device) {
  return "net/ipv6/conf/" + device + "/accept_ra";
}
std::string path_of(const HostSysctl::Deviation& d) {
  return d.key == "rp_filter" ? rp_filter_path(d.device) : accept_ra_path(d.device);
}

}  // namespace

HostSysctl::HostSysctl(std::filesystem::path base) : base_(std::move(base)) {}

Result<void> HostSysctl::apply(const std::string& device, IfIndex index) {
  if (!is_plain_device_name(device)) return fail(Errc::InvalidArgument, "\"{}\" is no device name", device);
  auto there = read(rp_filter_path(device));
  if (!there) return wrap(std::move(there).error(), "device {}", device);
  Saved& saved = devices_[device];
  if (saved.index != index) saved = {index, {}};  // another device of that name: the old values were another's
  for (const Deviation& deviation : deviations(device))
    if (auto r = correct(deviation, saved); !r) return wrap(std::move(r).error(), "device {}", device);
  return {};
}

Result<void> HostSysctl::correct(const Deviation& deviation, Saved& saved) {
  std::string path = path_of(deviation);
  auto before = read(path);
  if (!before) return std::unexpected(std::move(before).error());
  if (auto r = write(path, deviation.wanted); !r) return r;
  saved.values.try_emplace(path, *before);  // the first value is the host's own
  return {};
}

std::vector<HostSysctl::Deviation> HostSysctl::check() const {
  std::vector<Deviation> all;
  for (const auto& [device, saved] : devices_) {
    auto found = deviations(device);
    all.insert(all.end(), found.begin(), found.end());
  }
  return all;
}

std::vector<HostSysctl::Deviation> HostSysctl::deviations(const std::string& device) const {
  std::vector<Deviation> found;
  // A value that can't be read belongs to a device that is going; its absence is reported by netlink.
  auto own = read(rp_filter_path(device));
  auto all = read(rp_filter_path("all"));
  if (own && std::max(*own, all ? *all : 0) == kStrict) found.push_back({device, "rp_filter", kStrict, kLoose});
  auto accept_ra = read(accept_ra_path(device));  // missing where the host has no IPv6
  if (accept_ra && *accept_ra != 0) found.push_back({device, "accept_ra", *accept_ra, 0});
  return found;
}

void HostSysctl::restore(const std::string& device, IfIndex current_index) {
  auto it = devices_.find(device);
  if (it == devices_.end()) return;
  if (it->second.index == current_index) {
    for (const auto& [path, value] : it->second.values) {
      // The device may go while we write; there is nothing to put back then.
      [[maybe_unused]] auto ignored = write(path, value);
    }
  }
  devices_.erase(it);
}

Result<int> HostSysctl::read(const std::string& path) const {
  UniqueFd fd(open((base_ / path).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "read {}", path);
  char buffer[32];
  ssize_t size = ::read(fd.get(), buffer, sizeof buffer);
  if (size < 0) return fail_errno(errno, "read {}", path);
  std::string_view text(buffer, static_cast<std::size_t>(size));
  text = text.substr(0, text.find('\n'));
  auto value = parse_decimal(text, 0, 255);
  if (!value) return wrap(std::move(value).error(), "read {}", path);
  return static_cast<int>(*value);
}

Result<void> HostSysctl::write(const std::string& path, int value) const {
  UniqueFd fd(open((base_ / path).c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "write {}", path);
  std::string text = fmt::format("{}\n", value);
  if (::write(fd.get(), text.data(), text.size()) < 0) return fail_errno(errno, "write {}", path);
  return {};
}

}  // namespace dongle
