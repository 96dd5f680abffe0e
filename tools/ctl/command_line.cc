#include "tools/ctl/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "common/config.h"
#include "common/config_values.h"
#include "common/nearest.h"
#include "common/version.h"

namespace dongle::ctl {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  donglectl status                   what every dongle is doing\n"
    "  donglectl status --json | jq .     the same for scripts\n"
    "  donglectl rotate 11                a new public address for dongle 11\n"
    "  donglectl why 11                   its state, and what recovery did and will do about it\n"
    "  donglectl recover 11 --dry-run     what recovery would do now\n"
    "  donglectl tail -f 11               the log of its worker\n"
    "  donglectl config check FILE        every mistake in a configuration\n"
    "  donglectl init                     a configuration for what is plugged in\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 usage, 3 status: not all up, 4 no permission, 5 no such dongle,\n"
    "6 refused now (cooldown, busy, recovery off), 7 the daemon is not running, 8 timed out";

constexpr const char* kGlobalOptions =
    "Also --json, --socket PATH, --config FILE, --timeout TIME, --no-wait: see donglectl --help";

/// Which ids a verb takes.
enum class Ids { None, AtMostOne, Optional, One, Several };

struct VerbRow {
  Verb verb;
  const char* name;
  Ids ids;
  const char* help;
};

constexpr VerbRow kVerbs[] = {
    {Verb::Status, "status", Ids::Optional, "State of the dongles; exit code 3 if not all are online"},
    {Verb::Start, "start", Ids::Several, "Start dongles"},
    {Verb::Stop, "stop", Ids::Several, "Stop dongles until they are started again"},
    {Verb::Restart, "restart", Ids::Several, "Stop and start dongles"},
    {Verb::Tail, "tail", Ids::One, "The last lines of a worker's log"},
    {Verb::Rotate, "rotate", Ids::Several, "Get a new public address"},
    {Verb::Recover, "recover", Ids::Several, "Run the recovery ladder now"},
    {Verb::Why, "why", Ids::Several, "State, diagnosis, and what recovery did and will do"},
    {Verb::Info, "info", Ids::Several, "Everything known about a dongle"},
    {Verb::Traffic, "traffic", Ids::Optional, "Byte counters and rates"},
    {Verb::Incidents, "incidents", Ids::AtMostOne, "What failed, what was done about it, and how it ended"},
    {Verb::Apn, "apn", Ids::Several, "APN profiles of the modem"},
    {Verb::Power, "power", Ids::Several, "Switch the power of a dongle's port, or say what can be switched"},
    {Verb::Reload, "reload", Ids::None, "Read the configuration again; a bad one changes nothing"},
};

constexpr const char* kNotYet[] = {"doctor", "firewall", "analyze"};

EarlyExit usage(std::string text) {
  return {ExitCode::Usage, fmt::format("{}; see donglectl --help", text)};
}

bool is_single(Ids ids) {
  return ids == Ids::One || ids == Ids::AtMostOne;
}

std::optional<EarlyExit> read_ids(const std::vector<std::string>& words, Ids ids, CommandLine& line) {
  for (const std::string& word : words) {
    if (word == "all" && !is_single(ids)) {
      line.all = true;
      continue;
    }
    if (!parse_decimal(word, 0, INT64_MAX))
      return usage(fmt::format("{}: \"{}\" is not a dongle's id, a number{}", line.verb_name, word,
                               is_single(ids) ? "" : " or all"));
    auto number = parse_decimal(word, kMinDongleId, kMaxDongleId);
    if (!number)
      return EarlyExit{ExitCode::NoSuchDongle,
                       fmt::format("{}: no such dongle; ids are {} to {}", word, kMinDongleId, kMaxDongleId)};
    DongleId id{static_cast<unsigned>(*number)};
    if (std::ranges::find(line.ids, id) == line.ids.end()) line.ids.push_back(id);
  }
  if (line.all && !line.ids.empty()) return usage(fmt::format("{}: either ids or all", line.verb_name));
  return std::nullopt;
}

std::optional<EarlyExit> read_usb_ids(const std::vector<std::string>& words, CommandLine& line) {
  for (const std::string& word : words) {
    auto id = parse_usb_id(word);
    if (!id) return usage(fmt::format("init: --id \"{}\" is not VENDOR:PRODUCT such as 12d1:14dc", word));
    line.usb_ids.push_back(*id);
  }
  return std::nullopt;
}

// What udev passes: a kernel name or a path below /sys/devices. A plain number is a dongle.
std::optional<EarlyExit> read_hotplug_target(const std::string& word, CommandLine& line) {
  line.usb_path = usb_path_in(word);
  if (!line.usb_path.empty()) return std::nullopt;
  if (!parse_decimal(word, 0, INT64_MAX))
    return usage(fmt::format("hotplug: \"{}\" is neither a dongle's id nor a USB port such as 2-1.4", word));
  return read_ids({word}, Ids::One, line);
}

// "10s", "1m30s", and plain seconds, as other tools take them.
std::optional<Millis> read_timeout(const std::string& text) {
  if (auto seconds = parse_decimal(text, 1, 86400)) return Seconds{*seconds};
  auto duration = parse_duration(text);
  if (!duration || *duration <= Millis{0} || *duration > std::chrono::hours{24}) return std::nullopt;
  return *duration;
}

// The first word that is no option: what the person meant as a verb.
std::string mistaken_verb(const CLI::App& app) {
  auto rest = app.remaining();
  auto word = std::ranges::find_if(rest, [](const std::string& w) { return !w.starts_with('-'); });
  return word == rest.end() ? "" : *word;
}

EarlyExit explain(const CLI::App& app, const CLI::ParseError& error) {
  std::string word = mistaken_verb(app);
  if (!app.get_subcommands().empty() || word.empty()) {
    std::string text = error.what();
    std::ranges::replace(text, '\n', ' ');
    return usage(text);
  }
  std::vector<std::string> names{"config", "init", "hotplug"};
  for (const VerbRow& row : kVerbs) names.emplace_back(row.name);
  names.insert(names.end(), std::begin(kNotYet), std::end(kNotYet));
  std::string near = nearest(word, names);
  return near.empty() ? usage(fmt::format("\"{}\" is not a verb", word))
                      : EarlyExit{ExitCode::Usage, fmt::format("\"{}\" is not a verb; did you mean {}?", word, near)};
}

}  // namespace

Millis default_timeout(Verb verb) {
  switch (verb) {
    case Verb::Status:
    case Verb::Tail:
    case Verb::Why:
    case Verb::Info:
    case Verb::Traffic:
    case Verb::Incidents:
    case Verb::Apn:
    case Verb::ConfigCheck:
    case Verb::ConfigSchema:
    case Verb::Init:
    case Verb::NotYet: return Seconds{5};
    case Verb::Hotplug: return Seconds{1};  // udev waits for it
    case Verb::Start:
    case Verb::Stop:
    case Verb::Restart:
    case Verb::Rotate:
    case Verb::Reload: return Seconds{120};
    case Verb::Power:
    case Verb::Recover: return Seconds{600};
  }
  return Seconds{5};
}

std::expected<CommandLine, EarlyExit> parse_command_line(std::vector<std::string> args) {
  CommandLine line;
  std::vector<std::string> id_words, usb_id_words;
  std::string hotplug_word;
  std::string timeout;
  bool no_wait = false;
  Ids ids = Ids::None;

  CLI::App app{"Operates dongle-supervisor: one proxy for each LTE stick.", "donglectl"};
  app.fallthrough();  // global options may stand behind the verb
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("donglectl ") + kVersion);
  app.footer(kExamples);
  app.add_option("--socket", line.socket, "The daemon's control socket")->type_name("PATH");
  app.add_option("--config", line.config, "The daemon's configuration, whose runtime_dir has the socket")
      ->type_name("FILE");
  app.add_option("--timeout", timeout, "Give up after this time: 10, 90s, 5m")->type_name("TIME");
  app.add_flag("--json", line.json, "Print what the daemon says as JSON");
  app.add_flag("--no-wait", no_wait, "Don't wait for the outcome");

  std::map<Verb, CLI::App*> verbs;
  for (const VerbRow& row : kVerbs) {
    CLI::App* verb = app.add_subcommand(row.name, row.help);
    verbs[row.verb] = verb;
    verb->footer(kGlobalOptions);
    verb->parse_complete_callback([&line, &ids, &row] {
      line.verb = row.verb;
      line.verb_name = row.name;
      ids = row.ids;
    });
    if (row.ids == Ids::None) continue;
    if (row.verb == Verb::Power)
      verb->add_option("ACTION", line.power, "on, off, cycle or status")
          ->check(CLI::IsMember({"on", "off", "cycle", "status"}))
          ->type_name("")
          ->required();
    auto* words =
        verb->add_option("ID", id_words, is_single(row.ids) ? "The dongle's number" : "Numbers of dongles, or all");
    words->type_name("");
    words->required(row.ids == Ids::One || row.ids == Ids::Several);
    if (is_single(row.ids)) words->expected(1);
  }
  verbs[Verb::Status]->add_flag("--watch,-w", line.watch, "Show it again on each change, until Ctrl-C");
  verbs[Verb::Tail]->add_flag("-f,--follow", line.follow, "Go on with what is written from now on");
  verbs[Verb::Tail]
      ->add_option("-n,--lines", line.lines, "How many lines")
      ->check(CLI::Range(0, 1'000'000))
      ->type_name("N");
  std::vector<std::string> stages;
  for (Stage stage : kStages) stages.emplace_back(to_string(stage));
  verbs[Verb::Recover]
      ->add_option("--from", line.from, "Start at this stage")
      ->check(CLI::IsMember(stages))
      ->type_name("STAGE");
  verbs[Verb::Recover]->add_flag("--dry-run", line.dry_run, "Say what would be done, do nothing");
  verbs[Verb::Power]->add_flag("--dry-run", line.dry_run, "Say which ports and who else would lose power, do nothing");
  verbs[Verb::Power]->add_flag("--yes,-y", line.yes, "Don't ask, even if others lose power as well");
  verbs[Verb::Traffic]->add_flag("--reset", line.reset, "Print the counters, then set them to zero");
  verbs[Verb::Incidents]
      ->add_option("--limit", line.limit, "At most so many, the latest")
      ->check(CLI::Range(1, 10'000))
      ->type_name("N");

  CLI::App* config = app.add_subcommand("config", "Check a configuration, or describe its keys");
  config->require_subcommand(1);
  CLI::App* check = config->add_subcommand("check", "Print every mistake in a configuration; needs no daemon");
  check->add_option("file", line.file, "Instead of --config or the default")->type_name("FILE");
  check->parse_complete_callback([&line] { line.verb = Verb::ConfigCheck; });
  CLI::App* schema = config->add_subcommand("schema", "Every key: form, range, default, meaning");
  schema->parse_complete_callback([&line] { line.verb = Verb::ConfigSchema; });

  CLI::App* init = app.add_subcommand("init", "Propose a configuration for what is plugged in; needs no daemon");
  init->add_flag("--write", line.write, "Write it to --config or the default place; an existing file stays as it is");
  init->add_option("--id", usb_id_words, "Such devices are sticks, too, as 0525:a4a2; may be given several times")
      ->type_name("VENDOR:PRODUCT")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  init->add_flag("--all", line.every_adapter, "Every USB network adapter is a stick");
  init->footer(kGlobalOptions);
  init->parse_complete_callback([&line] { line.verb = Verb::Init; });

  CLI::App* hotplug = app.add_subcommand(
      "hotplug", "Have the daemon look at USB now, as udev does; exit code 0 also if there is no daemon to tell");
  hotplug->add_option("ID", hotplug_word, "A dongle's number, or where it is plugged in: 2-1.4, 2-1.4:1.0, /devices/…")
      ->required()
      ->type_name("");
  hotplug->footer(kGlobalOptions);
  hotplug->parse_complete_callback([&line] {
    line.verb = Verb::Hotplug;
    line.verb_name = "hotplug";
  });

  for (const char* name : kNotYet) {
    CLI::App* verb = app.add_subcommand(name, "Not in this version yet");
    verb->fallthrough(false);
    verb->prefix_command();  // whatever stands behind it: the answer is the same
    verb->parse_complete_callback([&line, name] {
      line.verb = Verb::NotYet;
      line.verb_name = name;
    });
  }

  if (args.empty()) return std::unexpected(usage("name a verb, such as status"));
  std::ranges::reverse(args);  // the library takes them from the back
  try {
    app.parse(std::move(args));
  } catch (const CLI::CallForHelp&) {
    return std::unexpected(EarlyExit{ExitCode::Done, app.help()});  // of the verb, if one was named
  } catch (const CLI::CallForVersion& e) {
    return std::unexpected(EarlyExit{ExitCode::Done, std::string(e.what()) + "\n"});
  } catch (const CLI::ParseError& e) {
    return std::unexpected(explain(app, e));
  }
  line.wait = !no_wait;
  if (!timeout.empty()) {
    line.timeout = read_timeout(timeout);
    if (!line.timeout)
      return std::unexpected(usage(fmt::format("--timeout: \"{}\" is not a time such as 10, 90s or 5m", timeout)));
  }
  auto mistake = read_ids(id_words, ids, line);
  if (!mistake) mistake = read_usb_ids(usb_id_words, line);
  if (!mistake && line.verb == Verb::Hotplug) mistake = read_hotplug_target(hotplug_word, line);
  if (mistake) return std::unexpected(std::move(*mistake));
  return line;
}

}  // namespace dongle::ctl
