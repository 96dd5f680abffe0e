#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "common/config.h"
#include "common/error.h"

namespace dongle {

/// Everything that is wrong with a configuration, in the order of its lines. Each message is complete for a person:
/// "config.yaml:12: dongles[1].socks5: 70000 is not within 1 to 65535".
using ConfigProblems = std::vector<std::string>;

/// Parses and checks YAML text. `file` is only used in messages. Reports all problems at once.
std::expected<Config, ConfigProblems> parse_config(std::string_view yaml, const std::string& file);

/// The same from a file (at most 4 MiB).
std::expected<Config, ConfigProblems> load_config(const std::string& path);

/// The schema as text, one row a key: key, type, default, range, help. For `donglectl config schema`.
std::string describe_config_schema();
/// The same as a JSON document, one object a key.
std::string config_schema_json();

}  // namespace dongle
