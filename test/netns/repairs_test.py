"""What somebody else removes is put back within 500 ms and counted, and nobody notices; what isn't ours stays as it is."""
import sys
import time
import unittest

import testrack

DEADLINE = 0.5


class Repairs(testrack.TestCase):
    UP = ["--modems", "3"]

    def setUp(self):
        self.sim.call("uplink", clear=True)

    def rules(self):
        return [line for line in self.ip("rule", "show").splitlines()]

    def routes(self, id):
        return sorted(self.ip("route", "show", "table", id).splitlines())

    def addresses(self, id):
        return [line.split()[3] for line in self.ip("-o", "-4", "addr", "show", "dev", f"m{id}").splitlines()]

    def repairs(self, event):
        return self.daemon.log().count(f"event={event}")

    def assert_repaired(self, look, damage, id, event):
        """After the damage, look() answers as before within the deadline, while a connection goes on."""
        before, counted = look(), self.repairs(event)
        with self.client(id).connect("echo.test", 7) as tunnel:
            self.assertTrue(tunnel.echo(b"before"))
            began = time.monotonic()        # the command that does the damage is counted, too
            damage()
            repaired = testrack.eventually(lambda: look() == before, 3, pause=0.002)
            took = time.monotonic() - began
            self.assertTrue(repaired, f"before: {before}; now: {look()}")
            print(f"  damage and repair: {took * 1000:.0f} ms", file=sys.stderr)
            self.assertLessEqual(took, DEADLINE)
            self.assertTrue(tunnel.echo(b"after"), "the established connection broke")
        self.assertTrue(testrack.eventually(lambda: self.repairs(event) > counted), f"no {event} in the log")
        self.assert_serves(id)
        self.assertEqual(self.leaks(), [])

    def test_a_flushed_table(self):
        self.assert_repaired(lambda: self.routes(11), lambda: self.ip("route", "flush", "table", 11), 11, "route_repaired")

    def test_a_deleted_default_route(self):
        self.assert_repaired(lambda: self.routes(12), lambda: self.ip("route", "del", "default", "table", 12), 12, "route_repaired")

    def test_deleted_rules(self):
        def damage():
            for rule in [rule for rule in self.rules() if "m13" in rule]:
                self.ip("rule", "del", "pref", rule.split(":")[0], "oif", "m13", check=False)
        self.assertTrue(any("m13" in rule for rule in self.rules()))
        self.assert_repaired(self.rules, damage, 13, "route_repaired")

    def test_a_removed_address(self):
        self.assert_repaired(lambda: self.addresses(12), lambda: self.ip("addr", "flush", "dev", "m12"), 12, "route_repaired")

    def test_our_nftables_table_deleted(self):
        look = lambda: testrack.snapshot(self.host)["nftables"]
        self.assert_repaired(look, lambda: self.nft("delete", "table", "inet", testrack.TABLE), 11, "firewall_repaired")

    def test_the_whole_ruleset_flushed(self):
        look = lambda: testrack.snapshot(self.host)["nftables"]
        self.assert_repaired(look, lambda: self.nft("flush", "ruleset"), 12, "firewall_repaired")

    def test_our_chains_emptied(self):
        look = lambda: testrack.snapshot(self.host)["nftables"]
        self.assert_repaired(look, lambda: self.nft("flush", "table", "inet", testrack.TABLE), 13, "firewall_repaired")


class Neighbours(testrack.TestCase):
    """What others have set up is theirs."""
    UP = ["--modems", "2"]
    START = False

    FOREIGN_TABLE = "table inet foreign {\n chain out { type filter hook output priority 5; oifname \"up0\" counter accept; }\n}\n"

    @classmethod
    def add_foreign(cls):
        cls.ip("rule", "add", "pref", 5000, "from", "10.9.9.9", "lookup", 99)
        cls.ip("rule", "add", "pref", 13500, "to", "10.98.0.0/24", "lookup", 99)
        cls.ip("route", "add", "10.98.0.0/24", "dev", "lan0", "table", 99)
        cls.ip("route", "add", "10.99.0.0/24", "dev", "lan0")
        cls.ip("addr", "add", "10.97.0.1/24", "dev", "lan0")
        cls.nft("-f", "-", stdin=cls.FOREIGN_TABLE)

    def foreign(self):
        seen = testrack.snapshot(self.host)
        return {key: [line for line in lines if any(mark in line for mark in (
            "10.9.9.9", "10.97.", "10.98.", "10.99.", "foreign", "priority 5;", '"up0"', "up0 ", "lan0"))]
            for key, lines in seen.items()}

    def test_1_a_start_and_repairs_leave_the_rest_alone(self):
        self.add_foreign()
        type(self).before_start = testrack.snapshot(self.host)
        foreign = self.foreign()
        self.assertTrue(all(foreign[key] for key in ("rules -4", "routes -4", "addresses", "nftables")), foreign)
        self.daemon.start()
        self.wait_all_online()
        self.assertEqual(self.foreign(), foreign)
        for damage in (lambda: self.ip("route", "flush", "table", 11), lambda: self.nft("delete", "table", "inet", testrack.TABLE)):
            damage()
        self.assertTrue(testrack.eventually(lambda: "default" in self.ip("route", "show", "table", 11)))
        self.assertTrue(testrack.eventually(lambda: testrack.TABLE in self.nft("list", "tables")))
        self.assertEqual(self.foreign(), foreign)

    def test_2_a_stop_leaves_everything_as_it_was_before_the_start(self):
        self.assertNotEqual(testrack.snapshot(self.host), self.before_start)
        self.assertEqual(self.daemon.stop(), 0)
        self.assertEqual(testrack.snapshot(self.host), self.before_start)

    def test_3_a_stop_after_a_crash_too(self):
        self.daemon.start()
        self.wait_all_online()
        self.daemon.kill()
        self.daemon.start()
        self.wait_all_online()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertEqual(testrack.snapshot(self.host), self.before_start)


if __name__ == "__main__":
    unittest.main()
