#pragma once
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "common/error.h"

namespace dongle {

using Json = nlohmann::json;

/// Nesting beyond this is refused: the library's own destructor and dump() recurse.
inline constexpr int kJsonMaxDepth = 32;

/// Parses one JSON document. Refuses trailing data, nesting over kJsonMaxDepth and duplicate keys.
Result<Json> parse_json(std::string_view text);

/// One line, no newline. Bytes that aren't UTF-8 become U+FFFD; never throws.
std::string dump_json(const Json& value);
/// Indented by two, for people.
std::string dump_json_pretty(const Json& value);

/// Typed reads of an object's members: the default if the key is absent, the default also if the type is wrong.
std::string json_string(const Json& object, std::string_view key, std::string_view fallback = "");
std::int64_t json_int(const Json& object, std::string_view key, std::int64_t fallback = 0);
bool json_bool(const Json& object, std::string_view key, bool fallback = false);

}  // namespace dongle
