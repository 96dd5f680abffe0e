#include "common/json.h"

#include <set>
#include <vector>

#include <nlohmann/json.hpp>

namespace dongle {

Result<Json> parse_json(std::string_view text) {
  // A parser callback sees depth and keys before the library builds the value, so hostile nesting costs nothing.
  std::string problem;
  std::vector<std::set<std::string>> keys;
  auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    using enum Json::parse_event_t;
    if (event == object_start || event == array_start) {
      if (depth >= kJsonMaxDepth) throw std::length_error("nested too deeply");
      if (event == object_start) keys.emplace_back();
    } else if (event == object_end) {
      keys.pop_back();
    } else if (event == key && !keys.back().insert(parsed.get<std::string>()).second) {
      throw std::invalid_argument("duplicate key \"" + parsed.get<std::string>() + "\"");
    }
    return true;
  };
  try {
    return Json::parse(text, watch, /*allow_exceptions=*/true);
  } catch (const Json::exception& e) {
    problem = e.what();
  } catch (const std::logic_error& e) {
    problem = e.what();
  }
  return fail(Errc::InvalidArgument, "JSON: {}", problem);
}

std::string dump_json(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}
std::string dump_json_pretty(const Json& value) {
  return value.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string json_string(const Json& object, std::string_view key, std::string_view fallback) {
  auto it = object.is_object() ? object.find(key) : object.end();
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string(fallback);
}

std::int64_t json_int(const Json& object, std::string_view key, std::int64_t fallback) {
  auto it = object.is_object() ? object.find(key) : object.end();
  return it != object.end() && it->is_number_integer() ? it->get<std::int64_t>() : fallback;
}

bool json_bool(const Json& object, std::string_view key, bool fallback) {
  auto it = object.is_object() ? object.find(key) : object.end();
  return it != object.end() && it->is_boolean() ? it->get<bool>() : fallback;
}

}  // namespace dongle
