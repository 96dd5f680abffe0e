"""F36: the wall clock jumps, and nothing but what is displayed takes notice."""
import glob
import json
import os
import subprocess
import time
import unittest

import testrack

LIBRARY = next(iter(glob.glob("/usr/lib/*/faketime/libfaketime.so.1")), None)
HOUR = 3600


@unittest.skipUnless(LIBRARY, "libfaketime is missing: apt install faketime")
class Clock(testrack.TestCase):
    UP = ["--modem", "id=11,attach_time=0.1", "--modem", "id=12,attach_time=0.1", "--modem", "id=13,attach_time=0.1"]
    CONFIG = ["--interval", "500ms", "--timeout", "500ms", "--settle", "2s", "--off-time", "1s", "--cooldown", "1s",
              "--retry-after", "2s"]
    START = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.offset_file = os.path.join(cls.folder, "offset")
        cls.jump(0)
        # The daemon alone, whose workers get an environment of their own and show the time nowhere but in their logs.
        cls.daemon.environment = {
            "LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": cls.offset_file, "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        cls.daemon.start()
        cls.wait_all_online()

    @classmethod
    def jump(cls, seconds):
        """The daemon's wall clock, so far from the real one."""
        with open(cls.offset_file + ".new", "w") as file:
            file.write(f"{seconds:+d}\n")
        os.rename(cls.offset_file + ".new", cls.offset_file)

    def year_of_the_log(self):
        return self.daemon.log().splitlines()[-1][:4]

    def incidents(self):
        return self.ctl_json("incidents")["incidents"]

    def test_f36_jumps_of_the_wall_clock_change_nothing(self):
        pids = {id: self.worker_pid(id) for id in (11, 12, 13)}
        tunnel = self.client(12).connect("echo.test", 7)
        changes = self.daemon.log().count("event=dongle_state")
        numbers = [incident["number"] for incident in self.incidents()]
        for name, offset in (("an hour ahead", HOUR), ("an hour back", -HOUR), ("1970", 100 - int(time.time())), ("now", 0)):
            with self.subTest(name):
                self.jump(offset)
                # Several probes, and a rotation in the middle of which the clock jumps once more.
                time.sleep(1.2)
                self.assertEqual(self.daemon.log().count("event=dongle_state"), changes, "a change of state")
                self.assertTrue(tunnel.echo(b"still here"))
                self.assertEqual({id: self.worker_pid(id) for id in (11, 12, 13)}, pids)
                for id in (11, 12, 13):
                    self.assert_serves(id)
                if name == "1970":
                    # The jump is real: the log has it.
                    self.ctl("rotate", 13)
                    self.assertEqual(self.year_of_the_log(), "1970")
                    changes += 2
        self.assertEqual([incident["number"] for incident in self.incidents()], numbers)
        tunnel.close()

    def test_f36_a_jump_in_the_middle_of_a_rotation_and_of_a_recovery_is_no_timeout(self):
        for offset in (HOUR, -HOUR):
            with self.subTest(offset):
                self.wait_state(11, "online")
                time.sleep(1)           # the cooldown
                with subprocess.Popen([testrack.BIN + "/donglectl", "--socket", self.daemon.socket_path, "rotate", "11", "--json"],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as rotating:
                    self.wait_state(11, "rotating")
                    self.jump(offset)
                    out, err = rotating.communicate(timeout=15)
                self.assertEqual(rotating.returncode, 0, err)
                self.assertEqual(json.loads(out)["outcome"], "changed")
                self.assertLess(json.loads(out)["took_ms"], 5000)
                # The cooldown, too, is of the monotonic clock.
                self.assertEqual(self.ctl("rotate", 11).returncode, 6)
                number = len(self.incidents())
                self.fault(12, "data_off")
                self.wait_state(12, "recovering", 5)
                self.jump(-offset)
                self.wait_state(12, "online", 10)
                incident = self.incidents()[number]
                self.assertEqual((incident["outcome"], incident["id"]), ("recovered", 12))
                self.assertLess(incident["took_ms"], 5000)
        incidents = self.incidents()
        self.assertEqual([incident["number"] for incident in incidents], sorted(incident["number"] for incident in incidents))
        # They went back and forth in the time that is shown, and stand in the order in which they happened.
        began = [incident["began"] for incident in incidents]
        self.assertNotEqual(began, sorted(began))


if __name__ == "__main__":
    unittest.main()
