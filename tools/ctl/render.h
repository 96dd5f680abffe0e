#pragma once
#include <string>

#include "common/clock.h"
#include "common/json.h"
#include "tools/ctl/table.h"

namespace dongle::ctl {

// What the daemon's documents look like to a person. A member that is missing or of another type prints as "-".

std::string render_status(const Json& document, const Style& style, WallTime now);
bool all_up(const Json& document);  ///< every dongle of a status document is online

std::string render_action(const Json& dongle);    ///< start, stop, restart: "11: online"
std::string render_rotation(const Json& result);  ///< "11: 192.0.2.1 -> 192.0.2.7 (changed, 4.2s)"
std::string render_recovery(const Json& result, const Style& style);
std::string render_why(const Json& result, const Style& style, WallTime now);
std::string render_traffic(const Json& result, const Style& style, WallTime now);
std::string render_incidents(const Json& result, const Style& style);
std::string render_apn(const Json& result, const Style& style);
/// power status, and power --dry-run: what would be switched, and who else would lose power.
std::string render_power(const Json& result, const Style& style);
std::string render_reload(const Json& result);
/// Any object as "key: value" lines, aligned, what is nested indented.
std::string render_details(const Json& object);

}  // namespace dongle::ctl
