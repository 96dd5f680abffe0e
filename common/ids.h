#pragma once
#include <compare>
#include <cstdint>
#include <functional>

#include <fmt/core.h>

namespace dongle {

/// The number a dongle is known by: 1..252. Also its routing table, its port offset, its worker's uid offset.
struct DongleId {
  std::uint8_t value = 0;
  constexpr DongleId() = default;
  constexpr explicit DongleId(unsigned v) : value(static_cast<std::uint8_t>(v)) {}
  auto operator<=>(const DongleId&) const = default;
};
inline constexpr unsigned kMinDongleId = 1;
inline constexpr unsigned kMaxDongleId = 252;  // 253..255 are the kernel's own tables

/// A network device's index; it changes whenever a stick enumerates again. 0: none.
struct IfIndex {
  int value = 0;
  constexpr IfIndex() = default;
  constexpr explicit IfIndex(int v) : value(v) {}
  explicit constexpr operator bool() const { return value > 0; }
  auto operator<=>(const IfIndex&) const = default;
};

/// A kernel routing table.
struct TableId {
  std::uint32_t value = 0;
  constexpr TableId() = default;
  constexpr explicit TableId(std::uint32_t v) : value(v) {}
  static constexpr TableId of(DongleId id) { return TableId{id.value}; }
  auto operator<=>(const TableId&) const = default;
};

}  // namespace dongle

template <>
struct fmt::formatter<dongle::DongleId> : fmt::formatter<unsigned> {
  auto format(dongle::DongleId id, fmt::format_context& ctx) const {
    return fmt::formatter<unsigned>::format(id.value, ctx);
  }
};
template <>
struct std::hash<dongle::DongleId> {
  std::size_t operator()(dongle::DongleId id) const noexcept { return id.value; }
};
