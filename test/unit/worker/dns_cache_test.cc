#include "worker/dns_cache.h"

#include <gtest/gtest.h>

namespace dongle {
namespace {

const std::vector<Address> kOne = {Address::v4(0xcb00710a)};

TEST(DnsCache, KeepsAnAnswerForItsTtlWithinBounds) {
  TimePoint now{};
  DnsCache cache;
  cache.put("short", kOne, Seconds{0}, now);
  cache.put("middle", kOne, Seconds{60}, now);
  cache.put("long", kOne, Seconds{1000000}, now);
  cache.put("none", {}, Seconds{1000}, now);
  EXPECT_EQ(*cache.find("short", now + Millis{4999}), kOne);
  EXPECT_TRUE(cache.find("none", now + Millis{4999})->empty());
  EXPECT_FALSE(cache.find("short", now + Seconds{5}));
  EXPECT_FALSE(cache.find("none", now + Seconds{5}));
  EXPECT_TRUE(cache.find("middle", now + Seconds{59}));
  EXPECT_FALSE(cache.find("middle", now + Seconds{60}));
  EXPECT_TRUE(cache.find("long", now + Seconds{3599}));
  EXPECT_FALSE(cache.find("long", now + Seconds{3600}));
  EXPECT_EQ(cache.size(), 0u);
}

TEST(DnsCache, DropsWhatWasNotUsedForLongestWhenFull) {
  TimePoint now{};
  DnsCache cache;
  for (std::size_t i = 0; i < DnsCache::kMaxEntries; ++i) cache.put(std::to_string(i), kOne, Seconds{60}, now);
  EXPECT_TRUE(cache.find("0", now));
  EXPECT_EQ(cache.evicted(), 0u);
  cache.put("new", kOne, Seconds{60}, now);
  EXPECT_EQ(cache.size(), DnsCache::kMaxEntries);
  EXPECT_EQ(cache.evicted(), 1u);
  EXPECT_TRUE(cache.find("0", now));
  EXPECT_TRUE(cache.find("new", now));
  EXPECT_FALSE(cache.find("1", now));
  cache.put("new", {}, Seconds{60}, now);
  EXPECT_EQ(cache.size(), DnsCache::kMaxEntries);
  EXPECT_TRUE(cache.find("new", now)->empty());
}

}  // namespace
}  // namespace dongle
