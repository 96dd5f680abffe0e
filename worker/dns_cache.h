#pragma once
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "common/net_address.h"

namespace dongle {

/// Answers by name, each for as long as its TTL says, within bounds. When full, the one not used for longest goes.
class DnsCache {
 public:
  static constexpr std::size_t kMaxEntries = 1024;
  static constexpr Seconds kMinTtl{5}, kMaxTtl{3600}, kNegativeTtl{5};

  /// The addresses, empty for a name known not to exist; nullptr if nothing is known. Valid until the next change.
  const std::vector<Address>* find(const std::string& name, TimePoint now);
  void put(const std::string& name, std::vector<Address> addresses, Seconds ttl, TimePoint now);
  void clear();
  std::size_t size() const { return index_.size(); }
  /// Entries that went while they were still good.
  std::uint64_t evicted() const { return evicted_; }

 private:
  struct Entry {
    std::string name;
    std::vector<Address> addresses;
    TimePoint expires;
  };
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> index_;
  std::uint64_t evicted_ = 0;
};

}  // namespace dongle
