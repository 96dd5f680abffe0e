#pragma once
// Which stick and which SIM sit at which port, and what changed since they were last seen. Pure.
#include <cstdint>
#include <map>
#include <string>

#include "common/ids.h"
#include "common/json.h"

namespace dongle {

/// What a modem says of itself, and where it was asked.
struct Identity {
  DongleId dongle;
  std::string port;   ///< USB port path; the interface's name if the dongle isn't known by a port
  std::string imei;   ///< empty: not told
  std::string iccid;  ///< empty: not told, or no SIM
};

/// What an observation says that wasn't known.
struct IdentityReport {
  bool first_seen = false;     ///< nothing was known of this port
  bool stick_changed = false;  ///< another IMEI than last time at this port
  bool sim_changed = false;    ///< another ICCID than last time at this port
  std::string text;  ///< for a person: "stick 8612… replaced 8611…; it was at 2-1.2 (dongle 12)"; empty: the same
  /// The table isn't what is on disk any more.
  bool is_news = false;
  bool is_change() const { return stick_changed || sim_changed; }
};

/// The memory of it. Bound: the 512 ports, sticks and SIMs seen last.
class IdentityTable {
 public:
  static constexpr std::size_t kMaxEntries = 512;

  /// Takes an observation. What it leaves empty is neither compared nor forgotten: a stick without a SIM for a while
  /// hasn't changed its SIM.
  IdentityReport observe(const Identity& seen);

  /// A stick was seen at this port once.
  bool knows(const std::string& port) const { return ports_.contains(port); }

  Json to_json() const;
  /// Entries that make no sense are left out; anything else than such a document is an empty table.
  static IdentityTable from_json(const Json& json);
  bool operator==(const IdentityTable&) const = default;

 private:
  struct AtPort {
    std::string imei, iccid;
    std::uint64_t seen = 0;  ///< counts observations: the greater the later
    bool operator==(const AtPort&) const = default;
  };
  struct LastPlace {
    std::string port;
    DongleId dongle;
    std::uint64_t seen = 0;
    bool operator==(const LastPlace&) const = default;
  };
  using Places = std::map<std::string, LastPlace>;
  /// "2-1.2 (dongle 12)"; empty: not known, or known from this very port.
  static std::string place_of(const Places& places, const std::string& key, const std::string& except);

  std::map<std::string, AtPort> ports_;
  Places sticks_;  ///< by IMEI
  Places sims_;    ///< by ICCID
  std::uint64_t counter_ = 0;
};

}  // namespace dongle
