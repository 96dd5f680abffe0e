#pragma once
// From what is plugged in to a configuration that serves it. Pure.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/json.h"
#include "common/net_address.h"
#include "common/stick_ids.h"
#include "common/usb_tree.h"

namespace dongle::ctl {

struct Hardware {
  UsbTree tree;
  std::map<std::string, Prefix> addresses;  ///< the IPv4 address that a network device has, with its subnet's length
};

/// What counts as a stick beside those known by their ids.
struct ProposalOptions {
  std::set<UsbId> more_ids;
  bool every_adapter = false;  ///< each USB network card
};

struct ProposedDongle {
  unsigned id = 0;
  std::string usb_path;
  std::string address;  ///< as the configuration has it: "dhcp" or what is on the interface
  UsbId usb_id;
  std::string name;       ///< what the device calls itself; may be empty
  std::string interface;  ///< empty: it has none yet
  std::string reason;     ///< why it is taken, or why not
};

struct ProposedHub {
  std::string location;
  UsbId usb_id;
  std::string name;
  int port_count = 0;
  int sticks = 0;  ///< plugged directly into it
};

struct Proposal {
  std::vector<ProposedHub> hubs;                   ///< those that carry sticks, but no root hubs
  std::map<std::string, int> sticks_on_root_hubs;  ///< "usb1" -> how many
  std::vector<ProposedDongle> dongles;             ///< in the order of their ports
  std::vector<ProposedDongle> passed_over;         ///< network devices that may be no sticks: a person has to say
  std::vector<std::string> left_out;               ///< port paths of sticks beyond the 252 that a daemon serves
};

/// A stick whose interface is in an N.N.N.N/24 that no other stick is in gets the third number as its id and keeps the
/// address; the others get the free ids from 11 on and ask their stick for an address (DHCP).
Proposal propose(const Hardware& seen, const ProposalOptions& options);

/// A complete configuration with comments; has at least one dongle.
std::string render_yaml(const Proposal& proposal);
Json to_json(const Proposal& proposal);

}  // namespace dongle::ctl
