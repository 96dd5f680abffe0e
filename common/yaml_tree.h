#pragma once
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dongle {

/// One YAML value with the place it came from. A plain tree: no anchors, no aliases, no tags.
struct YamlNode {
  enum class Kind { Null, Scalar, List, Map };
  struct Entry;

  Kind kind = Kind::Null;
  int line = 1;                 ///< 1-based; for an empty value the line of its key
  bool quoted = false;          ///< a scalar in quotes or a block: text, whatever it looks like
  std::string text;             ///< of a scalar
  std::vector<YamlNode> items;  ///< of a list
  std::vector<Entry> entries;   ///< of a map, in the file's order; a key may occur twice

  bool is_null() const { return kind == Kind::Null; }
  bool is_scalar() const { return kind == Kind::Scalar; }
  bool is_list() const { return kind == Kind::List; }
  bool is_map() const { return kind == Kind::Map; }
};

struct YamlNode::Entry {
  std::string key;
  int key_line = 1;
  YamlNode value;
};

struct YamlProblem {
  int line = 1;
  int column = 1;  ///< 1-based
  std::string text;
};

/// Nesting beyond this is refused.
inline constexpr int kYamlMaxDepth = 16;

/// Parses one YAML document. An empty text is Null. Refuses anchors, aliases, tags, a second document, tabs that
/// indent, control characters, anything but UTF-8 (a byte order mark is skipped), and nesting over kYamlMaxDepth.
std::expected<YamlNode, YamlProblem> parse_yaml(std::string_view text);

}  // namespace dongle
