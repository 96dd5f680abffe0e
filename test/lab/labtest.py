"""The base of the scenarios: one boot for all of them, and a folder for each that fails.

    class SomeTest(labtest.TestCase):
        def test_something(self):
            self.serve(11, 12)              # the daemon with these two, both online
            self.lab.yank(11)
"""
import atexit
import json
import os
import shutil
import sys
import time
import unittest

import figures
import image
import programs
from lab import Lab

REPORTS = os.path.join(programs.ROOT, "build", "lab")

_lab = None
_reason = None


def the_lab():
    """The one machine of this process; SkipTest with the reason where there can't be one."""
    global _lab, _reason
    if _reason:
        raise unittest.SkipTest(_reason)
    if _lab is None:
        began = time.monotonic()
        try:
            _lab = Lab().__enter__()
        except image.Unavailable as error:
            _reason = f"no laboratory: {error}"
            raise unittest.SkipTest(_reason) from None
        atexit.register(_lab.__exit__)
        print(f"the virtual machine is up after {time.monotonic() - began:.0f} s", file=sys.stderr)
    return _lab


# What takes long is left to `test/run lab`, so that a run of every kind stays well below twenty minutes.
is_slow = unittest.skipIf(os.environ.get("DONGLE_LAB") == "fast", "slow: sudo test/run lab runs it")


class TestCase(unittest.TestCase):
    maxDiff = 3000

    @classmethod
    def setUpClass(cls):
        cls.lab = the_lab()

    def setUp(self):
        self.lab.reset()

    @property
    def vm(self):
        return self.lab.vm

    @property
    def daemon(self):
        return self.lab.daemon

    @property
    def rack(self):
        return self.lab.rack

    def serve(self, *ids, **sections):
        """The daemon, started anew with these sticks and settings. Returns once all are online."""
        self.daemon.stop()
        self.daemon.start(self.lab.config(ids, **sections))
        self.daemon.wait_online(ids, 40)

    # --- what scenarios ask ---------------------------------------------------------------------------------

    def fetch(self, id, url="http://ip.test/", timeout=10):
        """What comes back through the dongle's proxy, or AssertionError with curl's words."""
        done = self.vm.run(f"curl -sS -m {timeout} -x socks5h://127.0.0.1:{10000 + id} {url}", timeout + 5, check=False)
        self.assertEqual(done.code, 0, f"dongle {id}: {done.err}")
        return done.out.strip()

    def assert_serves(self, id):
        """A request through the dongle leaves by its own modem."""
        self.assertEqual(self.fetch(id), self.rack.modem(id)["public_ip"])

    def wait_incident(self, id, timeout):
        """The dongle's last incident, once it has ended."""
        def ended():
            incident = self.daemon.last_incident(id)
            return incident if incident and incident["outcome"] != "ongoing" else None
        return self.eventually(ended, timeout, f"an incident of dongle {id} has ended")

    def assert_within(self, seconds, begin, end=None):
        """Not counted is what other programs of this host took (stolen.py). begin, end (default: now): time.monotonic()."""
        end = end or time.monotonic()
        stolen = self.lab.machine.stolen.between(begin, end)
        self.assertLess(end - begin - stolen, seconds, f"{end - begin:.1f} s, {stolen:.1f} s of them stolen")

    def record(self, what, began, incident, cost):
        """A row of the table (figures.py); began: time.monotonic() of the fault. Returns our share in seconds."""
        step = incident["steps"][-1]
        _, wall = self.vm.clock_offsets()
        total = incident["ended_ms"] / 1000 + wall - began
        acted = step["at_ms"] / 1000 + wall
        stolen = self.lab.machine.stolen.between(acted, acted + step["took_ms"] / 1000)
        return figures.record(what, total, incident, cost, stolen)

    def start_transfer(self, id, rate=20000):
        """A download through the dongle that takes minutes; wait() on the result for its end."""
        url = f"http://download.test/slow/100000000/{rate}"
        return self.vm.start(f"curl -sS -o /dev/null -x socks5h://127.0.0.1:{10000 + id} {url}", 300)

    def connections(self, id):
        worker = self.daemon.status()[id]["worker"]
        return worker["connections"] if worker else 0

    def eventually(self, question, seconds, what):
        """For facts that nothing announces."""
        deadline = time.monotonic() + seconds
        while not (answer := question()):
            if time.monotonic() > deadline:
                self.fail(f"not within {seconds} s: {what}")
            time.sleep(0.1)
        return answer

    def enumeration(self, id):
        """Seconds from being put on the bus to the interface."""
        added = [event["seen"] for event in self.vm.uevents if event["ACTION"] == "add" and event["SUBSYSTEM"] == "net"
                 and f"/{self.lab.path(id)}/" in event["DEVPATH"]]
        return max(0.0, added[-1] - self.lab.came[id])

    # --- failures -------------------------------------------------------------------------------------------

    def run(self, result=None):
        def bad():
            return len(result.failures) + len(result.errors)
        before = bad() if result else 0
        super().run(result)
        if result and bad() > before and _lab:
            result.stream.writeln(f"  see {self._keep()}/")

    def _keep(self):
        """Puts what a person wants to see into a folder; returns its path."""
        folder = os.path.join(REPORTS, self.id().split(".", 1)[1])
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)

        def write(name, question):
            try:
                text = question()
            except Exception as error:
                text = f"not to be had: {error}\n"
            with open(os.path.join(folder, name), "w") as file:
                file.write(text if isinstance(text, str) else json.dumps(text, indent=1) + "\n")
        write("daemon.log", self.daemon.journal)
        write("journal.log", lambda: self.vm.run("journalctl -b -o short-monotonic --no-pager --no-hostname").out)
        write("incidents.json", self.daemon.incidents)
        write("status.json", lambda: self.daemon.request("status"))
        write("network.txt", lambda: self.vm.run("ls -l /sys/class/net /sys/bus/usb/devices; ip addr; ip rule; ip route show table all").out)
        write("rack.json", lambda: self.rack.call("status"))
        write("qemu.txt", lambda: "\n".join(self.lab.machine.words) + "\n")
        write("console.log", lambda: open(self.lab.machine.console_log, errors="replace").read())
        return os.path.relpath(folder)
