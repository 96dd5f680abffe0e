#pragma once
// Messages between the supervisor and a worker, over a SOCK_SEQPACKET unix socket (worker.sock): one JSON object a
// packet, descriptors beside it by SCM_RIGHTS. The worker connects and says Hello; the supervisor answers Setup.
//
// Version history
//   1  first version
//
// A side ignores keys that it doesn't know, so that an old worker serves on under a new supervisor.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/ids.h"
#include "common/net_address.h"

namespace dongle {

inline constexpr int kIpcVersion = 1;
/// A Setup with every list at its configured limit fits; so does this in a socket's default send buffer (208 KiB).
inline constexpr std::size_t kIpcMaxMessage = 192 * 1024;
inline constexpr std::size_t kIpcMaxFds = 8;

/// Worker -> supervisor, first on every connection. Descriptors: the listening sockets it holds, in `ports` order
/// (none at its first registration), so that a new supervisor gets them back.
struct Hello {
  int version = kIpcVersion;
  DongleId id;
  int pid = 0;
  std::vector<std::uint16_t> ports;
  bool operator==(const Hello&) const = default;
};

/// Supervisor -> worker: everything it works with. Sent after Hello and whenever something in it changes; replaces
/// the one before. Descriptors: listening sockets for `ports`, or none: keep those you have.
struct Setup {
  std::string device;  ///< empty: no device now, refuse new connections at once and end the open ones
  IfIndex ifindex;
  std::optional<Address> source_v4;  ///< address of the device; absent: family not usable
  std::optional<Address> source_v6;
  std::vector<Address> dns_servers;  ///< asked through the device, in this order
  std::vector<std::uint16_t> ports;
  std::vector<Prefix> clients;  ///< who may connect; empty: everyone who reaches the port
  std::vector<Prefix> allow_destinations;
  std::vector<Address> denied_destinations;  ///< the modems' own addresses, whatever their range
  bool refuse_clients = false;               ///< authentication is configured but can't be checked: refuse everyone
  int max_connections = 2000;
  int max_connections_per_client = 100;
  Millis connect_timeout{10000};
  Millis handshake_timeout{10000};
  Millis idle_timeout{600000};
  bool operator==(const Setup&) const = default;
};

/// Supervisor -> worker. Descriptor: one connected stream socket, to be served as a client of this worker that is
/// always allowed, may reach any address (the operator named it), and isn't counted as traffic: a probe.
struct ServeProbe {
  bool operator==(const ServeProbe&) const = default;
};

/// Supervisor -> worker: end every connection with RST (the public address changes) and forget cached names.
struct DropConnections {
  std::string reason;  ///< a close reason: "rotation", "device_gone"
  bool operator==(const DropConnections&) const = default;
};

/// Supervisor -> worker: stop accepting, let connections finish for `drain`, then exit 0.
struct Stop {
  Millis drain{0};
  bool operator==(const Stop&) const = default;
};

/// Supervisor -> worker. Descriptor: the log file to write to from now on (the old one was rotated).
struct LogFile {
  bool operator==(const LogFile&) const = default;
};

/// Worker -> supervisor: its state, at once after Setup is in force and then once a second while anything changes.
/// Counters are totals since the worker's start.
struct Report {
  std::uint64_t connections = 0;  ///< open now, probes not counted
  std::uint64_t accepted = 0;
  std::uint64_t rx_bytes = 0;                                 ///< modem -> client
  std::uint64_t tx_bytes = 0;                                 ///< client -> modem
  std::vector<std::pair<std::string, std::uint64_t>> closed;  ///< close reason -> how many
  bool listening = false;
  std::vector<std::pair<std::string, std::uint64_t>> counters;  ///< others by name, "accept_limited"; may be absent
  bool operator==(const Report&) const = default;
};

/// Worker -> supervisor: how a client's connection to a target went; the health's first evidence. Sent at once for a
/// failure, and for the first success after a failure; otherwise at most once a second for success. A refusal by the
/// target itself (RST) proves the way out and counts as success; guard and client errors aren't reported.
struct DialResult {
  bool ok = false;
  std::string reason;  ///< for a failure: "connect_timeout", "unreachable", "dns_timeout", "dns_failed", "no_device"
  bool operator==(const DialResult&) const = default;
};

/// Worker -> supervisor: its device went away; it has closed what went through it.
struct DeviceGone {
  IfIndex ifindex;
  bool operator==(const DeviceGone&) const = default;
};

using IpcMessage =
    std::variant<Hello, Setup, ServeProbe, DropConnections, Stop, LogFile, Report, DialResult, DeviceGone>;

/// One packet's bytes, at most kIpcMaxMessage.
std::string encode_ipc(const IpcMessage& message);
/// Protocol error for anything that isn't a message of ours; never throws.
Result<IpcMessage> decode_ipc(std::string_view packet);

}  // namespace dongle
