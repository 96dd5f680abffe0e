#include "supervisor/usb_watch.h"

#include <libudev.h>

#include <algorithm>
#include <cerrno>
#include <tuple>
#include <utility>
#include <vector>

#include "common/log.h"
#include "supervisor/aside.h"

namespace dongle {
namespace {

constexpr int kReadsPerTurn = 256;  // leaves the loop to others during a flood

struct Unref {
  void operator()(udev* context) const { udev_unref(context); }
  void operator()(udev_monitor* monitor) const { udev_monitor_unref(monitor); }
  void operator()(udev_device* device) const { udev_device_unref(device); }
};

std::string id_of(const UsbDevice& device) {
  return fmt::format("{:04x}:{:04x}", device.vendor, device.product);
}

/// What came and went, for whoever dates an incident by it.
void log_difference(const UsbTree& before, const UsbTree& now) {
  for (const auto& [path, device] : before.devices) {
    const UsbDevice* other = now.find(path);
    if (other == nullptr || other->devnum != device.devnum)
      log_event(LogEvent::usb_gone, {{"usb_path", path}, {"id", id_of(device)}, {"devnum", device.devnum}});
  }
  for (const auto& [path, device] : now.devices) {
    const UsbDevice* other = before.find(path);
    if (other == nullptr || other->devnum != device.devnum)
      log_event(LogEvent::usb_came, {{"usb_path", path}, {"id", id_of(device)}, {"devnum", device.devnum}});
  }
}

}  // namespace

struct UsbWatch::Impl {
  /// Names stay while the enumeration that they were read from lasts.
  using NameKey = std::pair<std::string, int>;  // port path, devnum
  using Names = std::vector<std::pair<NameKey, UsbNames>>;

  Impl(UvLoop& loop, Source s, Options o)
      : source(std::move(s)),
        options(o),
        scanner(loop),
        name_reader(loop),
        settle_timer(loop),
        limit_timer(loop),
        slow_timer(loop),
        rescan_timer(loop) {}

  Result<void> subscribe(UvLoop& loop) {
    context.reset(udev_new());
    if (!context) return fail_errno(errno, "libudev");
    monitor.reset(udev_monitor_new_from_netlink(context.get(), "kernel"));
    if (!monitor) return fail_errno(errno, "subscribe to USB events");
    udev_monitor_filter_add_match_subsystem_devtype(monitor.get(), "usb", nullptr);
    udev_monitor_filter_add_match_subsystem_devtype(monitor.get(), "net", nullptr);
    // Without the privilege for so much the kernel's default has to do; an overrun only costs a scan.
    udev_monitor_set_receive_buffer_size(monitor.get(), options.event_buffer);
    if (int r = udev_monitor_enable_receiving(monitor.get()); r < 0) return fail_errno(-r, "subscribe to USB events");
    poll = std::make_unique<Poll>(loop, udev_monitor_get_fd(monitor.get()), UV_READABLE,
                                  [this](int, int) { read_events(); });
    return {};
  }

  void read_events() {
    bool is_stale = false;
    for (int i = 0; i < kReadsPerTurn; ++i) {
      errno = 0;
      std::unique_ptr<udev_device, Unref> event(udev_monitor_receive_device(monitor.get()));
      if (event) {
        ++counters.events;
      } else if (errno == ENOBUFS) {
        ++counters.overruns;
        log_event(LogEvent::usb_overrun, {{"overruns", counters.overruns}});
      } else {
        break;
      }
      is_stale = true;
    }
    if (is_stale) settle();
  }

  void settle() {
    settle_timer.start(options.settle, [this] { scan(); });
    if (!limit_timer.is_active()) limit_timer.start(options.settle_limit, [this] { scan(); });
  }

  void scan() {
    settle_timer.stop();
    limit_timer.stop();
    if (scanner.is_running()) {
      scan_again = true;
      return;
    }
    scan_again = false;
    auto started = scanner.start(source.scan, [this](Result<UsbTree> found) { on_scan(std::move(found)); });
    if (!started) {
      log_event(LogEvent::usb_scan_failed, {{"error", started.error().message()}, {"outcome", "retried"}});
      return;
    }
    slow_timer.start(options.slow, [this] {
      ++counters.slow_scans;
      log_event(LogEvent::usb_scan_slow, {{"after_ms", options.slow.count()}});
    });
  }

  void on_scan(Result<UsbTree> found) {
    slow_timer.stop();
    ++counters.scans;
    if (scan_again) scan();
    if (!found) {
      log_event(LogEvent::usb_scan_failed, {{"error", found.error().message()}, {"outcome", "retried"}});
      return;
    }
    take(std::move(*found));
  }

  void take(UsbTree fresh) {
    forget_names(fresh);
    for (auto& [path, device] : fresh.devices) name(device);
    read_names(fresh);
    if (fresh == tree) return;
    log_difference(tree, fresh);
    tree = std::move(fresh);
    tell();
  }

  void name(UsbDevice& device) const {
    auto it = names.find({device.path, device.devnum});
    if (it == names.end()) return;
    device.product_name = it->second.product_name;
    device.serial = it->second.serial;
  }

  void forget_names(const UsbTree& present) {
    std::erase_if(names, [&](const auto& entry) {
      const UsbDevice* device = present.find(entry.first.first);
      return device == nullptr || device->devnum != entry.first.second;
    });
  }

  void read_names(const UsbTree& present) {
    if (name_reader.is_running()) return;
    std::vector<NameKey> unnamed;
    for (const auto& [path, device] : present.devices)
      if (!names.contains({path, device.devnum})) unnamed.emplace_back(path, device.devnum);
    if (unnamed.empty()) return;
    auto read = [unnamed = std::move(unnamed), names_of = source.names] {
      Names found;
      for (const NameKey& key : unnamed) found.emplace_back(key, names_of(key.first));
      return found;
    };
    // Without a thread for it there are no names yet; the next scan tries again.
    [[maybe_unused]] auto started = name_reader.start(read, [this](Names found) { on_names(std::move(found)); });
  }

  void on_names(Names found) {
    for (auto& [key, entry] : found) names[key] = std::move(entry);
    forget_names(tree);
    UsbTree named = tree;
    for (auto& [path, device] : named.devices) name(device);
    read_names(named);  // of what came meanwhile
    if (named == tree) return;
    tree = std::move(named);
    tell();
  }

  void tell() {
    ++counters.changes;
    auto call = callback;  // a copy: the listener may replace itself
    if (call) call();
  }

  Source source;
  Options options;
  std::unique_ptr<udev, Unref> context;
  std::unique_ptr<udev_monitor, Unref> monitor;
  std::unique_ptr<Poll> poll;  // dies before the socket it watches
  Aside<Result<UsbTree>> scanner;
  Aside<Names> name_reader;
  Timer settle_timer, limit_timer, slow_timer, rescan_timer;
  bool scan_again = false;
  UsbTree tree;
  std::map<NameKey, UsbNames> names;  // of the devices that are there, so bounded as they are
  Counters counters;
  std::function<void()> callback;
};

UsbWatch::Source UsbWatch::kernel_source() {
  return {[] { return scan_usb(UsbStrings::Skip); }, read_usb_names};
}

Result<std::unique_ptr<UsbWatch>> UsbWatch::open(UvLoop& loop, Source source, Options options) {
  auto impl = std::make_unique<Impl>(loop, std::move(source), options);
  // Events first, so that nothing happens unseen between the two.
  if (auto r = impl->subscribe(loop); !r) return std::unexpected(std::move(r).error());
  auto first = impl->source.scan();
  if (!first) return std::unexpected(std::move(first).error());
  impl->tree = std::move(*first);
  impl->read_names(impl->tree);
  ++impl->counters.scans;
  impl->rescan_timer.repeat(options.rescan, [i = impl.get()] { i->scan(); });
  return std::unique_ptr<UsbWatch>(new UsbWatch(std::move(impl)));
}

Result<std::unique_ptr<UsbWatch>> UsbWatch::open(UvLoop& loop) {
  return open(loop, kernel_source(), {});
}

UsbWatch::UsbWatch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
UsbWatch::~UsbWatch() = default;

const UsbTree& UsbWatch::tree() const {
  return impl_->tree;
}
void UsbWatch::on_change(std::function<void()> callback) {
  impl_->callback = std::move(callback);
}
void UsbWatch::rescan() {
  impl_->scan();
}
const UsbWatch::Counters& UsbWatch::counters() const {
  return impl_->counters;
}

}  // namespace dongle
