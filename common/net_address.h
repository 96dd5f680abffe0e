#pragma once
#include <netinet/in.h>

#include <array>
#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.h"

namespace dongle {

/// An IPv4 or IPv6 address as a value. Default: 0.0.0.0.
class Address {
 public:
  Address() = default;
  static Address v4(std::uint32_t host_order);
  static Address v6(std::span<const std::uint8_t, 16> bytes);
  /// Dotted quad or RFC 4291 text, nothing else: no zone, no octal, no short forms.
  static Result<Address> parse(std::string_view text);
  /// From network-order bytes, 4 or 16 of them.
  static Result<Address> from_bytes(std::span<const std::uint8_t> bytes);
  static Address from_sockaddr(const sockaddr* sa);  ///< AF_INET or AF_INET6

  bool is_v4() const { return family_ == AF_INET; }
  int family() const { return family_; }
  std::span<const std::uint8_t> bytes() const { return {bytes_.data(), is_v4() ? 4u : 16u}; }
  std::uint32_t v4_host_order() const;
  bool is_unspecified() const;
  bool is_loopback() const;
  /// ::ffff:a.b.c.d becomes a.b.c.d; everything else stays.
  Address unmapped() const;
  std::string to_string() const;
  auto operator<=>(const Address&) const = default;

 private:
  int family_ = AF_INET;
  std::array<std::uint8_t, 16> bytes_{};
};

/// An address with a prefix length. contains() compares within one family only.
struct Prefix {
  Address address;
  int length = 0;
  /// "192.168.11.0/24"; a bare address is a /32 or /128. Host bits are kept as written.
  static Result<Prefix> parse(std::string_view text);
  Prefix network() const;  ///< the same prefix with its host bits cleared
  bool contains(const Address& a) const;
  std::string to_string() const;
  auto operator<=>(const Prefix&) const = default;
};

/// An address and a port, as bind and connect take it.
struct Endpoint {
  Address address;
  std::uint16_t port = 0;
  /// "127.0.0.1:8080" or "[::1]:8080".
  static Result<Endpoint> parse(std::string_view text);
  static Endpoint from_sockaddr(const sockaddr* sa);
  /// Fills `out`, returns the length to pass along with it.
  socklen_t to_sockaddr(sockaddr_storage& out) const;
  std::string to_string() const;
  auto operator<=>(const Endpoint&) const = default;
};

/// A host name or address with a port, not resolved: "example.com:443", "[2001:db8::1]:80".
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
  static Result<HostPort> parse(std::string_view text);
  auto operator<=>(const HostPort&) const = default;
};

/// Whole decimal number, no sign, no blanks, within [min, max].
Result<std::uint64_t> parse_decimal(std::string_view text, std::uint64_t min, std::uint64_t max);

}  // namespace dongle
