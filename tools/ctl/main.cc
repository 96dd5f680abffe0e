#include <cstdio>
#include <utility>

#include "tools/ctl/command_line.h"
#include "tools/ctl/commands.h"

int main(int argc, char** argv) {
  using namespace dongle::ctl;
  Console console;
  auto line = parse_command_line({argv + 1, argv + argc});
  if (!line) {
    const auto& [exit, text] = line.error();
    if (exit == ExitCode::Done)
      console.print(text);
    else
      console.error("", {exit, text});
    return std::to_underlying(exit);
  }
  ExitCode exit = run_command(*line, console);
  if (!console.flush() && exit == ExitCode::Done)
    exit = console.error("", {ExitCode::Failed, "stdout: can't write everything"});
  return std::to_underlying(exit);
}
