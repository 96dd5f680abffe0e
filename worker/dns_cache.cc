#include "worker/dns_cache.h"

#include <algorithm>

namespace dongle {

const std::vector<Address>* DnsCache::find(const std::string& name, TimePoint now) {
  auto it = index_.find(name);
  if (it == index_.end()) return nullptr;
  if (it->second->expires <= now) {
    entries_.erase(it->second);
    index_.erase(it);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, it->second);
  return &it->second->addresses;
}

void DnsCache::put(const std::string& name, std::vector<Address> addresses, Seconds ttl, TimePoint now) {
  if (auto it = index_.find(name); it != index_.end()) {
    entries_.erase(it->second);
    index_.erase(it);
  }
  if (index_.size() >= kMaxEntries) {
    if (entries_.back().expires > now) ++evicted_;
    index_.erase(entries_.back().name);
    entries_.pop_back();
  }
  Seconds bounded = addresses.empty() ? kNegativeTtl : std::clamp(ttl, kMinTtl, kMaxTtl);
  entries_.push_front({name, std::move(addresses), now + bounded});
  index_[name] = entries_.begin();
}

void DnsCache::clear() {
  index_.clear();
  entries_.clear();
}

}  // namespace dongle
