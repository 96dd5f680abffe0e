#include "common/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <optional>
#include <sstream>

namespace dongle {
namespace {

// Thrown through the library's parser to stop it at the first thing that we refuse.
struct Refused {
  YamlProblem problem;
};

// Builds the tree from parser events. The library's own node graph hides duplicate keys, aliases and further documents.
class TreeBuilder : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) refuse(mark, "a second document starts here; one file holds one document");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check_anchor(mark, anchor);
    YamlNode node;
    node.line = expects_value() ? open_.back().entries.back().key_line : mark.line + 1;
    add(mark, std::move(node));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { refuse(mark, kNoAnchors); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check_anchor(mark, anchor);
    check_tag(mark, tag);
    YamlNode node;
    node.kind = YamlNode::Kind::Scalar;
    node.line = mark.line + 1;
    node.quoted = tag == "!";
    node.text = value;
    add(mark, std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::List);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::Map);
  }
  void OnMapEnd() override { close(); }

  YamlNode take_root() { return std::move(root_); }

 private:
  static constexpr const char* kPlainKeys = "a key must be a plain word; is a bracket left open?";
  static constexpr const char* kNoAnchors = "anchors and aliases (& and *) are not supported; write the value out";

  [[noreturn]] static void refuse(const YAML::Mark& mark, std::string text) {
    throw Refused{{mark.line + 1, mark.column + 1, std::move(text)}};
  }
  static void check_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != 0) refuse(mark, kNoAnchors);
  }
  static void check_tag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, "tags (!) are not supported; write the plain value");
  }
  // In a map a key was read and its value comes next.
  bool expects_value() const { return !open_.empty() && open_.back().is_map() && key_pending_.back(); }

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YamlNode::Kind kind) {
    check_anchor(mark, anchor);
    check_tag(mark, tag);
    if (open_.size() >= kYamlMaxDepth) refuse(mark, "nested too deeply");
    if (!open_.empty() && open_.back().is_map() && !expects_value()) refuse(mark, kPlainKeys);
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    open_.push_back(std::move(node));
    key_pending_.push_back(false);
  }
  void close() {
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    key_pending_.pop_back();
    add({}, std::move(node));
  }
  void add(const YAML::Mark& mark, YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (open_.back().is_list()) {
      open_.back().items.push_back(std::move(node));
    } else if (expects_value()) {
      open_.back().entries.back().value = std::move(node);
      key_pending_.back() = false;
    } else {
      if (!node.is_scalar()) refuse(mark, kPlainKeys);
      open_.back().entries.push_back({std::move(node.text), node.line, {}});
      key_pending_.back() = true;
    }
  }

  int documents_ = 0;
  YamlNode root_;
  std::vector<YamlNode> open_;
  std::vector<bool> key_pending_;
};

// The length of the UTF-8 sequence at the start of `s`, 0 if there is none.
std::size_t utf8_length(std::string_view s) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  unsigned char first = byte(0);
  std::size_t length = first < 0x80                    ? 1
                       : first >= 0xc2 && first < 0xe0 ? 2
                       : (first & 0xf0) == 0xe0        ? 3
                       : first >= 0xf0 && first < 0xf5 ? 4
                                                       : 0;
  if (length == 0 || length > s.size()) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  // Overlong forms, surrogates, and what lies beyond U+10FFFF.
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) >= 0xa0) || (first == 0xf0 && byte(1) < 0x90) ||
      (first == 0xf4 && byte(1) >= 0x90))
    return 0;
  return length;
}

// What the library would let pass or report in a way that nobody understands.
std::optional<YamlProblem> check_characters(std::string_view text) {
  int line = 1;
  std::size_t line_start = 0;
  bool indenting = true;
  for (std::size_t i = 0; i < text.size();) {
    auto problem = [&](const char* what) { return YamlProblem{line, static_cast<int>(i - line_start) + 1, what}; };
    std::size_t length = utf8_length(text.substr(i));
    if (length == 0) return problem("a byte that is not UTF-8");
    char c = text[i];
    if (c == '\n') {
      ++line;
      line_start = i + 1;
      indenting = true;
    } else if (c == '\t' && indenting) {
      return problem("a tab; indent with blanks");
    } else if ((c >= 0 && c < ' ' && c != '\t' && c != '\r') || c == 0x7f) {
      return problem("a control character");
    } else if (c != ' ') {
      indenting = false;
    }
    i += length;
  }
  return std::nullopt;
}

}  // namespace

std::expected<YamlNode, YamlProblem> parse_yaml(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  if (auto problem = check_characters(text)) return std::unexpected(std::move(*problem));
  TreeBuilder builder;
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
    return builder.take_root();
  } catch (const Refused& e) {
    return std::unexpected(e.problem);
  } catch (const YAML::Exception& e) {
    return std::unexpected(YamlProblem{e.mark.line + 1, e.mark.column + 1, e.msg});
  }
}

}  // namespace dongle
