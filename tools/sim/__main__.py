"""dongle-sim: a simulated rack of LTE sticks on one machine, inside network namespaces of its own."""
import argparse
import asyncio
import contextlib
import json
import os
import resource
import shutil
import sys
import time

import config
import faults
import modem
import rack
from control import Client
from farm import Farm
from netns import SimError


def main():
    arguments = parser().parse_args()
    try:
        rack.check_name(arguments.name)
        if os.geteuid() != 0 and arguments.needs_root:
            raise SimError("run dongle-sim as root: it makes network namespaces")
        return arguments.run(arguments) or 0
    except SimError as error:
        print(f"dongle-sim: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


class OneLineParser(argparse.ArgumentParser):
    def error(self, message):
        print(f"dongle-sim: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def modem_options(text):
    try:
        return modem.parse_options(text)
    except SimError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def rack_name(text):
    try:
        return rack.check_name(text)
    except SimError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def count(text):
    value = int(text) if text.isdigit() else -1
    if not 0 <= value <= 200:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 200")
    return value


def parser():
    top = OneLineParser(prog="dongle-sim", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=OneLineParser)

    def verb(name, run, help, needs_root=True):
        added = verbs.add_parser(name, help=help, description=help)
        added.set_defaults(run=run, needs_root=needs_root)
        added.add_argument("--name", default="sim", type=rack_name, help="the rack's name (default: sim)")
        return added

    up = verb("up", run_up, "build the rack and run it until SIGINT or SIGTERM")
    up.add_argument("--modems", type=count, metavar="N", help="how many (default: 3, or those of --modem)")
    up.add_argument("--first-id", type=int, default=11, metavar="ID")
    up.add_argument("--modem", type=modem_options, action="append", default=[], metavar="id=ID,KEY=VALUE...",
                    help="one modem's options: " + ", ".join(list(modem.Options.__dataclass_fields__)[1:]))
    up.add_argument("--taps", action="store_true", help="the host is a virtual machine: its ends of the links are tap devices")
    up.add_argument("--detach", action="store_true", help="return when ready, and stay until dongle-sim down")

    verb("down", run_down, "stop the rack and remove everything of it, also after a crash")

    run = verb("exec", run_exec, "run a command in one of the rack's namespaces")
    run.add_argument("--in", dest="inside", default="host", metavar="host|lan|inet|mN")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND...")

    fault = verb("fault", run_fault, "break a modem or the internet, or mend it", needs_root=False)
    fault.add_argument("id", metavar="ID|all|inet|list")
    fault.add_argument("fault", nargs="?", metavar="FAULT|clear")
    fault.add_argument("argument", nargs="?", metavar="ARGUMENT")
    fault.add_argument("--for", dest="seconds", type=float, metavar="SECONDS", help="clear it after that long")

    status = verb("status", run_status, "what each modem is doing")
    status.add_argument("--json", action="store_true")

    log = verb("log", run_log, "what was asked of the internet and of the modems")
    log.add_argument("what", choices=("dns", "http", "api", "dhcp", "uplink"))
    log.add_argument("id", nargs="?", help="of one modem only (dns, http: also uplink)")
    uplink = verb("uplink", run_log, "the packets that left by the host's uplink")
    uplink.set_defaults(what="uplink", id=None)
    for each in (log, uplink):
        each.add_argument("--json", action="store_true")
        each.add_argument("--clear", action="store_true", help="forget them after showing them")

    settings = verb("config", run_config, "print a supervisor configuration for the rack")
    settings.add_argument("--dir", default=None, help="where runtime_dir, state_dir and password files go (default: ./dongle-sim-NAME)")
    settings.add_argument("--address", choices=("static", "dhcp", "auto"), default="static")
    settings.add_argument("--interval", default="1s", help="between probes")
    for option in ("timeout", "cooldown", "off-time", "rotation-timeout", "settle", "retry-after", "listen"):
        settings.add_argument("--" + option)
    for option in ("down-after", "up-after", "port-base"):
        settings.add_argument("--" + option, type=int)
    settings.add_argument("--stages", type=lambda text: text.split(","), help="as route,modem,usb")
    return top


# --- verbs ------------------------------------------------------------------------------------------------------

def run_up(arguments):
    for tool in ("ip", "nft"):
        if not shutil.which(tool):
            raise SimError(f"{tool} is missing: apt install iproute2 nftables")
    chosen = {options.id: options for options in arguments.modem}
    number = arguments.modems if arguments.modems is not None else 0 if chosen else 3
    for id in range(arguments.first_id, arguments.first_id + number):
        if id not in chosen:
            chosen[id] = modem.Options(id)
    all_options = [chosen[id] for id in sorted(chosen)]
    names = [options.name for options in all_options]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SimError(f"two modems with the interface name {twice.pop()}: give one another name=")
    claim = rack.Claim(arguments.name)
    if arguments.detach:
        return _detach(arguments.name, all_options, arguments.taps, claim)
    return _run_farm(arguments.name, all_options, arguments.taps, lambda lines: print("\n".join([*lines, "ready"]), flush=True),
                     os.getppid())


def _run_farm(name, all_options, taps, ready, parent=None):
    # The sites hold one end of every connection that a load test makes.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    async def run():
        farm = Farm(name, all_options, taps)
        if parent is not None:
            farm.end_with_process(parent)
        await farm.run(ready)
    try:
        asyncio.run(run())
    finally:
        rack.clean_up(name)
        rack.remove_directory(name)


def _detach(name, all_options, taps, claim):
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        if not text.endswith("ready\n"):
            raise SimError(text.strip().splitlines()[-1] if text.strip() else "the rack didn't come up")
        print(text, end="", flush=True)
        os._exit(0)         # the lock is the child's
    os.close(reading)
    os.setsid()
    if os.fork():
        os._exit(0)
    claim.moved_to_child()
    nothing = os.open(os.devnull, os.O_RDWR)
    errors = os.open(f"{rack.directory(name)}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for target, source in ((0, nothing), (1, nothing), (2, errors)):
        os.dup2(source, target)
    os.chdir("/")

    def ready(lines):
        os.write(writing, ("\n".join([*lines, "ready"]) + "\n").encode())
        os.close(writing)
    try:
        _run_farm(name, all_options, taps, ready)
    except BaseException as error:
        with contextlib.suppress(OSError):      # closed once the rack was ready
            os.write(writing, f"{error or type(error).__name__}".encode())
        os._exit(1)
    os._exit(0)


def run_down(arguments):
    if not rack.down(arguments.name):
        print(f"rack {arguments.name} is not up", file=sys.stderr)


def run_exec(arguments):
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise SimError("exec: say what to run, as in dongle-sim exec -- ip addr")
    space = f"{arguments.name}-{arguments.inside}"
    if space not in rack.namespaces(arguments.name):
        known = ", ".join(each.removeprefix(arguments.name + "-") for each in rack.namespaces(arguments.name))
        raise SimError(f"no namespace {arguments.inside}; there are {known}" if known else
                       f"rack {arguments.name} is not up: dongle-sim up --name {arguments.name}")
    os.execvp("ip", ["ip", "netns", "exec", space, *command])


def run_fault(arguments):
    if arguments.id == "list":
        for title, scope in (("of a modem", faults.MODEM), ("of the internet (inet)", faults.INTERNET)):
            print(title)
            for name, kind in scope.items():
                called = name if not kind.argument else f"{name} {kind.argument}" if kind.required else f"{name} [{kind.argument}]"
                print(f"  {called:40} {kind.meaning}")
        return
    if arguments.fault is None:
        raise SimError("fault: which? see dongle-sim fault list")
    with Client(arguments.name) as client:
        client.call("fault", id=arguments.id, fault=arguments.fault, argument=arguments.argument,
                    seconds=arguments.seconds)


def run_status(arguments):
    with Client(arguments.name) as client:
        status = client.call("status")
    if arguments.json:
        print(json.dumps(status))
        return
    print(f"{'ID':>3} {'INTERFACE':15} {'PUBLIC IP':15} {'DATA':4} {'STATUS':>6} {'RECONNECTS':>10} {'API':>5} {'MAX':>3}"
          f" {'RX':>10} {'TX':>10} FAULTS")
    for each in status["modems"]:
        active = " ".join(name if argument is None else f"{name}={argument}" for name, argument in each["faults"].items())
        print(f"{each['id']:>3} {each['interface'] or '-':15} {each['public_ip'] or '-':15}"
              f" {'on' if each['data'] else 'off':4} {each['connection_status']:>6} {each['reconnects']:>10}"
              f" {each['api_requests']:>5} {each['api_max_requests']:>3} {each['rx_bytes']:>10} {each['tx_bytes']:>10}"
              f" {active or '-'}")
    if status["internet"]["faults"]:
        print("internet: " + " ".join(status["internet"]["faults"]))
    print(f"uplink: {status['uplink_packets']} packets")


def run_log(arguments):
    with Client(arguments.name) as client:
        report = client.call("log", what=arguments.what, id=arguments.id, clear=arguments.clear)
    if arguments.json:
        print(json.dumps(report))
        return
    for entry in report["entries"]:
        when = time.strftime("%H:%M:%S", time.localtime(entry["time"]))
        print(when, " ".join(f"{key}={value}" for key, value in entry.items() if key != "time" and value is not None))
    print(f"{report['count']} in all" + (f", the first {report['dropped']} forgotten" if report["dropped"] else ""))


def run_config(arguments):
    with Client(arguments.name) as client:
        description = client.call("describe")
    folder = arguments.dir or f"dongle-sim-{arguments.name}"
    wanted = {key: getattr(arguments, key) for key in (
        "timeout", "cooldown", "off_time", "rotation_timeout", "settle", "retry_after", "listen", "down_after",
        "up_after", "port_base", "stages")}
    print(config.supervisor_config(description, folder, arguments.address, arguments.interval, **wanted), end="")


if __name__ == "__main__":
    sys.exit(main())
