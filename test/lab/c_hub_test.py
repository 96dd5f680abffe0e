"""Power: hubs that cut it, that lie, that cut it for all; and what a crash or a hanging kernel leaves behind."""
import json
import time
import unittest

import descriptors
import hub_lies
import labtest


class HubTest(labtest.TestCase):
    def on_odd_hub(self, word):
        """Sticks 11 and 12 on the odd hub, which says this of itself; the daemon serves them and stick 15 elsewhere."""
        self.daemon.stop()
        for id in (11, 12):
            self.lab.yank(id)
        self.lab.hub_says(word)
        for id, port in ((11, "3.1"), (12, "3.2")):
            self.lab.plug(id, port)

    def steps(self, id):
        incident = self.daemon.last_incident(id)
        return [(step["action"], step["outcome"]) for step in incident["steps"]] if incident else []

    @labtest.is_slow
    def test_01_a_hub_that_only_pretends(self):
        """It takes the request, says so, and keeps the power on. Never a false "done", and it is remembered."""
        self.on_odd_hub(hub_lies.SINGLY)
        self.serve(11, 12, 15, recovery={"stages": ["port_power", "hub_power"]})
        self.rack.fault(11, "dead_gateway", "power")
        self.daemon.wait_for(lambda status: status[11]["state"] == "failed", 120)
        outcomes = dict(self.steps(11))
        self.assertIn("port_power", outcomes)
        self.assertNotEqual(outcomes["port_power"], "recovered")
        lessons = json.loads(self.vm.get("/var/lib/dongle-supervisor/hubs.json"))
        self.assertIn("1-3", json.dumps(lessons))
        status = self.daemon.status()
        self.assertEqual([status[id]["state"] for id in (12, 15)], ["online", "online"])

    def test_02_ganged_hub_with_a_healthy_neighbour(self):
        """No cut."""
        self.on_odd_hub(hub_lies.GANGED)
        self.serve(11, 12)
        transfer = self.start_transfer(12)
        switched = self.lab.odd_switched
        self.rack.fault(11, "power_cut")
        self.eventually(lambda: dict(self.steps(11)).get("hub_power") == "skipped", 60, "the ladder is through")
        self.assertEqual(self.lab.odd_switched, switched, "a port of the ganged hub was switched")
        self.assertFalse(transfer.is_done(), "the neighbour's transfer broke")
        self.assertEqual(self.daemon.status()[12]["state"], "online")
        self.vm.run("pkill -x curl", check=False)

    @labtest.is_slow
    def test_03_ganged_hub_with_all_down(self):
        """One cut for both, and both are back. The hub switches singly in truth; the configuration says otherwise."""
        self.serve(17, 18, hubs=[{"name": "hub-c", "location": "1-2.4", "power": "ganged"}])
        began = time.monotonic()
        for id in (17, 18):
            self.rack.fault(id, "power_cut")
        self.daemon.wait_for(lambda status: status[17]["state"] == status[18]["state"] == "recovering", 60)
        self.daemon.wait_online((17, 18), 90)
        for id in (17, 18):
            self.assert_serves(id)
        self.assertIn(("hub_power", "recovered"), self.steps(17) + self.steps(18))
        acted = next(id for id in (17, 18) if ("hub_power", "recovered") in self.steps(id))
        # The kernel sets up what comes back on a hub one after the other.
        cost = 3 + 1.5 + max(self.enumeration(17), self.enumeration(18))
        self.record("two off the bus, ganged hub", began, self.daemon.last_incident(acted), cost)

    def test_04_killed_between_off_and_on(self):
        """The port is on again at the next start."""
        self.serve(11, 12, recovery={"stages": ["port_power"]})
        after = len(self.vm.uevents)
        self.rack.fault(11, "dead_gateway", "power")
        path = self.lab.path(11)
        self.vm.wait_uevent(lambda event: event["ACTION"] == "remove" and event["DEVPATH"].endswith(f"/{path}")
                            and event.get("DEVTYPE") == "usb_device", after, 90)
        self.daemon.kill()
        hub, port = path.rpartition(".")[0], path.rpartition(".")[2]
        disable = f"cat /sys/bus/usb/devices/{hub}:1.0/{hub}-port{port}/disable"
        self.assertEqual(self.vm.run(disable).out.strip(), "1")
        self.daemon.start_again()
        self.eventually(lambda: self.vm.run(disable).out.strip() == "0", 10, "the port is on")
        self.daemon.wait_online((11, 12), 40)
        self.assert_serves(11)

    def test_05_operator_switches_a_port(self):
        self.serve(11, 12)
        said = self.vm.run("donglectl power cycle 11 --dry-run").out
        self.assertIn("1-1", said)
        self.assertTrue(self.lab.is_on_bus(11))
        self.vm.run("donglectl power off 11 --yes", 30)
        self.assertFalse(self.lab.is_on_bus(11))
        self.assertEqual(self.daemon.status()[12]["state"], "online")
        self.vm.run("donglectl power on 11", 40)
        self.daemon.wait_online((11, 12), 40)

    @labtest.is_slow
    def test_06_helper_stuck_in_the_kernel(self):
        """A stick that answers nothing keeps the kernel busy with its hub: whoever switches a port there hangs with it. The
        others go on."""
        self.serve(11, 17)
        transfer = self.start_transfer(11)
        self.lab.plug_huawei(22, descriptors.MUTE)
        self.rack.fault(17, "power_cut")
        self.eventually(lambda: "event=usb_hub_held" in self.daemon.journal(), 60, "the hub is known as held")
        answered = self.vm.run("donglectl status", 5, check=False)
        self.assertEqual(answered.code, 3, "not all are up, and it says so")
        self.assertLess(answered.seconds, 3)
        self.assert_serves(11)
        self.assertFalse(transfer.is_done(), "a transfer elsewhere broke")
        self.lab.yank(22)
        self.daemon.wait_online((17,), 150)
        self.vm.run("pkill -x curl", check=False)


if __name__ == "__main__":
    unittest.main()
