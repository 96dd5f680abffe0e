"""A rack for a test class: dongle-sim, and the daemon as users run it, in namespaces of their own.

    class SomeTest(testrack.TestCase):
        UP = ["--modems", "2"]                  # of dongle-sim up
        CONFIG = ["--timeout", "1s"]            # of dongle-sim config
        EXTRA = {"proxy": {"connect_timeout": "2s"}}

Each class has a rack of its own. When it goes, everything has to be gone, and the machine's own network as it was.
"""
import atexit
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
SIM = os.path.join(ROOT, "tools/sim")
BIN = os.path.join(ROOT, "build", os.environ.get("DONGLE_TEST_PRESET", "release"), "bin")
sys.path.insert(0, SIM)

import control
import netns

from proxy_client import ProxyClient, http_get, socks_request

UID_BASE = 1900000000
TABLE = "dongle_supervisor"
STARTUP = 10.0


def eventually(question, seconds=5.0, pause=0.02):
    """The first true answer, or the last one when time is up. For facts that nothing announces."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer or time.monotonic() > deadline:
            return answer
        time.sleep(pause)


def snapshot(namespace=None):
    """Addresses, routes, rules and nftables of a namespace, or of the machine's own, without what moves by itself."""
    inside = ["ip", "netns", "exec", namespace] if namespace else []

    def lines(*command):
        text = subprocess.run([*inside, *command], capture_output=True, text=True, check=True).stdout
        # Link-local addresses come and go by themselves, and take their time.
        text = "\n".join(line for line in text.splitlines() if not re.search(r"\bfe80::|\bff00::|\bfe80:", line))
        text = re.sub(r"counter packets \d+ bytes \d+|packets \d+ bytes \d+|valid_lft \S+|preferred_lft \S+|expires \S+", "", text)
        return [line.strip() for line in text.splitlines()]
    seen = {"addresses": lines("ip", "-o", "addr", "show"), "nftables": lines("nft", "list", "ruleset")}
    for family in ("-4", "-6"):
        seen["rules " + family] = lines("ip", family, "rule", "show")
        seen["routes " + family] = sorted(lines("ip", family, "route", "show", "table", "all"))
    return seen


class Daemon:
    """dongle-supervisor in the host namespace of a rack."""

    def __init__(self, sim, folder, config_text):
        self.sim, self.folder = sim, folder
        self.config = os.path.join(folder, "config.yaml")
        self.log_path = os.path.join(folder, "daemon.log")
        self.socket_path = os.path.join(folder, "run/control.sock")
        self.environment = {}       # of its own, beside ours
        self.write_config(config_text)
        self.process = None

    def write_config(self, text):
        self.config_text = text
        with open(self.config, "w") as file:
            file.write(text)

    def start(self):
        with open(self.log_path, "ab") as log:
            # env runs last, in the daemon's own process: what it preloads isn't for `ip`.
            self.process = self.sim.start("env", *(f"{name}={value}" for name, value in self.environment.items()),
                                          os.path.join(BIN, "dongle-supervisor"), "--config", self.config, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if not eventually(self._answers, STARTUP):
            raise AssertionError(f"the daemon doesn't answer on {self.socket_path}:\n{self.log()[-3000:]}")

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log()[-3000:]}")
        try:
            return self.request({"verb": "status"}, timeout=1)
        except OSError:
            return None

    def stop(self, timeout=10.0):
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(timeout)

    def kill(self):
        self.process.kill()
        self.process.wait(5)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        try:
            with open(self.log_path, errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def _connect(self, timeout):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect(self.socket_path)
        except OSError:
            sock.close()
            raise
        return sock

    def request(self, request, timeout=5.0):
        """One request over the control socket: the final answer's result. AssertionError with the daemon's words."""
        with self._connect(timeout) as sock, sock.makefile("rb") as lines:
            sock.sendall(json.dumps(request).encode() + b"\n")
            for line in lines:
                answer = json.loads(line)
                if "ok" in answer:
                    if not answer["ok"]:
                        raise AssertionError(f"{request}: {answer['error']}")
                    return answer["result"]
        raise ConnectionError("the daemon hung up")

    def wait_for(self, question, timeout):
        """The first status document for which question(document) is true, by the daemon's own events."""
        deadline = time.monotonic() + timeout
        with self._connect(timeout) as sock:
            sock.sendall(b'{"verb":"watch"}\n')
            buffer, document = b"", None
            while (left := deadline - time.monotonic()) > 0:
                sock.settimeout(min(left, 0.25))
                try:
                    part = sock.recv(1 << 16)
                    if not part:
                        raise ConnectionError("the daemon hung up")
                    buffer += part
                except TimeoutError:            # what isn't worth an event of its own: connections, byte counters
                    document = self.request({"verb": "status"})
                    if question(document):
                        return document
                    continue
                *complete, buffer = buffer.split(b"\n")
                for line in complete:
                    event = json.loads(line)
                    if event.get("event") == "status":
                        document = event["result"]
                        if question(document):
                            return document
        raise AssertionError(f"not within {timeout} s; last seen: {json.dumps(document)}")


def flow(value):
    """A value in YAML's flow form, which JSON is."""
    return json.dumps(value)


def with_settings(text, extra):
    """The configuration with settings added to its sections: {"proxy": {"clients": [...]}}"""
    for section, settings in extra.items():
        if re.search(rf"^{section}: {{", text, re.M):
            more = "".join(f"{key}: {flow(value)}, " for key, value in settings.items())
            text = re.sub(rf"^{section}: {{", lambda found: found.group() + more, text, flags=re.M)
        else:
            more = "".join(f"\n  {key}: {flow(value)}" for key, value in settings.items())
            text = re.sub(rf"^{section}:$", lambda found: found.group() + more, text, flags=re.M)
    return text


_number = 0
_live = []          # for atexit: an interrupted unittest runs no class cleanups


def _end_all():
    for cls in list(_live):
        cls.end_rack()


atexit.register(_end_all)


@unittest.skipUnless(os.geteuid() == 0, "makes network namespaces: needs root")
class TestCase(unittest.TestCase):
    UP = ["--modems", "3"]
    CONFIG = []
    EXTRA = {}
    START = True            # the daemon is started, and every dongle online, before the first test
    maxDiff = 3000

    # --- life -----------------------------------------------------------------------------------------------

    @classmethod
    def setUpClass(cls):
        global _number
        _number += 1
        cls.name = f"t{os.getpid()}-{_number}"
        cls.machine_before = snapshot()
        cls.folder = tempfile.mkdtemp(prefix="dongle-test-")
        os.chmod(cls.folder, 0o755)     # workers run under uids of their own
        cls.sim = control.RunningRack(cls.name, *cls.UP)
        _live.append(cls)
        cls.addClassCleanup(cls.assert_nothing_left)
        cls.addClassCleanup(cls.end_rack)
        cls.sim.__enter__()
        cls.host = f"{cls.name}-host"
        cls.untouched = snapshot(cls.host)
        cls.daemon = Daemon(cls.sim, cls.folder, cls.config())
        if cls.START:
            try:
                cls.daemon.start()
                cls.wait_all_online()
            except BaseException:
                cls.tell_all()
                raise

    @classmethod
    def config(cls):
        done = subprocess.run([sys.executable, SIM, "config", "--name", cls.name, "--dir", cls.folder, *cls.CONFIG],
                              capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(done.stderr)
        return with_settings(done.stdout, cls.EXTRA)

    @classmethod
    def end_rack(cls):
        if cls in _live:
            _live.remove(cls)
            cls.sim.__exit__()
            shutil.rmtree(cls.folder, ignore_errors=True)

    @classmethod
    def assert_nothing_left(cls):
        """Runs after everything else: no namespace, process or file, and the machine's own network as before."""
        left = [name for name in netns.existing(".*") if name.startswith(cls.name + "-")]
        left += [pid for pid in os.listdir("/proc") if pid.isdigit() and cls.folder in _command_line(pid)]
        if os.path.exists(cls.folder):
            left.append(cls.folder)
        if left:
            raise AssertionError(f"left behind: {left}")
        if (after := snapshot()) != cls.machine_before:
            raise AssertionError(f"the machine's own network changed: {cls.machine_before} -> {after}")

    def run(self, result=None):
        def count():
            return len(result.failures) + len(result.errors)
        before = count() if result else 0
        super().run(result)
        if result and count() > before:
            self.tell_all()

    @classmethod
    def tell_all(cls):
        """What a person wants to see beside a failure."""
        def tail(path, lines):
            try:
                with open(path, errors="replace") as file:
                    return "".join(file.readlines()[-lines:])
            except OSError as error:
                return f"{error}\n"
        out = [f"\n=== {cls.__name__}: daemon\n", tail(cls.daemon.log_path, 80)]
        for folder, _, files in os.walk(cls.folder):
            for file in files:
                if re.fullmatch(r"\d+\.log", file):
                    out += [f"=== worker {file}\n", tail(os.path.join(folder, file), 15)]
        if cls.daemon.is_running():
            out += ["=== status\n", cls.ctl("status").stdout]
        for verb in (["status"], ["log", "api"], ["uplink"]):
            done = subprocess.run([sys.executable, SIM, *verb, "--name", cls.name], capture_output=True, text=True)
            out += [f"=== sim {' '.join(verb)}\n", "\n".join(done.stdout.splitlines()[-12:]), "\n"]
        sys.stderr.write("".join(out) + "=== end\n")

    # --- the daemon -----------------------------------------------------------------------------------------

    @classmethod
    def ctl(cls, *arguments, timeout=60, **options):
        """donglectl against this daemon."""
        return subprocess.run([os.path.join(BIN, "donglectl"), "--socket", cls.daemon.socket_path, *map(str, arguments)],
                              **{"capture_output": True, "text": True, "timeout": timeout} | options)

    @classmethod
    def ctl_json(cls, *arguments, **options):
        done = cls.ctl(*arguments, "--json", **options)
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"donglectl {arguments}: exit {done.returncode}: {done.stdout}{done.stderr}") from None

    @classmethod
    def status(cls, id):
        return one(cls.daemon.request({"verb": "status"}), id)

    @classmethod
    def wait_state(cls, id, states, timeout=5.0):
        """Until the dongle is in one of the states: its part of the status."""
        states = states.split()
        return one(cls.daemon.wait_for(lambda document: one(document, id)["state"] in states, timeout), id)

    @classmethod
    def wait_all_online(cls, timeout=STARTUP):
        """Online, and the public address of each known."""
        return cls.daemon.wait_for(lambda document: all(
            each["state"] == "online" and each["public_ip"] for each in document["dongles"]), timeout)

    @classmethod
    def restart_daemon(cls):
        """A clean start, for tests that would otherwise feel what others did (repairs counted, cooldowns)."""
        if cls.daemon.is_running():
            cls.daemon.stop()
        cls.daemon.start()
        cls.wait_all_online()

    @classmethod
    def worker_pid(cls, id):
        worker = cls.status(id)["worker"]
        return worker and worker["pid"]

    @classmethod
    def port(cls, id):
        return 10000 + id

    # --- the rack -------------------------------------------------------------------------------------------

    @classmethod
    def fault(cls, id, fault, argument=None, **more):
        cls.sim.call("fault", id=id, fault=fault, argument=argument, **more)

    @classmethod
    def clear_faults(cls):
        cls.fault("all", "clear")
        cls.fault("inet", "clear")

    @classmethod
    def public_ip(cls, id):
        return cls.sim.modem(id)["public_ip"]

    @classmethod
    def ip(cls, *arguments, check=True):
        """ip in the host's namespace."""
        return subprocess.run(["ip", "-n", cls.host, *map(str, arguments)], capture_output=True, text=True, check=check).stdout

    @classmethod
    def nft(cls, *arguments, stdin=None, check=True):
        return cls.sim.run("nft", *arguments, input=stdin, check=check).stdout

    @classmethod
    def counter(cls, name):
        """Packets counted by one of the daemon's nftables counters."""
        listed = json.loads(cls.nft("-j", "list", "counter", "inet", TABLE, name))["nftables"]
        return next(each["counter"]["packets"] for each in listed if "counter" in each)

    @classmethod
    def leaks(cls):
        """What was seen at the uplink since the last clear."""
        return cls.sim.call("uplink")["entries"]

    def assert_no_leak(self, ids=()):
        self.assertEqual(self.leaks(), [], "packets left by the uplink")
        for id in ids:
            self.assertEqual(self.counter(f"leak_{id}"), 0, f"the kill switch of dongle {id} had to act")

    # --- clients --------------------------------------------------------------------------------------------

    @classmethod
    def client(cls, id, timeout=5.0, inside="host", address="127.0.0.1"):
        """A client of a dongle's proxy port, speaking bytes."""
        sock = netns.call_in(f"{cls.name}-{inside}", socket.socket, socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect((address, cls.port(id)))
        except OSError:
            sock.close()
            raise
        return ProxyClient(sock)

    @classmethod
    def curl(cls, id, url, *options, scheme="socks5h", inside="host", address="127.0.0.1", timeout=5):
        """curl through a dongle's proxy: the text it printed, or "" with any failure."""
        done = cls.sim.run("curl", "-sS", "-m", str(timeout), "-x", f"{scheme}://{address}:{cls.port(id)}", *options, url,
                           inside=inside)
        return done.stdout.strip()

    def assert_serves(self, id, timeout=5):
        """The dongle's proxy reaches the internet, by its own modem."""
        self.assertEqual(self.curl(id, "http://ip.test/", timeout=timeout), self.public_ip(id))


def one(document, id):
    return next(each for each in document["dongles"] if each["id"] == id)


def _command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read()
    except OSError:
        return ""


def kill(pid):
    os.kill(pid, signal.SIGKILL)
