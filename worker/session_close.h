#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace dongle {

/// Why a connection ended: one value for each row of session_close.def.
enum class CloseReason : std::uint8_t {
#define CLOSE(name, is_error, rep, status, text) name,
#include "worker/session_close.def"
#undef CLOSE
};

struct CloseInfo {
  const char* name;
  bool is_error;
  std::uint8_t socks_rep;  ///< 0: no answer
  int http_status;         ///< 0: no answer
  const char* text;
};
const CloseInfo& close_info(CloseReason reason);
std::optional<CloseReason> close_reason_from_name(std::string_view name);

inline constexpr std::size_t kCloseReasons = 0
#define CLOSE(name, is_error, rep, status, text) +1
#include "worker/session_close.def"
#undef CLOSE
    ;

/// Totals since the worker's start. Probes are in none of them.
struct Counters {
  std::uint64_t accepted = 0;
  std::uint64_t accept_limited = 0;  ///< times that accepting paused for want of descriptors or memory
  std::uint64_t rx_bytes = 0;        ///< modem -> client
  std::uint64_t tx_bytes = 0;        ///< client -> modem
  std::array<std::uint64_t, kCloseReasons> closed{};
};

}  // namespace dongle
