#include "tools/ctl/table.h"

#include <algorithm>

#include "common/error.h"
#include "tools/ctl/format.h"

namespace dongle::ctl {
namespace {

constexpr std::string_view kGap = "  ";

const char* escape(Colour colour) {
  switch (colour) {
    case Colour::None: return "";
    case Colour::Good: return "\033[32m";
    case Colour::Warning: return "\033[33m";
    case Colour::Bad: return "\033[31m";
    case Colour::Faint: return "\033[2m";
  }
  return "";
}

// The first `width` code points, with a mark where something is missing.
std::string cut(const std::string& text, std::size_t width) {
  if (display_width(text) <= width) return text;
  std::size_t seen = 0;
  std::size_t end = 0;
  for (; end < text.size(); ++end)
    if ((static_cast<unsigned char>(text[end]) & 0xc0) != 0x80 && ++seen == width) break;
  return text.substr(0, end) + "…";
}

}  // namespace

void Table::add(std::vector<Cell> row) {
  CHECK(row.size() == columns_.size());
  for (Cell& cell : row) cell.text = cell.text.empty() ? "-" : printable(cell.text);
  rows_.push_back(std::move(row));
}

std::string Table::render(const Style& style) const {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t width = style.header ? display_width(columns_[i].title) : 0;
    for (const auto& row : rows_) width = std::max(width, display_width(row[i].text));
    widths.push_back(width);
  }
  std::string out;
  auto print = [&](const std::vector<Cell>& row) {
    std::size_t used = 0;
    for (std::size_t i = 0; i < row.size(); ++i) {
      bool last = i + 1 == row.size();
      // A terminal that has no room for the last column wraps, rather than losing it.
      bool fits = last && style.width > used + columns_[i].title.size();
      std::string text = fits ? cut(row[i].text, style.width - used) : row[i].text;
      std::size_t width = display_width(text);
      std::string padding(std::max(widths[i], width) - width, ' ');
      bool coloured = style.colour && row[i].colour != Colour::None;
      if (columns_[i].align == Align::Right) out += padding;
      if (coloured) out += escape(row[i].colour);
      out += text;
      if (coloured) out += "\033[0m";
      if (columns_[i].align == Align::Left && !last) out += padding;
      if (!last) out += kGap;
      used += widths[i] + kGap.size();
    }
    out += '\n';
  };
  if (style.header) {
    std::vector<Cell> titles;
    for (const Column& column : columns_) titles.push_back({column.title});
    print(titles);
  }
  for (const auto& row : rows_) print(row);
  return out;
}

}  // namespace dongle::ctl
