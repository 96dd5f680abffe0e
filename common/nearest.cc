#include "common/nearest.h"

#include <algorithm>
#include <vector>

namespace dongle {
namespace {

// Longer words are nobody's misspelling, and the distance costs the product of the lengths.
constexpr std::size_t kMaxWord = 64;

// Insertions, deletions, replacements, and swaps of neighbours that turn `a` into `b`.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = last;
    last = row;
  }
  return last[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  if (word.empty() || word.size() > kMaxWord) return {};
  std::string best;
  std::size_t best_distance = word.size() / 3 + 2;  // exclusive: one slip in a short word, a few in a long one
  for (const std::string& candidate : candidates) {
    std::size_t distance = edit_distance(word, candidate);
    // "port" for "port_base": too far by letters, yet plainly meant.
    if (distance >= best_distance && word.size() >= 4 && candidate.starts_with(word)) distance = best_distance - 1;
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace dongle
