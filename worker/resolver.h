#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "worker/dns_cache.h"
#include "worker/egress.h"

namespace dongle {

class UvLoop;

/// Asks the modem's name servers, through the modem, and nobody else: neither resolv.conf nor hosts nor nsswitch has a
/// say, and no socket of it leaves by another device. One question for all who ask the same name at a time.
class Resolver {
 public:
  static constexpr std::size_t kMaxInFlight = 256;
  static constexpr Millis kDeadline{5000};

  /// The addresses, IPv4 first. Errors: NotFound (the name has none), Timeout, Io (the servers failed),
  /// Unreachable (no device), Cancelled (the way out changed meanwhile).
  using Done = std::function<void(const Result<std::vector<Address>>&)>;

  /// Somebody's wish for an answer; destroying it before is calling it off.
  class Ticket {
   public:
    ~Ticket();

   private:
    friend class Resolver;
    Done done_;
    std::weak_ptr<void> lookup_;
  };

  explicit Resolver(UvLoop& loop);
  ~Resolver();

  /// Replaces the way out and the servers; what was known and what is under way is forgotten, unless
  /// there are only more servers: those are asked once nothing is under way.
  void set_egress(const Egress& egress, const std::vector<Address>& servers);
  /// Forgets the names that are known, and calls off what is under way (Cancelled).
  void flush();

  /// An answer known already, empty for a name that doesn't exist; nullptr: ask. Valid until the next call.
  const std::vector<Address>* find(const std::string& name);
  /// Asks; `done` is called once, later, never from within. At once: Unreachable (no device), Io (no servers),
  /// Full (too many questions under way).
  Result<std::unique_ptr<Ticket>> lookup(const std::string& name, Done done);

  std::uint64_t cache_evicted() const;
  std::uint64_t refused_full() const;  ///< lookups refused for kMaxInFlight

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace dongle
