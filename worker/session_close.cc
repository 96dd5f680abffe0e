#include "worker/session_close.h"

namespace dongle {
namespace {

constexpr CloseInfo kInfos[] = {
#define CLOSE(name, is_error, rep, status, text) {#name, is_error, rep, status, text},
#include "worker/session_close.def"
#undef CLOSE
};

}  // namespace

const CloseInfo& close_info(CloseReason reason) {
  return kInfos[static_cast<std::size_t>(reason)];
}

std::optional<CloseReason> close_reason_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kCloseReasons; ++i)
    if (name == kInfos[i].name) return static_cast<CloseReason>(i);
  return std::nullopt;
}

}  // namespace dongle
