#include "supervisor/dhcp_lease.h"

#include <algorithm>
#include <array>

namespace dongle {
namespace {

/// Whether one host may have it: not 0/8, loopback, multicast, reserved or broadcast.
bool is_host_address(const Address& a) {
  if (!a.is_v4()) return false;
  std::uint32_t first = a.v4_host_order() >> 24;
  return first != 0 && first != 127 && first < 224;
}

bool is_network_or_broadcast(const Prefix& subnet, const Address& a) {
  if (subnet.length > 30) return false;
  std::uint32_t host_mask = 0xffffffffu >> subnet.length;
  std::uint32_t host = a.v4_host_order() & host_mask;
  return host == 0 || host == host_mask;
}

bool overlap(const Prefix& a, const Prefix& b) {
  return a.network().contains(b.address) || b.network().contains(a.address);
}

Result<Address> host_address(std::string_view text, std::string_view what) {
  auto address = Address::parse(text);
  if (!address || !is_host_address(*address)) return fail(Errc::Protocol, "DHCP: {} is no usable address", what);
  return *address;
}

std::vector<Address> dns_servers(std::string_view text) {
  std::vector<Address> servers;
  while (!text.empty() && servers.size() < kMaxDnsServers) {
    auto space = text.find(' ');
    auto address = Address::parse(text.substr(0, space));
    if (address && is_host_address(*address) && std::ranges::find(servers, *address) == servers.end())
      servers.push_back(*address);
    text = space == text.npos ? std::string_view() : text.substr(space + 1);
  }
  return servers;
}

using Fields = std::array<std::string_view, 6>;

/// Exactly six fields; a tab in a value would have made more.
std::optional<Fields> split(std::string_view line) {
  Fields fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    auto tab = line.find('\t');
    if ((tab == line.npos) != (i + 1 == fields.size())) return std::nullopt;
    fields[i] = line.substr(0, tab);
    if (tab != line.npos) line.remove_prefix(tab + 1);
  }
  return fields;
}

Result<DhcpLease> parse_lease(const Fields& fields, std::span<const Prefix> forbidden) {
  DhcpLease lease;
  auto address = host_address(fields[1], "the address offered");
  if (!address) return std::unexpected(std::move(address).error());
  auto length = parse_decimal(fields[2], 8, 32);
  if (!length) return fail(Errc::Protocol, "DHCP: the subnet's prefix length is not between 8 and 32");
  lease.address = {*address, static_cast<int>(*length)};
  if (is_network_or_broadcast(lease.address, *address))
    return fail(Errc::Protocol, "DHCP: {} is no host's address", lease.address.to_string());

  if (!fields[3].empty()) {
    auto gateway = host_address(fields[3], "the gateway");
    if (!gateway) return std::unexpected(std::move(gateway).error());
    // Modems that lease a single address (/32) have a gateway outside of it; it is reached on the link.
    bool inside = lease.address.network().contains(*gateway) && !is_network_or_broadcast(lease.address, *gateway);
    if (*gateway == *address || (lease.address.length < 32 && !inside))
      return fail(Errc::Protocol, "DHCP: gateway {} is not a neighbour of {}", gateway->to_string(),
                  lease.address.to_string());
    lease.gateway = *gateway;
  }
  lease.dns = dns_servers(fields[4]);
  auto seconds = parse_decimal(fields[5], 1, 0xffffffffu);
  if (!seconds) return fail(Errc::Protocol, "DHCP: a lease without duration");
  lease.duration = Seconds{static_cast<std::int64_t>(*seconds)};

  if (auto r = check_overlap(lease.address, forbidden); !r) return std::unexpected(std::move(r).error());
  return lease;
}

}  // namespace

Result<void> check_overlap(const Prefix& subnet, std::span<const Prefix> forbidden) {
  for (const Prefix& other : forbidden)
    if (overlap(subnet, other))
      return fail(Errc::Refused, "DHCP: {} overlaps {}, which the host has elsewhere: change the modem's subnet",
                  subnet.to_string(), other.network().to_string());
  return {};
}

Result<DhcpEvent> parse_dhcp_report(std::string_view line, std::span<const Prefix> forbidden) {
  if (line.size() > kMaxDhcpLine) return fail(Errc::Protocol, "DHCP: an overlong report");
  auto fields = split(line);
  if (!fields) return fail(Errc::Protocol, "DHCP: a report that has not six fields");
  std::string_view event = (*fields)[0];
  if (event == "bound" || event == "renew") {
    auto lease = parse_lease(*fields, forbidden);
    if (!lease) return std::unexpected(std::move(lease).error());
    return DhcpEvent(std::move(*lease));
  }
  if (event == "deconfig") return DhcpEvent(DhcpDeconfig{});
  if (event == "leasefail") return DhcpEvent(DhcpNoAnswer{});
  if (event == "nak") return DhcpEvent(DhcpRefusal{});
  return fail(Errc::Protocol, "DHCP: an unknown event");
}

}  // namespace dongle
