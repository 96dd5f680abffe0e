"""A modem fails, is noticed, and is brought back by the ladder, which tells what it saw, did and proved."""
import json
import subprocess
import time
import unittest

import testrack

INTERVAL = 1.0
FAST_MODEM = "attach_time=0.1,boot_time=0.5,netmode_time=0.2"


class Recovering(testrack.TestCase):
    """Helpers of the classes below."""

    def incidents(self, id):
        return self.ctl_json("incidents", id)["incidents"]

    def last_incident(self, id):
        return self.incidents(id)[-1]

    def wait_ended(self, id, number, timeout=10):
        """The incident that came after so many others, once it is over."""
        def look():
            incidents = self.incidents(id)
            return incidents[number] if len(incidents) > number and incidents[number]["outcome"] != "ongoing" else None
        incident = testrack.eventually(look, timeout, pause=0.1)
        self.assertIsNotNone(incident, f"no incident that has ended: {self.incidents(id)}")
        return incident

    def actions(self, incident):
        return [(step["action"], step["outcome"]) for step in incident["steps"]]

    def posts(self, id):
        return [entry for entry in self.sim.call("log", what="api", id=id)["entries"] if entry["method"] == "POST"]


class Ladder(Recovering):
    UP = ["--modem", f"id=11,{FAST_MODEM}", "--modem", f"id=12,{FAST_MODEM}", "--modem", f"id=13,{FAST_MODEM}",
          "--modem", f"id=14,{FAST_MODEM}"]
    CONFIG = ["--interval", "1s", "--timeout", "500ms", "--settle", "2s", "--retry-after", "2s", "--off-time", "200ms"]
    EXTRA = {"proxy": {"connect_timeout": "1s"}}

    def assert_told(self, incident, fault):
        """An incident says what was seen, what was done, what it proved and how long each took."""
        self.assertEqual(incident["outcome"], "recovered")
        self.assertEqual(incident["fault"], fault)
        for key in ("seen", "evidence", "began", "ended"):
            self.assertTrue(incident[key], key)
        self.assertGreater(incident["took_ms"], 0)
        self.assertTrue(incident["steps"])
        for step in incident["steps"]:
            self.assertTrue(step["reason"] and step["detail"], step)
        self.assertEqual(incident["steps"][-1]["outcome"], "recovered")
        self.assertGreater(incident["steps"][-1]["took_ms"], 0)

    def test_data_switched_off_behind_our_back_is_noticed_within_three_intervals_and_switched_on(self):
        number = len(self.incidents(11))
        began = time.monotonic()
        self.fault(11, "data_off")
        self.wait_state(11, "recovering", 3 * INTERVAL + 0.5)
        self.assertLessEqual(time.monotonic() - began, 3 * INTERVAL)
        self.wait_state(11, "online", 10)
        incident = self.wait_ended(11, number)
        self.assert_told(incident, "data_switched_off")
        self.assertEqual(incident["steps"][0]["stage"], "modem")
        self.assertEqual(self.actions(incident)[-1], ("data_switch", "recovered"))
        self.assert_serves(11)
        self.assertTrue(self.sim.modem(11)["data"])

    def test_a_dead_wan_is_noticed_within_three_intervals_and_recovered_by_a_reconnect(self):
        number = len(self.incidents(12))
        began = time.monotonic()
        self.fault(12, "wan_blackhole", "until=reconnect")
        self.wait_state(12, "recovering", 3 * INTERVAL + 1)
        self.assertLessEqual(time.monotonic() - began, 3 * INTERVAL)
        incident = self.wait_ended(12, number)
        self.assert_told(incident, "no_egress")
        self.assertEqual(self.actions(incident), [("data_switch", "recovered")])
        self.wait_state(12, "online")
        self.assert_serves(12)

    def test_the_ladder_climbs_until_a_reboot_helps(self):
        number = len(self.incidents(13))
        self.fault(13, "wan_blackhole", "until=reboot")
        incident = self.wait_ended(13, number, 30)
        self.assert_told(incident, "no_egress")
        self.assertEqual(self.actions(incident),
                         [("data_switch", "no_effect"), ("network_mode", "no_effect"), ("reboot", "recovered")])
        self.wait_state(13, "online")
        self.assert_serves(13)
        self.assertEqual(self.sim.modem(13)["network_mode"], "00")

    def test_another_network_mode_helps_where_a_reconnect_does_not(self):
        number = len(self.incidents(14))
        self.fault(14, "wan_blackhole", "until=netmode")
        incident = self.wait_ended(14, number, 20)
        self.assert_told(incident, "no_egress")
        self.assertEqual(self.actions(incident), [("data_switch", "no_effect"), ("network_mode", "recovered")])
        self.assert_serves(14)

    def test_why_tells_the_diagnosis_while_it_lasts(self):
        self.wait_state(12, "online", 10)
        self.fault(12, "wan_blackhole", "until=netmode")
        self.wait_state(12, "recovering", 5)
        why = testrack.eventually(lambda: (said := self.ctl_json("why", 12))["steps"] and said)
        self.assertEqual(why["state"], "recovering")
        self.assertEqual(why["diagnosis"]["fault"], "no_egress")
        self.assertTrue(why["diagnosis"]["evidence"] and why["next"])
        self.assertEqual(why["steps"][0]["action"], "data_switch")
        self.wait_state(12, "online", 15)


class UnderTraffic(Recovering):
    UP = ["--modem", f"id=11,{FAST_MODEM}", "--modem", f"id=12,{FAST_MODEM}"]
    CONFIG = ["--interval", "30s", "--timeout", "500ms", "--settle", "2s", "--off-time", "200ms", "--down-after", "3"]
    EXTRA = {"proxy": {"connect_timeout": "500ms"}}

    def assert_noticed_by_three_connects(self, id):
        noticed_before = len(self.incidents(id))
        for _ in range(3):
            with self.client(id) as client:
                self.assertNotEqual(client.request("203.0.113.80", 80), 0)
        # The next probe would be due in half a minute: it's the connects that told.
        self.assertTrue(testrack.eventually(lambda: len(self.incidents(id)) > noticed_before, 3), "not noticed")
        self.wait_ended(id, noticed_before)
        self.wait_state(id, "online", 10)
        self.assert_serves(id)

    def test_data_switched_off_is_noticed_within_three_failed_connects(self):
        self.fault(11, "data_off")
        self.assert_noticed_by_three_connects(11)

    def test_a_dead_wan_is_noticed_within_three_failed_connects(self):
        self.fault(12, "wan_blackhole", "until=reconnect")
        self.assert_noticed_by_three_connects(12)

    def test_connects_that_fail_for_the_targets_own_fault_are_no_incident(self):
        self.wait_all_online()
        before = len(self.incidents(11))
        for _ in range(5):
            with self.client(11) as client:
                self.assertEqual(client.request("refused.test", 80), 5)
        self.assertEqual(self.wait_state(11, "online")["stage"], None)
        self.assertEqual(len(self.incidents(11)), before)


class PersonsWork(Recovering):
    """What only a person can mend: the ladder keeps off, and keeps looking."""
    FAULTS = {11: ("no_sim", "sim_missing"), 12: ("pin_required", "pin_required"),
              13: ("no_registration", "not_registered"), 14: ("data_limit", "data_limit")}
    UP = ["--modems", "4"]
    CONFIG = ["--interval", "500ms", "--timeout", "500ms", "--retry-after", "1s"]

    def test_no_service_and_no_action_until_it_is_mended(self):
        self.sim.call("log", what="api", clear=True)
        for id, (fault, _) in self.FAULTS.items():
            self.fault(id, fault)
        for id, (fault, diagnosis) in self.FAULTS.items():
            with self.subTest(fault):
                told = self.wait_state(id, "no_service", 8)
                self.assertTrue(told["reason"])
                why = self.ctl_json("why", id)
                self.assertEqual(why["diagnosis"]["fault"], diagnosis)
                self.assertEqual(why["steps"], [])
                self.assertIn(f"{id}", self.ctl("status").stdout)
        self.assertEqual(self.ctl("status").returncode, 3)
        for id, (fault, _) in self.FAULTS.items():
            with self.subTest(fault):
                self.assertEqual(self.posts(id), [], "the ladder acted")
        self.clear_faults()
        for id, (fault, _) in self.FAULTS.items():
            with self.subTest(fault):
                self.wait_state(id, "online", 10)
                self.assert_serves(id)


class BadApis(Recovering):
    """A modem whose API hangs, lies or isn't there delays nobody else."""
    UP = ["--modem", f"id=11,{FAST_MODEM}", "--modem", f"id=12,{FAST_MODEM}", "--modem", f"id=13,{FAST_MODEM}"]
    CONFIG = ["--interval", "500ms", "--timeout", "500ms", "--settle", "1s", "--retry-after", "2s", "--off-time", "200ms",
              "--stages", "route,modem,usb", "--cooldown", "100ms"]

    @classmethod
    def config(cls):
        before, mark, after = super().config().partition("  - id: 13\n")
        return before + mark + after.replace('type: "hilink"', 'type: "none"')

    def test_a_hanging_api_delays_nobody_else(self):
        self.fault(11, "api_hang")
        self.fault(11, "wan_blackhole", "until=clear")
        self.wait_state(11, "degraded recovering", 5)
        began = time.monotonic()
        done = self.ctl("rotate", 12, "--json")
        self.assertEqual(json.loads(done.stdout)["outcome"], "changed", done.stderr)
        self.assertLess(time.monotonic() - began, 4)
        for _ in range(5):
            began = time.monotonic()
            self.ctl_json("status")
            self.assertLess(time.monotonic() - began, 0.5)
        # Its own diagnosis comes to an end, and says which rung it can't climb.
        self.assertTrue(testrack.eventually(lambda: self.ctl_json("why", 11)["diagnosis"]["fault"] == "api_dead", 25, 0.2))
        self.assertEqual(self.status(12)["state"], "online")
        self.fault(11, "clear")
        self.wait_state(11, "online", 15)

    def test_a_modem_without_an_api_climbs_what_there_is_and_keeps_the_reasons(self):
        number = len(self.incidents(13))
        self.fault(13, "wan_blackhole", "until=clear")
        incident = self.wait_ended(13, number, 15)
        self.assertEqual(incident["outcome"], "failed")
        steps = {step["action"]: step for step in incident["steps"]}
        self.assertEqual(steps["route_reset"]["outcome"], "no_effect")
        for action in ("data_switch", "usb_rebind"):
            self.assertEqual(steps[action]["outcome"], "skipped")
            self.assertTrue(steps[action]["detail"], steps[action])
        self.wait_state(13, "failed recovering")
        self.fault(13, "clear")
        self.wait_state(13, "online", 10)
        self.assertEqual(self.ctl("rotate", 13).returncode, 1)

    def test_f25_ok_without_deeds_is_no_success_each_rung_ends_at_its_deadline_and_the_last_in_failed(self):
        number = len(self.incidents(12))
        self.fault(12, "api_lies")
        self.fault(12, "wan_blackhole", "until=clear")
        incident = self.wait_ended(12, number, 90)
        self.assertEqual(incident["outcome"], "failed")
        steps = [step for step in incident["steps"] if step["stage"] == "modem"]
        self.assertEqual(self.actions({"steps": steps}), [
            ("data_switch", "no_effect"), ("network_mode", "no_effect"), ("reboot", "no_effect")])
        # What the action itself takes (off time; the other mode is kept for 3 s), and the second to prove itself.
        for step, own in zip(steps, (0.2, 3)):
            self.assertTrue(own + 1 <= step["took_ms"] / 1000 <= own + 2, step)
        told = self.wait_state(12, "failed")
        self.assertIn("next try in", told["reason"])
        self.wait_state(12, "recovering", 5)
        self.fault(12, "clear")
        self.wait_state(12, "online", 15)


class Undo(Recovering):
    UP = ["--modem", f"id=11,{FAST_MODEM}", "--modem", f"id=12,{FAST_MODEM}"]
    CONFIG = ["--off-time", "5s", "--rotation-timeout", "20s", "--interval", "30s"]

    def test_1_killed_between_off_and_on_the_next_start_switches_data_on_again(self):
        with subprocess.Popen([testrack.BIN + "/donglectl", "--socket", self.daemon.socket_path, "rotate", "11"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as rotating:
            self.assertTrue(testrack.eventually(lambda: not self.sim.modem(11)["data"]), "data was never off")
            self.daemon.kill()
            self.assertNotEqual(rotating.wait(), 0)
        self.daemon.start()
        self.assertTrue(testrack.eventually(lambda: self.sim.modem(11)["data"], 5), "data stayed off")
        self.wait_state(11, "online", 10)
        self.assert_serves(11)
        self.assertEqual(self.sim.modem(12)["reconnects"], 0)

    def test_2_a_stop_in_the_middle_switches_it_on_as_well(self):
        self.wait_all_online()
        with subprocess.Popen([testrack.BIN + "/donglectl", "--socket", self.daemon.socket_path, "rotate", "12"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as rotating:
            self.assertTrue(testrack.eventually(lambda: not self.sim.modem(12)["data"]), "data was never off")
            self.assertEqual(self.ctl("stop", 12).returncode, 0)
            self.assertNotEqual(rotating.wait(2), 0)        # it doesn't wait for what no longer happens
        self.assertTrue(testrack.eventually(lambda: self.sim.modem(12)["data"], 5), "data stayed off")


class Disabled(Recovering):
    UP = ["--modem", f"id=11,{FAST_MODEM}"]
    CONFIG = ["--interval", "300ms", "--timeout", "300ms", "--settle", "2s", "--off-time", "200ms"]
    EXTRA = {"recovery": {"enabled": False}}

    def test_switched_off_it_looks_and_does_nothing_unless_told(self):
        self.sim.call("log", what="api", clear=True)
        self.fault(11, "data_off")
        self.wait_state(11, "degraded", 5)
        self.assertEqual(self.ctl("recover", 11).returncode, 6)
        planned = self.ctl_json("recover", 11, "--dry-run")
        self.assertEqual(planned["outcome"], "planned")
        self.assertEqual(planned["steps"][0]["action"], "data_switch")
        self.assertEqual(self.posts(11), [], "something was done")
        self.assertFalse(self.sim.modem(11)["data"])
        done = self.ctl("recover", 11, "--from", "modem")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.wait_state(11, "online", 10)


if __name__ == "__main__":
    unittest.main()
