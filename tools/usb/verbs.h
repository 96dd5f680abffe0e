#pragma once
// What dongle-usb can do. Each verb does one thing to one device and tells what it did; when and to whom it is done is
// decided elsewhere. They block, some of them for ever if the kernel does: that is why they are a program of their own.
#include <string>
#include <vector>

#include "common/json.h"
#include "tools/usb/usb_paths.h"

namespace dongle::usb {

// Errors of all verbs: InvalidArgument, NotFound (no such device or port), Permission, Unsupported (this device or hub
// can't), Refused (it must not be done to this one), else the kernel's.

/// Sends a stick in mass-storage mode the message that makes it a network card; it leaves the bus and comes back with
/// other ids some seconds later. {"was":"12d1:1f01","configuration":1}
Result<Json> mode_switch(const Roots& roots, const std::string& path);

/// value: a number, or "network" for the configuration with an ECM or RNDIS card.
/// {"configuration":1,"was":2,"net_devices":["wwan0"]}; net_devices may come a little later.
Result<Json> set_configuration(const Roots& roots, const std::string& path, const std::string& value);

/// Unbinds and binds the drivers of the network interfaces; where none is bound, the kernel looks for one.
/// {"interfaces":[{"name":"2-1.3:1.0","driver":"cdc_ether"}],"net_devices":["wwan0"]}
Result<Json> rebind(const Roots& roots, const std::string& path);

/// {"authorized":true,"net_devices":["wwan0"]}
Result<Json> authorize(const Roots& roots, const std::string& path, bool on);
/// Off, a short pause, on.
Result<Json> reauthorize(const Roots& roots, const std::string& path);

struct PortOptions {
  bool on = false;
  bool raw = false;         ///< only by a request to the hub, past the kernel's hub driver
  bool even_a_hub = false;  ///< off also with a hub behind it; the daemon never asks for that
};
/// Switches the ports and their twins on the other bus. Off: all of them or none. On: each that can be, also one with a
/// hub behind it; the error is of one that can't.
/// {"effective":true,"ports":[{"hub":"2-1","port":3,"method":"disable"|"request","powered":false,"connected":false}]}
/// effective false: the hub took the request and left a port as it was; everything was then put back. powered and
/// connected are null where the hub didn't tell.
Result<Json> switch_ports(const Roots& roots, const std::string& hub, const std::vector<int>& ports,
                          const PortOptions& options);

/// {"hubs":[…]} as hub_facts.h has it. Without names: all hubs, root hubs included. A hub that doesn't answer within
/// two seconds is listed with what is known without it.
Result<Json> list_hubs(const Roots& roots, const std::vector<std::string>& names);

}  // namespace dongle::usb
