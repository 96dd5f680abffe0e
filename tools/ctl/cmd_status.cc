#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/ctl/commands.h"
#include "tools/ctl/render.h"

namespace dongle::ctl {
namespace {

constexpr Millis kRedraw{1000};
constexpr const char* kClearScreen = "\033[H\033[J";

Json status_request(const CommandLine& line, const char* verb) {
  Json request{{"verb", verb}};
  for (DongleId id : line.ids) request["ids"].push_back(id.value);
  return request;
}

// Leaves the dongles that were asked for.
void keep_asked(const CommandLine& line, Json& document) {
  auto dongles = document.find("dongles");
  if (line.ids.empty() || dongles == document.end() || !dongles->is_array()) return;
  Json kept = Json::array();
  for (Json& d : *dongles)
    if (std::ranges::any_of(line.ids, [&](DongleId id) { return json_int(d, "id") == id.value; }))
      kept.push_back(std::move(d));
  *dongles = std::move(kept);
}

ExitCode watch(const CommandLine& line, const std::string& socket, const Console& console) {
  auto failed = [&](const Failure& failure) { return console.error("status", failure); };
  auto client = Client::connect(socket, timeout_of(line));
  if (!client) return failed(client.error());
  TimePoint deadline = std::chrono::steady_clock::now() + timeout_of(line);
  if (auto sent = client->send(status_request(line, "watch"), deadline); !sent) return failed(sent.error());
  Json document;
  for (;;) {
    // The first document is owed; a later one comes when something changes, which may be never.
    pollfd ready{client->fd(), POLLIN, 0};
    bool quiet =
        !document.is_null() && !client->has_line() && ::poll(&ready, 1, static_cast<int>(kRedraw.count())) == 0;
    if (!quiet) {
      auto event = client->receive(std::chrono::steady_clock::now() + timeout_of(line));
      if (!event) return failed(event.error());
      if (auto error = event->find("error"); error != event->end()) return failed(failure_from_reply(*error));
      if (json_string(*event, "event") != "status") continue;
      document = event->value("result", Json::object());
      keep_asked(line, document);
    }
    if (line.json && !quiet) console.print(dump_json(document) + "\n");
    if (!line.json && (console.is_terminal() || !quiet))
      console.print((console.is_terminal() ? kClearScreen : "") +
                    render_status(document, console.style(), std::chrono::system_clock::now()));
    if (!console.flush()) return ExitCode::Failed;
  }
}

}  // namespace

ExitCode run_status(const CommandLine& line, const std::string& socket, const Console& console) {
  if (line.watch) return watch(line, socket, console);
  auto document = ask(line, socket, status_request(line, "status"), console);
  if (!document) return console.error("status", document.error());
  keep_asked(line, *document);
  if (line.json)
    console.print(dump_json(*document) + "\n");
  else
    console.print(render_status(*document, console.style(), std::chrono::system_clock::now()));
  return all_up(*document) ? ExitCode::Done : ExitCode::NotAllUp;
}

}  // namespace dongle::ctl
