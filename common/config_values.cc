#include "common/config_values.h"

#include <algorithm>
#include <array>

namespace dongle {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t ms;
};
constexpr std::array kUnits{Unit{"d", 86'400'000}, Unit{"h", 3'600'000}, Unit{"m", 60'000}, Unit{"s", 1000},
                            Unit{"ms", 1}};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// Numbers with `separator` between them: "1.2.3".
bool is_number_list(std::string_view text, char separator) {
  bool want_digit = true;
  for (char c : text) {
    if (is_digit(c)) {
      want_digit = false;
    } else if (c == separator && !want_digit) {
      want_digit = true;
    } else {
      return false;
    }
  }
  return !want_digit;
}

struct UrlParts {
  std::string_view scheme;
  HostPort host;  // port 0: none was written
  std::string_view path;
};

Result<UrlParts> split_http_url(std::string_view text) {
  auto bad = [&](std::string_view why) { return fail(Errc::InvalidArgument, "\"{}\": {}", text, why); };
  UrlParts parts;
  if (text.starts_with("http://")) parts.scheme = "http://";
  if (text.starts_with("https://")) parts.scheme = "https://";
  if (parts.scheme.empty()) return bad("expected a URL that starts with http:// or https://");
  for (char c : text)
    if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>')
      return bad("a URL has neither blanks nor special characters; write them as %XX");
  auto rest = text.substr(parts.scheme.size());
  auto end = std::min(rest.find_first_of("/?#"), rest.size());
  auto host = rest.substr(0, end);
  parts.path = rest.substr(end);
  if (host.find('@') != host.npos) return bad("a user name or password in the URL is not supported");
  bool has_port = host.find(':', host.starts_with('[') ? std::min(host.find(']'), host.size()) : 0) != host.npos;
  auto parsed = HostPort::parse(has_port ? std::string(host) : std::string(host) + ":1");
  if (!parsed) return bad("expected HOST or HOST:PORT behind the scheme");
  parts.host = *parsed;
  if (!has_port) parts.host.port = 0;
  return parts;
}

}  // namespace

Result<Millis> parse_duration(std::string_view text) {
  auto bad = [&](std::string_view hint) {
    return fail(Errc::InvalidArgument, "\"{}\" is not a duration: {}", text, hint);
  };
  constexpr std::string_view kForm = "expected a number and a unit, as in 250ms, 10s, 5m, 1h or 1h30m";
  if (parse_decimal(text, 0, UINT64_MAX)) return bad(fmt::format("it has no unit; write {}s", text));
  std::int64_t total = 0;
  std::size_t next_unit = 0;
  auto rest = text;
  while (!rest.empty() || text.empty()) {
    auto digits = std::ranges::find_if_not(rest, is_digit) - rest.begin();
    auto number = parse_decimal(rest.substr(0, static_cast<std::size_t>(digits)), 0, 1'000'000'000);
    if (!number) return bad(kForm);
    rest.remove_prefix(static_cast<std::size_t>(digits));
    auto letters = std::min(rest.find_first_of("0123456789"), rest.size());
    auto unit = std::find_if(kUnits.begin() + static_cast<std::ptrdiff_t>(next_unit), kUnits.end(),
                             [&](const Unit& u) { return u.name == rest.substr(0, letters); });
    if (unit == kUnits.end()) return bad(kForm);
    total += static_cast<std::int64_t>(*number) * unit->ms;
    next_unit = static_cast<std::size_t>(unit - kUnits.begin()) + 1;
    rest.remove_prefix(letters);
  }
  return Millis{total};
}

Result<std::string> parse_interface_name(std::string_view text) {
  bool fits = !text.empty() && text.size() <= 15 && text != "." && text != "..";
  for (char c : text) fits = fits && c > ' ' && c != '/' && c != ':' && c != 0x7f;
  if (!fits)
    return fail(Errc::InvalidArgument, "\"{}\" is not an interface name: 1 to 15 characters, no blanks, no '/'", text);
  return std::string(text);
}

Result<std::string> parse_mac(std::string_view text) {
  bool fits = text.size() == 17;
  std::string mac;
  for (std::size_t i = 0; fits && i < text.size(); ++i) {
    char c = text[i];
    fits = i % 3 == 2 ? (c == ':' || c == '-') && c == text[2] : is_hex(c);
    mac += i % 3 == 2 ? ':' : c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  if (!fits) return fail(Errc::InvalidArgument, "\"{}\" is not a MAC address such as 0c:5b:8f:27:9a:64", text);
  return mac;
}

Result<std::string> parse_usb_path(std::string_view text) {
  auto bad = [&] {
    return fail(Errc::InvalidArgument, "\"{}\" is not a USB port path such as 2-1.1 (see `lsusb -t` or sysfs)", text);
  };
  if (text.size() > 64) return bad();
  auto dash = text.rfind('-');
  if (dash == text.npos || dash == 0) return bad();
  auto bus = text.substr(0, dash);
  auto ports = text.substr(dash + 1);
  bool fits = std::ranges::all_of(bus, is_digit) && is_number_list(ports, '.');
  if (bus.ends_with("-usb") && ports.starts_with("0:")) {  // udev's ID_PATH form: CONTROLLER-usb-0:PORTS
    fits = is_number_list(ports.substr(2), '.');
    for (char c : bus) fits = fits && c > ' ' && c < 0x7f && c != '/';
  }
  if (!fits) return bad();
  return std::string(text);
}

Result<std::string> parse_http_url(std::string_view text) {
  auto parts = split_http_url(text);
  if (!parts) return std::unexpected(std::move(parts).error());
  return std::string(text);
}

Result<std::string> parse_modem_url(std::string_view text) {
  auto parts = split_http_url(text);
  if (!parts) return std::unexpected(std::move(parts).error());
  if (!Address::parse(parts->host.host))
    return fail(Errc::InvalidArgument,
                "\"{}\": expected an IP address as host; a name can't be resolved through the modem", text);
  if (!parts->path.empty() && parts->path != "/")
    return fail(Errc::InvalidArgument, "\"{}\": expected http://ADDRESS or http://ADDRESS:PORT without a path", text);
  return std::string(text.substr(0, text.size() - parts->path.size()));
}

Result<ProbeTarget> parse_probe_target(std::string_view text) {
  constexpr std::string_view kTcp = "tcp://";
  if (text.starts_with(kTcp)) {
    auto host = HostPort::parse(text.substr(kTcp.size()));
    if (!host || host->host.find_first_of(" /@\t") != std::string::npos)
      return fail(Errc::InvalidArgument, "\"{}\": expected tcp://HOST:PORT", text);
    return ProbeTarget{ProbeTarget::Kind::Tcp, std::string(text), *host};
  }
  if (!text.starts_with("http"))
    return fail(Errc::InvalidArgument, "\"{}\": expected http://…, https://… or tcp://HOST:PORT", text);
  auto url = parse_http_url(text);
  if (!url) return std::unexpected(std::move(url).error());
  return ProbeTarget{ProbeTarget::Kind::Http, *url, {}};
}

Result<Prefix> parse_host_prefix(std::string_view text) {
  if (auto bare = Address::parse(text))
    return fail(Errc::InvalidArgument, "\"{0}\" has no prefix length; write {0}/24", text);
  auto prefix = Prefix::parse(text);
  if (!prefix || !prefix->address.is_v4() || prefix->length < 8 || prefix->length > 30)
    return fail(
        Errc::InvalidArgument,
        "\"{}\" is not dhcp, auto, or an IPv4 address with a prefix length of 8 to 30 such as 192.168.11.100/24", text);
  std::uint32_t first_octet = prefix->address.v4_host_order() >> 24;
  if (first_octet == 0 || first_octet == 127 || first_octet >= 224)
    return fail(Errc::InvalidArgument, "\"{}\" can't be the address of an interface", text);
  if (!is_host_of(*prefix, prefix->address))
    return fail(Errc::InvalidArgument,
                "\"{}\" is the subnet's network or broadcast address; write a host's, such as {}/{}", text,
                first_host(*prefix).to_string(), prefix->length);
  return *prefix;
}

Address first_host(const Prefix& prefix) {
  return Address::v4(prefix.network().address.v4_host_order() + 1);
}

bool is_host_of(const Prefix& prefix, const Address& address) {
  if (!prefix.contains(address)) return false;
  std::uint32_t host_mask = 0xffffffffu >> prefix.length;
  std::uint32_t host = address.v4_host_order() & host_mask;
  return host != 0 && host != host_mask;
}

}  // namespace dongle
