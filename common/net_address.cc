#include "common/net_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

namespace dongle {

Address Address::v4(std::uint32_t host_order) {
  Address a;
  std::uint32_t net = htonl(host_order);
  std::memcpy(a.bytes_.data(), &net, 4);
  return a;
}

Address Address::v6(std::span<const std::uint8_t, 16> bytes) {
  Address a;
  a.family_ = AF_INET6;
  std::ranges::copy(bytes, a.bytes_.begin());
  return a;
}

Result<Address> Address::parse(std::string_view text) {
  // inet_pton wants a terminated string; an embedded NUL would end it early and hide what follows.
  if (text.size() >= INET6_ADDRSTRLEN || text.find('\0') != text.npos)
    return fail(Errc::InvalidArgument, "not an IP address");
  char buffer[INET6_ADDRSTRLEN] = {};
  text.copy(buffer, text.size());
  Address a;
  if (inet_pton(AF_INET, buffer, a.bytes_.data()) == 1) return a;
  a.family_ = AF_INET6;
  if (inet_pton(AF_INET6, buffer, a.bytes_.data()) == 1) return a;
  return fail(Errc::InvalidArgument, "\"{}\" is not an IP address", text);
}

Result<Address> Address::from_bytes(std::span<const std::uint8_t> bytes) {
  if (bytes.size() != 4 && bytes.size() != 16)
    return fail(Errc::InvalidArgument, "an address of {} bytes", bytes.size());
  Address a;
  a.family_ = bytes.size() == 4 ? AF_INET : AF_INET6;
  std::ranges::copy(bytes, a.bytes_.begin());
  return a;
}

Address Address::from_sockaddr(const sockaddr* sa) {
  return Endpoint::from_sockaddr(sa).address;
}

std::uint32_t Address::v4_host_order() const {
  std::uint32_t net = 0;
  std::memcpy(&net, bytes_.data(), 4);
  return ntohl(net);
}

bool Address::is_unspecified() const {
  return std::ranges::all_of(bytes(), [](std::uint8_t b) { return b == 0; });
}

bool Address::is_loopback() const {
  if (is_v4()) return bytes_[0] == 127;
  return std::ranges::all_of(bytes().first(15), [](std::uint8_t b) { return b == 0; }) && bytes_[15] == 1;
}

Address Address::unmapped() const {
  static constexpr std::uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (is_v4() || !std::equal(std::begin(kMapped), std::end(kMapped), bytes_.begin())) return *this;
  Address a;
  std::copy_n(bytes_.begin() + 12, 4, a.bytes_.begin());
  return a;
}

std::string Address::to_string() const {
  char buffer[INET6_ADDRSTRLEN] = {};
  inet_ntop(family_, bytes_.data(), buffer, sizeof buffer);
  return buffer;
}

Result<Prefix> Prefix::parse(std::string_view text) {
  auto slash = text.find('/');
  auto address = Address::parse(text.substr(0, slash));
  if (!address) return std::unexpected(std::move(address).error());
  int longest = address->is_v4() ? 32 : 128;
  if (slash == text.npos) return Prefix{*address, longest};
  auto length = parse_decimal(text.substr(slash + 1), 0, static_cast<std::uint64_t>(longest));
  if (!length) return fail(Errc::InvalidArgument, "\"{}\": the prefix length must be 0 to {}", text, longest);
  return Prefix{*address, static_cast<int>(*length)};
}

Prefix Prefix::network() const {
  std::array<std::uint8_t, 16> masked{};
  auto bytes = address.bytes();
  for (int i = 0; i < static_cast<int>(bytes.size()); ++i) {
    int bits = std::clamp(length - i * 8, 0, 8);
    masked[static_cast<size_t>(i)] = static_cast<std::uint8_t>(bytes[static_cast<size_t>(i)] & (0xff << (8 - bits)));
  }
  return {Address::from_bytes(std::span(masked).first(bytes.size())).value(), length};
}

bool Prefix::contains(const Address& a) const {
  return a.family() == address.family() && Prefix{a, length}.network().address == network().address;
}

std::string Prefix::to_string() const {
  return fmt::format("{}/{}", address.to_string(), length);
}

Result<Endpoint> Endpoint::parse(std::string_view text) {
  auto parts = HostPort::parse(text);
  if (!parts) return std::unexpected(std::move(parts).error());
  auto address = Address::parse(parts->host);
  if (!address) return std::unexpected(std::move(address).error());
  return Endpoint{*address, parts->port};
}

Endpoint Endpoint::from_sockaddr(const sockaddr* sa) {
  if (sa->sa_family == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(sa);
    return {Address::v6(std::span<const std::uint8_t, 16>(in6->sin6_addr.s6_addr)), ntohs(in6->sin6_port)};
  }
  if (sa->sa_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(sa);
    return {Address::v4(ntohl(in->sin_addr.s_addr)), ntohs(in->sin_port)};
  }
  return {};
}

socklen_t Endpoint::to_sockaddr(sockaddr_storage& out) const {
  std::memset(&out, 0, sizeof out);
  if (address.is_v4()) {
    auto& in = reinterpret_cast<sockaddr_in&>(out);
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, address.bytes().data(), 4);
    return sizeof in;
  }
  auto& in6 = reinterpret_cast<sockaddr_in6&>(out);
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  std::memcpy(&in6.sin6_addr, address.bytes().data(), 16);
  return sizeof in6;
}

std::string Endpoint::to_string() const {
  return fmt::format(fmt::runtime(address.is_v4() ? "{}:{}" : "[{}]:{}"), address.to_string(), port);
}

Result<HostPort> HostPort::parse(std::string_view text) {
  auto bad = [&] { return fail(Errc::InvalidArgument, "\"{}\" is not HOST:PORT", text); };
  auto colon = text.rfind(':');
  if (colon == text.npos || text.find('\0') != text.npos) return bad();
  auto host = text.substr(0, colon);
  auto port = parse_decimal(text.substr(colon + 1), 1, 65535);
  if (!port) return fail(Errc::InvalidArgument, "\"{}\": the port must be 1 to 65535", text);
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return bad();
    host = host.substr(1, host.size() - 2);
    auto v6 = Address::parse(host);
    if (!v6 || v6->is_v4()) return bad();
  } else if (host.find(':') != host.npos) {
    return fail(Errc::InvalidArgument, "\"{}\": an IPv6 address stands in brackets, as in [::1]:80", text);
  }
  if (host.empty()) return bad();
  return HostPort{std::string(host), static_cast<std::uint16_t>(*port)};
}

Result<std::uint64_t> parse_decimal(std::string_view text, std::uint64_t min, std::uint64_t max) {
  std::uint64_t value = 0;
  if (text.empty() || text.size() > 19) return fail(Errc::InvalidArgument, "\"{}\" is not a number", text);
  for (char c : text) {
    if (c < '0' || c > '9') return fail(Errc::InvalidArgument, "\"{}\" is not a number", text);
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  if (value < min || value > max) return fail(Errc::InvalidArgument, "{} is not within {} to {}", value, min, max);
  return value;
}

}  // namespace dongle
