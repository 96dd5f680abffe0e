"""Sticks that come, go and move."""
import re
import unittest

import labtest

PORT_OF_BOOT = re.compile(r"^\[\s*([\d.]+)\] kernel: .*register 'cdc_", re.M)
ONLINE = re.compile(r"^\[\s*([\d.]+)\] dongle-supervisor.* event=dongle_state dongle=(\d+) .*to=online", re.M)


class PlugTest(labtest.TestCase):
    def test_01_boot_with_eight_sticks(self):
        """Has to be the first: it looks at what the boot did."""
        self.daemon.wait_online(self.lab.ids, 60)
        journal = self.vm.run("journalctl -b -o short-monotonic --no-pager --no-hostname").out
        last_interface = max(float(when) for when in PORT_OF_BOOT.findall(journal))
        online = {}
        for when, id in ONLINE.findall(journal):
            online.setdefault(int(id), float(when))
        self.assertEqual(sorted(online), self.lab.ids)
        uptime, _ = self.vm.clock_offsets()
        self.assert_within(10, last_interface + uptime, max(online.values()) + uptime)
        for id in self.lab.ids:
            self.assert_serves(id)

    def test_02_yanked_under_transfer(self):
        self.serve(11, 12)
        broken, untouched = self.start_transfer(11), self.start_transfer(12)
        self.daemon.wait_for(lambda status: all(status[id]["worker"]["connections"] for id in (11, 12)), 10)
        self.lab.yank(11)
        done = broken.wait(5)
        self.assertNotEqual(done.code, 0)
        status = self.daemon.wait_for(lambda status: status[11]["state"] == "absent", 5)
        self.assertEqual(status[12]["state"], "online")
        self.assertFalse(untouched.is_done())
        # A new connection fails at once, with an answer.
        done = self.vm.run("curl -sS -m 10 -x socks5h://127.0.0.1:10011 http://ip.test/", check=False)
        self.assertNotIn(done.code, (0, 28), done.err)
        self.assertLess(done.seconds, 4)
        after = len(self.vm.uevents)
        self.lab.plug(11)
        came = self.lab.wait_interface(11, after)["seen"]
        self.daemon.wait_online([11], 30)
        self.assert_within(5, came)
        self.assert_serves(11)
        self.assertFalse(untouched.is_done())
        self.vm.run("pkill -x curl", check=False)

    def test_03_the_dongle_follows_the_port(self):
        """Two sticks change places: each dongle goes by its port, so each leaves by the other stick."""
        self.serve(11, 12)
        first, second = self.lab.ports[11], self.lab.ports[12]
        self.lab.yank(11)
        self.lab.yank(12)
        self.lab.plug(11, second)
        self.lab.plug(12, first)
        self.daemon.wait_online((11, 12), 20)
        self.eventually(lambda: self.fetch(11) == self.rack.modem(12)["public_ip"], 5, "dongle 11 leaves by stick 12")
        self.eventually(lambda: self.fetch(12) == self.rack.modem(11)["public_ip"], 5, "dongle 12 leaves by stick 11")

    def test_04_nothing_leaves_by_the_uplink(self):
        self.serve(11)
        self.rack.call("uplink", clear=True)
        self.lab.yank(11)
        self.vm.run("curl -sS -m 5 -x socks5h://127.0.0.1:10011 http://ip.test/", check=False)
        self.assertEqual(self.rack.call("uplink")["entries"], [])


if __name__ == "__main__":
    unittest.main()
