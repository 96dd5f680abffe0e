#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace dongle::ctl {

/// How tables are to look where they are printed.
struct Style {
  bool header = true;
  bool colour = false;
  std::size_t width = 0;  ///< of the terminal; the last column is cut to fit. 0: no limit
};

enum class Colour { None, Good, Warning, Bad, Faint };

struct Cell {
  std::string text;
  Colour colour = Colour::None;
};

/// Columns aligned by their widest cell; numbers to the right. The last column runs free.
class Table {
 public:
  enum class Align { Left, Right };
  struct Column {
    std::string title;
    Align align = Align::Left;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  /// One cell for each column. Control characters in it are replaced, an empty one prints as "-".
  void add(std::vector<Cell> row);
  std::string render(const Style& style) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace dongle::ctl
