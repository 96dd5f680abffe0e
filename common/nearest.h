#pragma once
#include <span>
#include <string>
#include <string_view>

namespace dongle {

/// The candidate that `word` is most likely a misspelling of; empty if none is near enough to be worth suggesting.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace dongle
