"""Each stage of the ladder mends what it is for."""
import json
import time
import unittest

import descriptors
import labtest


# Seconds. The figure to hold is 2, read off the table of a quiet run; an emulated machine is not timed more closely.
LONGEST_SHARE = 5


class LadderTest(labtest.TestCase):
    def recover(self, id, timeout, fault, *arguments):
        """Injects the fault, waits for the ladder: (when it was injected, the incident, kernel events since)."""
        after, began = len(self.vm.uevents), time.monotonic()
        self.rack.fault(id, fault, *arguments)
        self.daemon.wait_for(lambda status: status[id]["state"] in ("recovering", "absent"), 40)
        self.daemon.wait_online([id], timeout)
        incident = self.wait_incident(id, 5)
        self.assertEqual(incident["outcome"], "recovered")
        self.assert_serves(id)
        return began, incident, self.vm.uevents[after:]

    def actions(self, incident):
        return [step["action"] for step in incident["steps"]]

    def test_00_moved_network_route_stage(self):
        """A modem that nobody can ask moves its network: the old lease leads nowhere, the route stage asks for a new one."""
        config = json.loads(self.lab.config([11]))
        config["dongles"][0]["modem"] = {"type": "none"}
        self.daemon.stop()
        self.daemon.start(json.dumps(config))
        self.daemon.wait_online([11], 40)
        began, incident, _ = self.recover(11, 60, "dhcp_change", "192.168.77.0/24")
        self.assertEqual(self.actions(incident), ["route_reset"])
        self.assertLess(self.record("the modem's network moved", began, incident, 0), LONGEST_SHARE)

    def test_01_data_dead_modem_stage(self):
        self.serve(11, 12)
        began, incident, _ = self.recover(11, 40, "wan_blackhole", "reconnect")
        self.assertEqual(self.actions(incident)[-1], "data_switch")
        self.assertLess(self.record("mobile data dead", began, incident, 0.3 + 0.3), LONGEST_SHARE)     # off_time, the modem's attach_time

    @labtest.is_slow
    def test_02_api_dead_usb_rebind(self):
        self.serve(11, 12)
        began, incident, events = self.recover(11, 60, "dead_gateway", "rebind")
        self.assertEqual(self.actions(incident), ["usb_rebind"], "no answer from before the fault is believed")
        unbound = next(event["seen"] for event in events if event["ACTION"] == "unbind")
        added = next(event["seen"] for event in events if event["ACTION"] == "add" and event["SUBSYSTEM"] == "net")
        self.assertLess(self.record("API and network side dead", began, incident, added - unbound), LONGEST_SHARE)
        self.assertEqual(self.daemon.status()[12]["state"], "online")

    def test_03_off_the_bus_port_power(self):
        """A stick that fell off the bus and needs its power cut to come back."""
        self.serve(11, 12)
        others = self.start_transfer(12)
        began, incident, _ = self.recover(11, 60, "power_cut")
        self.assertEqual(self.actions(incident), ["port_power"])
        self.assertLess(self.record("off the bus", began, incident, 3 + 1.5 + self.enumeration(11)), LONGEST_SHARE)
        self.assertFalse(others.is_done(), "a neighbour's transfer broke")
        self.vm.run("pkill -x curl", check=False)

    @labtest.is_slow
    def test_04_hung_until_its_power_is_cut(self):
        """On the bus, but dead to everything but its power: the whole way up from rebind to port power."""
        self.serve(11, 12)
        others = self.start_transfer(12)
        began, incident, events = self.recover(11, 120, "dead_gateway", "power")
        bystanders = [event for event in events if f"/{self.lab.path(12)}" in event["DEVPATH"]]
        self.assertEqual(bystanders, [], "F30: nothing happens to the others on its hub")
        self.assertFalse(others.is_done(), "a neighbour's transfer broke")
        self.vm.run("pkill -x curl", check=False)
        self.assertEqual(self.actions(incident)[-1], "port_power")
        self.assertIn("left the bus", incident["steps"][-1]["detail"])
        self.record("hung until its power is cut", began, incident, 3 + 1.5 + self.enumeration(11))

    def test_05_installation_disk_is_switched(self):
        self.daemon.stop()
        self.daemon.start(self.lab.config([11, 21]))
        self.daemon.wait_online([11], 30)
        began = time.monotonic()
        self.lab.plug_huawei(21, descriptors.ZERO_CD)
        self.daemon.wait_online([21], 30)
        incident = self.wait_incident(21, 5)
        self.assertEqual([step["action"] for step in incident["steps"]], ["mode_switch"])
        self.assertEqual(self.vm.run(f"cat /sys/bus/usb/devices/{self.lab.path(21)}/idProduct").out.strip(), "14dc")
        self.assert_serves(21)
        self.record("shows its installation disk", began, incident, self.switching(21, "usb"))

    def switching(self, id, subsystem):
        """Seconds from the last end of what it was before (the disk, or the wwan0) to the card's interface."""
        events = [event for event in self.vm.uevents if f"/{self.lab.path(id)}" in event["DEVPATH"]]
        gone = [event["seen"] for event in events if event["ACTION"] == "remove" and event["SUBSYSTEM"] == subsystem][-1]
        added = [event["seen"] for event in events if event["ACTION"] == "add" and event["SUBSYSTEM"] == "net"][-1]
        return added - gone

    def test_06_ncm_configuration_is_put_right(self):
        self.daemon.stop()
        self.daemon.start(self.lab.config([11, 21]))
        self.daemon.wait_online([11], 30)
        began = time.monotonic()
        self.lab.plug_huawei(21, descriptors.HILINK_NCM)
        self.daemon.wait_online([21], 30)
        incident = self.wait_incident(21, 5)
        self.assertEqual([step["action"] for step in incident["steps"]], ["usb_configuration"])
        self.assertEqual(self.vm.run(f"cat /sys/bus/usb/devices/{self.lab.path(21)}/bConfigurationValue").out.strip(), "2")
        self.assert_serves(21)
        self.record("NCM configuration", began, incident, self.switching(21, "net"))


if __name__ == "__main__":
    unittest.main()
