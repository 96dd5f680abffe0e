"""Traffic of a dongle leaves through its modem or not at all, whatever is broken, with the supervisor alive or dead."""
import sys
import unittest

import testrack

# What is done to the host, by the dongle it is done to: each state has a dongle of its own.
STATES = {
    11: ("the whole table flushed", lambda test: test.ip("route", "flush", "table", 11)),
    12: ("only the default deleted", lambda test: test.ip("route", "del", "default", "table", 12)),
    13: ("the link down", lambda test: test.ip("link", "set", "m13", "down")),
    14: ("the device deleted", lambda test: test.fault(14, "unplug")),
    16: ("no carrier", lambda test: test.fault(16, "carrier_down")),
    15: ("every rule deleted", lambda test: [test.ip("rule", "flush"), test.ip("rule", "add", "lookup", "main", "pref", 32766)]),
}


class Matrix(testrack.TestCase):
    UP = ["--modems", "6"]
    CONFIG = ["--timeout", "1s"]
    EXTRA = {"proxy": {"connect_timeout": "2s"}, "recovery": {"enabled": False}}

    def setUp(self):
        self.sim.call("uplink", clear=True)
        self.sim.call("log", what="http", clear=True)
        self.sim.call("log", what="dns", clear=True)

    def break_everything_under_traffic(self):
        """Each state's break, with a connection made before and connections tried after it, by address and by name."""
        established = {id: self.client(id).connect("echo.test", 7) for id in STATES}
        for id, tunnel in established.items():
            self.assertTrue(tunnel.echo(b"before"))
        for id, (_, do) in STATES.items():
            do(self)
        for id, tunnel in established.items():
            with self.subTest(STATES[id][0], traffic="established"):
                tunnel.sock.settimeout(0.3)
                try:
                    tunnel.echo(b"after" * 100)
                except OSError:
                    pass        # it may hang or end; it may not leak
        attempts = []
        for id in STATES:
            for host in ("203.0.113.81", f"host{id + 90}.test"):      # a name that nobody has cached
                client = self.client(id)
                client.greet()
                client.send(testrack.socks_request(host, 80))
                attempts.append((id, host, client))
        for id, host, client in attempts:
            with self.subTest(STATES[id][0], target=host), client:
                rep = client.reply()
                if rep == 0 and host == "203.0.113.81":
                    body = client.get("/ip").strip().decode()
                    self.assertIn(body, (self.public_ip(id), ""), "served by another way")
                else:
                    self.assertIsNotNone(rep, "no answer to the request")
        for tunnel in established.values():
            tunnel.close()

    def assert_tight(self):
        self.assert_no_leak(STATES)
        for what in ("dns", "http"):
            self.assertEqual(self.sim.call("log", what=what, id="uplink")["entries"], [])

    def mend(self):
        self.ip("link", "set", "m13", "up")
        self.clear_faults()

    def test_1_nothing_leaks_while_the_supervisor_lives(self):
        self.break_everything_under_traffic()
        self.wait_state(16, "degraded failed absent")       # by now, probes have met the broken link
        self.wait_state(14, "absent")
        # The operator's questions to a modem that is gone go nowhere, too.
        for verb in ("info", "apn", "why"):
            self.ctl(verb, 14)
        self.assert_tight()
        self.mend()
        self.wait_all_online(15)
        for id in STATES:
            self.assert_serves(id)
        self.assert_no_leak(STATES)

    def test_2_nothing_leaks_once_the_supervisor_is_killed(self):
        self.daemon.kill()
        pids = self.workers()
        self.assertEqual(len(pids), len(STATES))
        self.break_everything_under_traffic()
        self.assert_tight()
        self.assertEqual(self.workers(), pids)
        self.mend()

    def workers(self):
        """Process ids of the workers, by the uids that are theirs."""
        uids = {testrack.UID_BASE + id for id in STATES}
        pids = []
        for pid in testrack.netns.processes_in([self.host]):
            with open(f"/proc/{pid}/status") as file:
                uid = next(int(line.split()[1]) for line in file if line.startswith("Uid:"))
            if uid in uids:
                pids.append(pid)
        return sorted(pids)


class Detector(testrack.TestCase):
    """Would a leak be seen, and does each layer stop one alone?"""
    UP = ["--modems", "1"]

    def unbound_packet(self, id=11):
        """A datagram by the worker's user over a socket that nobody bound to the modem."""
        uid = str(testrack.UID_BASE + id)
        return self.sim.run("setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", sys.executable, "-c",
                            "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('203.0.113.80', 9))")

    def test_1_the_kill_switch_drops_what_another_layer_lets_through_and_counts_it(self):
        self.sim.call("uplink", clear=True)
        before = self.counter("leak_11")
        self.unbound_packet()
        self.assertEqual(self.counter("leak_11"), before + 1)
        self.assertEqual(self.leaks(), [])

    def test_2_it_counts_with_the_supervisor_dead_too(self):
        self.daemon.kill()
        before = self.counter("leak_11")
        self.unbound_packet()
        self.assertEqual(self.counter("leak_11"), before + 1)
        self.assertEqual(self.leaks(), [])

    def test_3_without_the_kill_switch_the_uplink_sees_that_packet(self):
        self.assertFalse(self.daemon.is_running())
        self.nft("delete", "table", "inet", testrack.TABLE)
        self.assertEqual(self.unbound_packet().returncode, 0)
        seen = [(entry["proto"], entry["dst"], entry["dport"]) for entry in self.leaks()]
        self.assertEqual(seen, [("udp", "203.0.113.80", 9)])

    def test_4_the_workers_own_sockets_keep_to_the_modem_without_the_kill_switch(self):
        self.sim.call("uplink", clear=True)
        self.ip("rule", "flush")
        self.ip("rule", "add", "lookup", "main", "pref", 32766)
        self.ip("route", "flush", "table", 11)
        for target in ("203.0.113.81", "host105.test"):
            with self.client(11, timeout=12) as client:
                client.request(target, 80)
        self.assertEqual(self.leaks(), [])


if __name__ == "__main__":
    unittest.main()
