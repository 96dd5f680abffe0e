#include "tools/ctl/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/ctl/format.h"

namespace dongle::ctl {
namespace {

using Align = Table::Align;

// A member that may be missing: never throws.
const Json& member(const Json& object, std::string_view key) {
  static const Json kNull;
  auto it = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && it != object.end() ? *it : kNull;
}

// Any scalar as text, "" for null.
std::string text_of(const Json& value) {
  if (value.is_null()) return "";
  return printable(value.is_string() ? value.get<std::string>() : dump_json(value));
}
std::string text_of(const Json& object, std::string_view key) {
  return text_of(member(object, key));
}
std::string or_dash(std::string text) {
  return text.empty() ? "-" : text;
}

std::string bytes_of(const Json& object, std::string_view key) {
  return format_bytes(json_int(object, key, -1));
}
std::string rate_of(const Json& object, std::string_view key) {
  return format_rate(json_int(object, key, -1));
}
std::string took_of(const Json& object) {
  auto ms = json_int(object, "took_ms", -1);
  return ms < 0        ? ""
         : ms < 10'000 ? fmt::format("{:.1f}s", static_cast<double>(ms) / 1000)
                       : format_duration(Millis{ms});
}

Colour colour_of_state(std::string_view state) {
  static constexpr std::pair<std::string_view, Colour> kColours[] = {
      {"online", Colour::Good},        {"starting", Colour::Warning}, {"degraded", Colour::Warning},
      {"recovering", Colour::Warning}, {"rotating", Colour::Warning}, {"no_service", Colour::Bad},
      {"failed", Colour::Bad},         {"absent", Colour::Bad},       {"stopped", Colour::Faint},
  };
  auto it = std::ranges::find(kColours, state, &std::pair<std::string_view, Colour>::first);
  return it == std::end(kColours) ? Colour::None : it->second;
}

std::string indented(const std::string& text, std::string_view indent) {
  std::string out;
  for (std::size_t start = 0; start < text.size();) {
    auto end = std::min(text.find('\n', start), text.size() - 1);
    out += indent;
    out += text.substr(start, end + 1 - start);
    start = end + 1;
  }
  return out;
}

std::string render_steps(const Json& steps, const Style& style) {
  if (!steps.is_array() || steps.empty()) return "";
  Table table({{"STAGE"}, {"ACTION"}, {"OUTCOME"}, {"TOOK", Align::Right}, {"DETAIL"}});
  for (const Json& step : steps) {
    std::string detail = text_of(step, "detail");
    table.add({{text_of(step, "stage")},
               {text_of(step, "action")},
               {text_of(step, "outcome")},
               {took_of(step)},
               {detail.empty() ? text_of(step, "reason") : detail}});
  }
  return indented(table.render(style), "  ");
}

std::string render_diagnosis(const Json& diagnosis) {
  if (!diagnosis.is_object()) return text_of(diagnosis);
  std::string fault = text_of(diagnosis, "fault");
  const Json& evidence = member(diagnosis, "evidence");
  std::string seen;
  if (evidence.is_array())
    for (const Json& item : evidence) seen += (seen.empty() ? "" : "; ") + text_of(item);
  else
    seen = text_of(evidence);
  return fault.empty() || seen.empty() ? fault + seen : fault + ": " + seen;
}

void render_lines(const Json& object, const std::string& indent, std::string& out);

void render_value(const std::string& key, const Json& value, std::size_t width, const std::string& indent,
                  std::string& out) {
  bool flat = !value.is_array() || std::ranges::none_of(value, [](const Json& v) { return v.is_structured(); });
  if (value.is_object() && !value.empty()) {
    out += fmt::format("{}{}:\n", indent, key);
    render_lines(value, indent + "  ", out);
  } else if (value.is_array() && !flat) {
    out += fmt::format("{}{}:\n", indent, key);
    for (std::size_t i = 0; i < value.size(); ++i)
      render_value(fmt::format("{}", i + 1), value[i], 0, indent + "  ", out);
  } else {
    std::string text;
    if (value.is_array())
      for (const Json& item : value) text += (text.empty() ? "" : ", ") + text_of(item);
    else if (!value.is_object())
      text = text_of(value);
    out += fmt::format("{}{:<{}} {}\n", indent, key + ":", width, or_dash(text));
  }
}

void render_lines(const Json& object, const std::string& indent, std::string& out) {
  std::size_t width = 0;
  for (const auto& [key, value] : object.items()) width = std::max(width, key.size() + 1);
  for (const auto& [key, value] : object.items()) render_value(printable(key), value, width, indent, out);
}

}  // namespace

std::string render_status(const Json& document, const Style& style, WallTime now) {
  Table table({{"ID", Align::Right},
               {"STATE"},
               {"SINCE", Align::Right},
               {"INTERFACE"},
               {"PUBLIC-IP"},
               {"PORT", Align::Right},
               {"CONNS", Align::Right},
               {"RX", Align::Right},
               {"TX", Align::Right},
               {"REASON"}});
  for (const Json& d : member(document, "dongles")) {
    std::string state = text_of(d, "state");
    std::string stage = text_of(d, "stage");
    table.add({{text_of(d, "id")},
               {stage.empty() ? state : fmt::format("{}({})", state, stage), colour_of_state(state)},
               {format_age(json_string(d, "since"), now)},
               {text_of(d, "interface")},
               {text_of(d, "public_ip")},
               {text_of(d, "socks5_port")},
               {text_of(member(d, "worker"), "connections")},
               {rate_of(d, "rx_bytes_per_s")},
               {rate_of(d, "tx_bytes_per_s")},
               {text_of(d, "reason")}});
  }
  return table.render(style);
}

bool all_up(const Json& document) {
  return std::ranges::all_of(member(document, "dongles"),
                             [](const Json& d) { return json_string(d, "state") == "online"; });
}

std::string render_action(const Json& dongle) {
  return fmt::format("{}: {}\n", text_of(dongle, "id"), or_dash(text_of(dongle, "state")));
}

std::string render_rotation(const Json& result) {
  std::string id = text_of(result, "id");
  std::string outcome = or_dash(text_of(result, "outcome"));
  std::string took = took_of(result);
  std::string note = took.empty() ? outcome : outcome + ", " + took;
  std::string old_ip = or_dash(text_of(result, "old_ip"));
  std::string new_ip = text_of(result, "new_ip");
  if (new_ip.empty()) return fmt::format("{}: {}\n", id, note);
  if (outcome == "same_ip") return fmt::format("{}: still {} ({})\n", id, new_ip, note);
  return fmt::format("{}: {} -> {} ({})\n", id, old_ip, new_ip, note);
}

std::string render_recovery(const Json& result, const Style& style) {
  std::string diagnosis = render_diagnosis(member(result, "diagnosis"));
  std::string out = fmt::format("{}: {}{}\n", text_of(result, "id"), or_dash(text_of(result, "outcome")),
                                diagnosis.empty() ? "" : " (" + diagnosis + ")");
  return out + render_steps(member(result, "steps"), style);
}

std::string render_why(const Json& result, const Style& style, WallTime now) {
  std::string out = fmt::format("{}: {} for {}\n", text_of(result, "id"), or_dash(text_of(result, "state")),
                                format_age(json_string(result, "since"), now));
  auto line = [&](std::string_view title, const std::string& text) {
    if (!text.empty()) out += fmt::format("  {:<10} {}\n", title, text);
  };
  line("reason:", text_of(result, "reason"));
  line("diagnosis:", render_diagnosis(member(result, "diagnosis")));
  out += render_steps(member(result, "steps"), style);
  line("next:", text_of(result, "next"));
  return out;
}

std::string render_traffic(const Json& result, const Style& style, WallTime now) {
  Table table({{"ID", Align::Right},
               {"RX", Align::Right},
               {"TX", Align::Right},
               {"RX-RATE", Align::Right},
               {"TX-RATE", Align::Right},
               {"CONNS", Align::Right},
               {"FOR", Align::Right}});
  for (const Json& d : member(result, "dongles"))
    table.add({{text_of(d, "id")},
               {bytes_of(d, "rx_bytes")},
               {bytes_of(d, "tx_bytes")},
               {rate_of(d, "rx_bytes_per_s")},
               {rate_of(d, "tx_bytes_per_s")},
               {text_of(d, "connections")},
               {format_age(json_string(d, "since"), now)}});
  return table.render(style);
}

std::string render_incidents(const Json& result, const Style& style) {
  const Json& incidents = member(result, "incidents");
  if (!incidents.is_array() || incidents.empty()) return "no incidents\n";
  std::string out;
  for (const Json& i : incidents) {
    std::string took = took_of(i);
    std::string evidence = text_of(i, "evidence");
    out +=
        fmt::format("#{} dongle {}: {} at {}{}: {}{}\n", or_dash(text_of(i, "number")), or_dash(text_of(i, "id")),
                    or_dash(text_of(i, "outcome")), or_dash(text_of(i, "began")), took.empty() ? "" : ", took " + took,
                    or_dash(text_of(i, "fault")), evidence.empty() ? "" : ": " + evidence);
    out += render_steps(member(i, "steps"), style);
  }
  return out;
}

std::string render_apn(const Json& result, const Style& style) {
  Table table({{""}, {"INDEX", Align::Right}, {"NAME"}, {"APN"}});
  std::string current = text_of(result, "current");
  for (const Json& p : member(result, "profiles"))
    table.add({{text_of(p, "index") == current ? "*" : " "},
               {text_of(p, "index")},
               {text_of(p, "name")},
               {text_of(p, "apn")}});
  return fmt::format("{}: current profile {}\n", text_of(result, "id"), or_dash(current)) + table.render(style);
}

std::string render_power(const Json& result, const Style& style) {
  Table table({{"ID", Table::Align::Right}, {"SWITCHES"}, {"HUB"}, {"MODE"}, {"POWER"}, {"CUTS"}, {"SEEN"}});
  std::string notes;
  for (const Json& d : member(result, "dongles")) {
    std::string ports, power, effective;
    for (const Json& p : member(d, "ports")) {
      ports += fmt::format("{}{} port {}", ports.empty() ? "" : ", ", text_of(p, "hub"), text_of(p, "port"));
      bool known = member(p, "powered").is_boolean();
      bool off = json_bool(p, "disabled") || (known && !json_bool(p, "powered"));
      power = off ? "off" : known ? "on" : power;
      if (member(p, "effective").is_boolean()) effective = json_bool(p, "effective") ? "yes" : "no";
    }
    if (json_string(d, "scope") == "hub" && !ports.empty()) ports = "the whole hub: " + ports;
    std::string obstacle = text_of(d, "obstacle");
    table.add({{text_of(d, "id")},
               {ports},
               {text_of(d, "hub_name")},
               {text_of(d, "switching")},
               {power, power == "off" ? Colour::Warning : Colour::None},
               {effective, effective == "no" ? Colour::Bad : Colour::None},
               {text_of(d, "seen")}});
    if (!obstacle.empty()) notes += fmt::format("{}: can't be switched: {}\n", text_of(d, "id"), obstacle);
    for (const Json& other : member(d, "bystanders"))
      notes += fmt::format("{}: also takes the power from {}{}\n", text_of(d, "id"), text_of(other, "text"),
                           json_bool(other, "hurt") ? "" : ", which has nothing to lose");
  }
  return table.render(style) + notes;
}

std::string render_reload(const Json& result) {
  std::string changed;
  for (const Json& id : member(result, "changed")) changed += (changed.empty() ? "" : ", ") + text_of(id);
  return fmt::format("reloaded: changed {}; unchanged {}\n", changed.empty() ? "none" : changed,
                     json_int(result, "unchanged"));
}

std::string render_details(const Json& object) {
  std::string out;
  if (object.is_object()) render_lines(object, "", out);
  return out;
}

}  // namespace dongle::ctl
