#pragma once
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/config.h"

namespace dongle {

// The forms that single configuration values take. Errors name the value and the form that is wanted.

/// "250ms", "10s", "5m", "1h30m", "1d": each unit once, largest first.
Result<Millis> parse_duration(std::string_view text);

/// A network device's name: 1 to 15 characters, no '/', ':' or blank.
Result<std::string> parse_interface_name(std::string_view text);
/// Six pairs of hexadecimal digits with colons or dashes; returned in lower case with colons.
Result<std::string> parse_mac(std::string_view text);
/// A USB port path as sysfs writes it, "2-1.1", also with the controller in front, "pci-0000:00:14.0-usb-0:1.1".
Result<std::string> parse_usb_path(std::string_view text);

/// http:// or https:// with a host, an optional port and an optional path; no user, no blanks.
Result<std::string> parse_http_url(std::string_view text);
/// The same with a literal address and no path: a name would have to be resolved outside the modem.
Result<std::string> parse_modem_url(std::string_view text);
/// http://, https:// or tcp://HOST:PORT.
Result<ProbeTarget> parse_probe_target(std::string_view text);

/// An IPv4 address of a host with its prefix length (8 to 30): neither the network's nor the broadcast address.
Result<Prefix> parse_host_prefix(std::string_view text);
Address first_host(const Prefix& prefix);  ///< IPv4 only
/// The address can be a host's on this IPv4 subnet: inside it, and neither its first nor its last address.
bool is_host_of(const Prefix& prefix, const Address& address);

}  // namespace dongle
