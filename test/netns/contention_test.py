"""F27: the ladder, rotations, operators, reloads and unplugging want the same stick at once: one owner, one action."""
import concurrent.futures
import signal
import subprocess
import sys
import time
import unittest

import testrack

SWITCH = "/api/dialup/mobile-dataswitch"
BUSY = 6


class Contention(testrack.TestCase):
    # A modem for each scenario, as what one leaves behind (a cooldown, a retry) is the next one's trouble.
    UP = [option for id in range(11, 21) for option in ("--modem", f"id={id},attach_time=0.1,boot_time=0.5,netmode_time=0.2")]
    CONFIG = ["--interval", "500ms", "--timeout", "500ms", "--settle", "3s", "--retry-after", "2s", "--off-time", "1500ms",
              "--cooldown", "100ms"]
    EXTRA = {"proxy": {"connect_timeout": "1s"}}

    # --- what the modem saw -----------------------------------------------------------------------------------

    def posts(self, id):
        return [entry for entry in self.sim.call("log", what="api", id=id)["entries"] if entry["method"] == "POST"]

    def switchings(self, id):
        return ["1" if "<dataswitch>1<" in entry["body"] else "0" for entry in self.posts(id) if entry["path"] == SWITCH]

    def assert_one_at_a_time(self, id):
        """By the modem's own record: no two calls overlap, and what one action began it ended before the next."""
        self.assertLessEqual(self.sim.modem(id)["api_max_requests"], 1)
        half_done = False
        for entry in self.posts(id):
            if entry["path"] != SWITCH:
                self.assertFalse(half_done, f"{entry['path']} while data was off for another action: {self.posts(id)}")
            elif "<dataswitch>0<" in entry["body"]:
                self.assertFalse(half_done, f"switched off twice: {self.posts(id)}")
                half_done = True
            else:
                half_done = False
        self.assertFalse(half_done, f"data stays off: {self.posts(id)}")

    # --- setting the stage ------------------------------------------------------------------------------------

    def side_by_side(self, *scenarios):
        with concurrent.futures.ThreadPoolExecutor(len(scenarios)) as pool:
            running = [(scenario, pool.submit(scenario)) for scenario in scenarios]
        for scenario, done in running:
            with self.subTest(scenario.__doc__):
                done.result()

    def run_ladder_into_its_pause(self, id):
        """The ladder between off and on, on a dongle that an operator wants treated."""
        self.wait_state(id, "online", 10)
        running = self.begin("recover", id, "--from", "modem")
        self.assertTrue(testrack.eventually(lambda: not self.sim.modem(id)["data"], 8), "the ladder doesn't act")
        return running

    def begin(self, *arguments):
        return subprocess.Popen([testrack.BIN + "/donglectl", "--socket", self.daemon.socket_path, *map(str, arguments)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, *processes, timeout=15):
        """Exit codes, in order of size."""
        for process in processes:
            process.communicate(timeout=timeout)
        return sorted(process.returncode for process in processes)

    # --- tests ------------------------------------------------------------------------------------------------

    def test_1_what_an_operator_may_do_while_the_ladder_acts(self):
        self.side_by_side(self.refused_while_the_ladder_acts, self.restarted_while_the_ladder_acts,
                          self.stopped_while_the_ladder_acts)

    def refused_while_the_ladder_acts(self):
        """rotations and recoveries are refused at once, and the ladder goes on"""
        self.wait_state(11, "online", 10)
        self.fault(11, "data_off")
        self.assertTrue(testrack.eventually(lambda: self.switchings(11) == ["0"], 8), "the ladder doesn't act")
        for verb in (["rotate"], ["recover"], ["recover", "--from", "modem"]):
            began = time.monotonic()
            done = self.ctl(verb[0], 11, *verb[1:])
            self.assertEqual(done.returncode, BUSY, done.stdout + done.stderr)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
            self.assertLess(time.monotonic() - began, 0.5)
        self.wait_state(11, "online", 10)
        self.assertEqual(self.switchings(11), ["0", "1"])
        self.assert_one_at_a_time(11)

    def restarted_while_the_ladder_acts(self):
        """a restart changes the worker and leaves the action to the ladder"""
        recovery = self.run_ladder_into_its_pause(12)
        worker = self.worker_pid(12)
        self.assertEqual(self.ctl("restart", 12).returncode, 0)
        self.assertNotEqual(self.worker_pid(12), worker)
        self.assertEqual(self.finish(recovery), [0])
        self.wait_state(12, "online", 10)
        self.assert_serves(12)
        self.assertEqual(self.switchings(12), ["0", "1"])
        self.assert_one_at_a_time(12)

    def stopped_while_the_ladder_acts(self):
        """a stop ends the ladder and undoes what is half done"""
        recovery = self.run_ladder_into_its_pause(13)
        began = time.monotonic()
        self.assertEqual(self.ctl("stop", 13).returncode, 0)
        self.assertLess(time.monotonic() - began, 1)
        self.assertEqual(self.finish(recovery, timeout=2), [1])
        self.assertTrue(testrack.eventually(lambda: self.sim.modem(13)["data"], 5), "data stays off")
        for verb in (["rotate"], ["recover", "--from", "modem"]):
            self.assertEqual(self.ctl(verb[0], 13, *verb[1:]).returncode, BUSY)
        self.assertEqual(self.ctl("start", 13).returncode, 0)
        self.wait_state(13, "online", 10)
        self.assertEqual(self.ctl_json("incidents", 13)["incidents"][-1]["outcome"], "interrupted")
        self.assertEqual(self.switchings(13), ["0", "1"])
        self.assert_one_at_a_time(13)

    def test_2_two_wishes_at_once(self):
        self.side_by_side(self.two_recoveries, self.a_rotation_and_a_recovery, self.everybody)

    def two_recoveries(self):
        """of two recoveries one runs and the other is told"""
        both = [self.begin("recover", 14, "--from", "modem") for _ in range(2)]
        self.assertEqual(self.finish(*both), [0, BUSY])
        self.assertEqual(self.switchings(14), ["0", "1"])
        self.assert_one_at_a_time(14)

    def a_rotation_and_a_recovery(self):
        """of a rotation and a recovery one runs and the other is told"""
        both = [self.begin("rotate", 15), self.begin("recover", 15, "--from", "modem")]
        self.assertEqual(self.finish(*both), [0, BUSY])
        self.assertEqual(self.switchings(15), ["0", "1"])
        self.assert_one_at_a_time(15)

    def everybody(self):
        """all verbs at once on a failing dongle, and nothing hangs"""
        self.fault(19, "wan_blackhole", "until=reconnect")
        asked = [self.begin(*verb) for _ in range(3) for verb in (
            ("rotate", 19), ("recover", 19), ("recover", 19, "--from", "modem"), ("restart", 19), ("why", 19))]
        self.assertLessEqual(set(self.finish(*asked, timeout=30)), {0, BUSY})
        self.wait_state(19, "online", 15)
        self.assert_serves(19)
        self.assert_one_at_a_time(19)

    def test_3_reloads_and_unplugging_while_the_ladder_acts(self):
        self.side_by_side(self.reloaded, self.unplugged, self.undone_late)

    def reloaded(self):
        """a reload with other settings leaves the action alone; without the dongle what is half done is undone"""
        recovery, worker, whole = self.run_ladder_into_its_pause(16), self.worker_pid(16), self.daemon.config_text
        self.daemon.write_config(whole.replace("interval: 500ms", "interval: 600ms"))
        self.daemon.process.send_signal(signal.SIGHUP)
        self.assertEqual(self.ctl("reload").returncode, 0)
        self.assertEqual(self.finish(recovery), [0])
        self.assertEqual(self.wait_state(16, "online", 10)["worker"]["pid"], worker)
        self.assertEqual(self.switchings(16), ["0", "1"])
        self.assert_one_at_a_time(16)

        recovery = self.run_ladder_into_its_pause(17)
        begins, ends = (whole.index(f"  - id: {id}") for id in (17, 18))
        self.daemon.write_config(whole[:begins] + whole[ends:])
        self.assertEqual(self.ctl("reload").returncode, 0)
        self.assertEqual(self.finish(recovery, timeout=2), [1])
        self.assertTrue(testrack.eventually(lambda: self.sim.modem(17)["data"], 5), "data stays off")
        self.daemon.write_config(whole)
        self.assertEqual(self.ctl("reload").returncode, 0)
        self.wait_state(17, "online", 10)
        self.assert_serves(17)
        self.assertEqual(self.switchings(17), ["0", "1"])
        self.assert_one_at_a_time(17)

    def undone_late(self):
        """what an action couldn't bring back is undone before the next one begins"""
        recovery = self.run_ladder_into_its_pause(20)
        # As often as switching on is tried; by the next rung the switch works again.
        self.fault(20, "api_error", "100006:dialup/mobile-dataswitch:3")
        self.assertEqual(self.finish(recovery, timeout=30), [0])
        self.assertTrue(self.sim.modem(20)["data"], "data stays off")
        why = self.ctl_json("why", 20)
        self.assertEqual([step["action"] for step in why["steps"]], ["data_switch", "network_mode"])
        self.assertEqual(self.sim.modem(20)["network_mode"], "00")
        self.wait_state(20, "online")

    def unplugged(self):
        """unplugged between off and on it is switched on once it is back"""
        recovery = self.run_ladder_into_its_pause(18)
        self.fault(18, "unplug")
        self.assertEqual(self.ctl("rotate", 18).returncode, BUSY)
        # The time to switch on comes and goes; nobody is there to be asked, and the others don't wait.
        self.assertFalse(testrack.eventually(lambda: self.sim.modem(18)["data"], 2))
        self.assertEqual(self.status(11)["state"], "online")
        began = time.monotonic()
        self.fault(18, "plug")
        self.assertTrue(testrack.eventually(lambda: self.sim.modem(18)["data"], 10), "data stays off")
        self.wait_state(18, "online", 10)
        self.assert_serves(18)
        took = time.monotonic() - began
        print(f"  unplugged between off and on: served {took * 1000:.0f} ms after the plug", file=sys.stderr)
        self.assertLessEqual(took, 5)
        self.assertLessEqual(set(self.finish(recovery)), {0, 1})
        self.assert_one_at_a_time(18)


if __name__ == "__main__":
    unittest.main()
