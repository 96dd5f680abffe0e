"""A stick's network device goes, falters, comes back under another name, or hides in a flood of events."""
import os
import re
import signal
import sys
import threading
import time
import unittest

import testrack
from proxy_client import http_get
from transfers import Download


def say(text):
    print(f"  {text}", file=sys.stderr)


def sockets_of(pid):
    """How many sockets a process holds."""
    links = []
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{pid}/fd/{entry}"))
        except FileNotFoundError:
            pass
    return sum(link.startswith("socket:") for link in links)


class Tunnel(threading.Thread):
    """A connection through the proxy that is at work until it ends; remembers when that was."""

    def __init__(self, test, id, what):
        super().__init__()
        self.ended = self.how = None
        self._what = what
        host, port = {"download": ("download.test", 80), "upload": ("echo.test", 9), "idle": ("echo.test", 7)}[what]
        self._client = test.client(id, timeout=10).connect(host, port)
        if what == "download":
            self._client.send(http_get("/slow/100000000/2000000", "download.test"))
            self._client.read(10_000)
        if what == "idle":
            self._client.echo(b"before")
        self.start()

    def run(self):
        sock = self._client.sock
        try:
            while self._what == "upload":
                sock.sendall(b"x" * 10_000)
                time.sleep(0.01)        # a pace, or the load is all that is measured
            while sock.recv(1 << 16):
                pass
            self.how = "end"
        except OSError as error:        # TimeoutError: it never ended
            self.how = type(error).__name__
        self.ended = time.monotonic()
        sock.close()


class Vanishing(testrack.TestCase):
    """F10, F11: gone in the middle of transfers; without carrier for a while."""
    UP = ["--modems", "4"]

    def setUp(self):
        self.sim.call("uplink", clear=True)

    def assert_all_end(self, id, remove):
        """Removes the device under transfers: each ends within a second, new ones are refused with the right word."""
        worker, before = self.worker_pid(id), len(self.ctl_json("incidents", id)["incidents"])
        base = sockets_of(worker)
        neighbour = Download(self, 13, 2)
        tunnels = [Tunnel(self, id, what) for what in ("download", "upload", "idle") for _ in range(3)]
        self.assertGreaterEqual(sockets_of(worker), base + 2 * len(tunnels))
        began = time.monotonic()
        remove()
        for tunnel in tunnels:
            tunnel.join()
        self.assertNotIn("TimeoutError", [tunnel.how for tunnel in tunnels])
        took = max(tunnel.ended for tunnel in tunnels) - began
        say(f"the last of {len(tunnels)} tunnels ended {took * 1000:.0f} ms after the command to remove the device began")
        self.assertLessEqual(took, 1)
        for host in ("203.0.113.80", "ip.test"):
            with self.client(id) as client:
                self.assertEqual(client.request(host, 80), 3)
        self.assertTrue(testrack.eventually(lambda: sockets_of(worker) <= base, 3), "the worker keeps sockets")
        self.assertEqual(self.wait_state(id, "absent")["worker"]["pid"], worker)
        incidents = self.ctl_json("incidents", id)["incidents"]
        self.assertEqual([each["fault"] for each in incidents[before:]], ["interface_gone"])
        self.assertTrue(neighbour.is_exact(), "a neighbour's transfer broke")
        self.assert_no_leak([id, 13])

    def test_f10_a_device_deleted_under_transfers_ends_them_all_within_a_second(self):
        self.assert_all_end(11, lambda: self.ip("link", "del", "m11"))
        self.fault(11, "plug")
        self.wait_state(11, "online", 5)
        self.assert_serves(11)

    def test_f10_a_device_moved_into_another_namespace_is_gone_as_well(self):
        self.assert_all_end(12, lambda: self.ip("link", "set", "m12", "netns", f"{self.name}-lan"))
        testrack.netns.ip("link", "set", "m12", "netns", self.host, namespace=f"{self.name}-lan")
        self.wait_state(12, "online", 5)
        self.assert_serves(12)

    def test_f11_a_lost_carrier_fails_new_connects_fast_and_is_over_a_second_after_its_return(self):
        worker = self.worker_pid(14)
        established = self.client(14).connect("echo.test", 7)
        self.assertTrue(established.echo(b"before"))
        self.fault(14, "carrier_down")
        # Of a loss the kernel tells at most once a second, whatever device it was.
        self.assertTrue(testrack.eventually(lambda: "state UP" not in self.ip("link", "show", "m14"), 2))
        until, slowest = time.monotonic() + 2, 0
        while (began := time.monotonic()) < until:
            for host in ("203.0.113.80", f"host{100 + int(began * 10) % 20}.test"):
                began = time.monotonic()
                with self.client(14) as client:
                    self.assertEqual(client.request(host, 80), 3)
                slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.1)
        began = time.monotonic()
        self.fault(14, "carrier_up")
        served = testrack.eventually(lambda: self.curl(14, "http://ip.test/", timeout=1) == self.public_ip(14), 3)
        took = time.monotonic() - began
        say(f"without carrier a connect fails within {slowest * 1000:.0f} ms; served {took * 1000:.0f} ms after its return")
        self.assertLessEqual(slowest, 1)
        self.assertTrue(served)
        self.assertLessEqual(took, 1)
        self.assertTrue(established.echo(b"after"), "the established connection broke for a pause of 2 s")
        established.close()
        self.assertEqual(self.wait_state(14, "online", 10)["worker"]["pid"], worker)
        self.assert_no_leak([14])


class Reappearing(testrack.TestCase):
    """F12, F13: known by something else than its name, a stick is followed wherever it turns up."""
    UP = ["--modems", "2"]
    CONFIG = ["--address", "dhcp"]

    @classmethod
    def config(cls):
        text = super().config()
        for id in (11, 12):
            text = text.replace(f'interface: "m{id}"', f'mac: "0c:5b:8f:27:9a:{id:02x}"')
        return text

    def setUp(self):
        self.sim.call("uplink", clear=True)

    def serves_within(self, id, seconds):
        began = time.monotonic()
        served = testrack.eventually(lambda: self.curl(id, "http://ip.test/", timeout=1) == self.public_ip(id), 2 * seconds)
        took = time.monotonic() - began
        self.assertTrue(served, "not served again")
        say(f"dongle {id} serves {took * 1000:.0f} ms after its interface came, DHCP included")
        self.assertLessEqual(took, seconds)

    def test_f12_back_under_another_name_and_index_it_serves_within_five_seconds(self):
        worker, index = self.worker_pid(11), self.sim.modem(11)["ifindex"]
        self.fault(11, "unplug")
        self.wait_state(11, "absent")
        self.fault(11, "plug", "wwan5")
        self.serves_within(11, 5)
        self.assertNotEqual(self.sim.modem(11)["ifindex"], index)
        told = self.wait_state(11, "online")
        self.assertEqual((told["interface"], told["worker"]["pid"]), ("wwan5", worker))
        # The kill switch and the rules know the new name, and the old one has nothing left to it.
        for text in (self.nft("list", "table", "inet", testrack.TABLE), self.ip("rule", "show")):
            self.assertIn("wwan5", text)
            self.assertNotIn("m11", text)
        self.assert_no_leak([11, 12])

    def test_f13_two_sticks_that_come_back_under_each_others_names_are_not_taken_for_each_other(self):
        for id in (11, 12):
            self.fault(id, "unplug")
        for id in (11, 12):
            self.wait_state(id, "absent")
        self.fault(11, "plug", "m12")
        self.fault(12, "plug", "m11")
        for id in (11, 12):
            self.serves_within(id, 5)
        self.assertEqual((self.status(11)["interface"], self.status(12)["interface"]), ("m12", "m11"))
        self.assert_no_leak([11, 12])


class Flood(testrack.TestCase):
    """F19: more netlink events than anybody reads."""
    UP = ["--modems", "3"]

    def flood(self, events):
        """So many events, by routes and addresses of the host that come and go."""
        lines = [line for n in range(events // 8) for line in (
            f"addr add 10.66.{n // 250 % 250}.{n % 250 + 1}/32 dev lan0", f"addr del 10.66.{n // 250 % 250}.{n % 250 + 1}/32 dev lan0",
            f"route add 10.67.{n // 250 % 250}.{n % 250 + 1}/32 dev lan0", f"route del 10.67.{n // 250 % 250}.{n % 250 + 1}/32 dev lan0")]
        testrack.netns.ip_batch(lines, self.host)

    def damage(self):
        self.ip("rule", "del", "oif", "m11", "lookup", "11")
        self.ip("route", "flush", "table", 12)
        self.ip("link", "del", "m13")

    def assert_right_within(self, seconds, before):
        began = time.monotonic()
        self.assertTrue(testrack.eventually(lambda: self.status(13)["state"] == "absent", 2 * seconds), "the loss isn't seen")
        self.assertTrue(testrack.eventually(lambda: self.look() == before, 2 * seconds), f"{before} -> {self.look()}")
        took = time.monotonic() - began
        say(f"right again {took * 1000:.0f} ms after the flood")
        self.assertLessEqual(took, seconds)
        for id in (11, 12):
            self.assert_serves(id)
        with self.client(13) as client:
            self.assertEqual(client.request("203.0.113.80", 80), 3)
        self.assert_no_leak((11, 12, 13))

    def look(self):
        """Rules and routes of the two that stay."""
        lines = self.ip("rule", "show") + self.ip("route", "show", "table", 11) + self.ip("route", "show", "table", 12)
        return [line for line in lines.splitlines() if not re.search(r"m13|192\.168\.13\.", line)]

    def test_1_f19_ten_thousand_events_hide_nothing(self):
        self.sim.call("uplink", clear=True)
        before = self.look()
        self.flood(5000)
        self.damage()
        self.flood(5000)
        self.assert_right_within(2, before)

    def test_2_f19_after_an_overrun_everything_is_read_anew(self):
        self.fault(13, "plug")
        self.wait_all_online()
        before, overruns = self.look(), self.daemon.log().count("event=netlink_overrun")
        self.daemon.process.send_signal(signal.SIGSTOP)
        try:
            self.flood(20_000)
            self.damage()
            self.flood(20_000)
        finally:
            self.daemon.process.send_signal(signal.SIGCONT)
        self.assert_right_within(2, before)
        self.assertGreater(self.daemon.log().count("event=netlink_overrun"), overruns, "there was no overrun")


if __name__ == "__main__":
    unittest.main()
