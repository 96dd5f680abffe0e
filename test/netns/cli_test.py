"""donglectl against the daemon: exit codes, shapes of --json, errors in one line, reload."""
import json
import os
import subprocess
import unittest

import testrack


class Cli(testrack.TestCase):
    UP = ["--modems", "2"]
    CONFIG = ["--cooldown", "30s"]

    def assert_fails(self, done, code, *words):
        """With that code, and one line on stderr that has the words."""
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def setUp(self):
        if not self.daemon.is_running():
            self.daemon.start()
        self.ctl("start", "all")
        self.wait_all_online()

    def test_status_has_the_shape_that_scripts_rely_on(self):
        done = self.ctl("status", "--json")
        self.assertEqual(done.returncode, 0)
        document = json.loads(done.stdout)
        self.assertEqual(document["schema"], 1)
        self.assertEqual([each["id"] for each in document["dongles"]], [11, 12])
        first = document["dongles"][0]
        self.assertEqual({key: first[key] for key in ("state", "interface", "address", "gateway", "public_ip", "socks5_port", "stage", "reason")},
                         {"state": "online", "interface": "m11", "address": "192.168.11.100", "gateway": "192.168.11.1",
                          "public_ip": self.public_ip(11), "socks5_port": 10011, "stage": None, "reason": None})
        self.assertRegex(first["since"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")
        self.assertEqual(set(first["worker"]), {"pid", "uptime_s", "connections"})
        for key in ("rx_bytes", "tx_bytes", "rx_bytes_per_s", "tx_bytes_per_s"):
            self.assertIsInstance(first[key], (int, float), key)

    def test_status_as_a_table(self):
        out = self.ctl("status").stdout
        for word in ("11", "12", "online", self.public_ip(11)):
            self.assertIn(word, out)
        self.assertNotIn("\033", out, "colours in a pipe")
        self.assertNotIn("10012", self.ctl("status", 11).stdout)

    def test_status_watches(self):
        with subprocess.Popen([testrack.BIN + "/donglectl", "--socket", self.daemon.socket_path, "status", "--watch", "--json"],
                              stdout=subprocess.PIPE, text=True) as watching:
            self.assertEqual(json.loads(watching.stdout.readline())["schema"], 1)
            self.ctl("stop", 12)
            for line in watching.stdout:
                if testrack.one(json.loads(line), 12)["state"] == "stopped":
                    break
            else:
                self.fail("never saw the change")
            watching.terminate()

    def test_exit_codes(self):
        self.assert_fails(self.ctl("nonsense"), 2, "nonsense")
        self.assert_fails(self.ctl("rotate"), 2)
        self.assert_fails(self.ctl("status", "--nonsense"), 2)
        self.assert_fails(self.ctl("why", 99), 5, "99")
        self.assert_fails(self.ctl("rotate", 99), 5, "99")
        self.assert_fails(self.ctl("stop", 99), 5, "99")
        self.assert_fails(self.ctl("tail", 99), 5, "99")
        self.assert_fails(self.ctl("power", "cycle", 11), 1, "USB port")

    def test_a_daemon_that_is_not_there(self):
        done = subprocess.run([testrack.BIN + "/donglectl", "--socket", self.folder + "/nowhere.sock", "status"], capture_output=True, text=True)
        self.assert_fails(done, 7)

    def test_the_socket_is_found_by_the_configuration(self):
        done = subprocess.run([testrack.BIN + "/donglectl", "--config", self.daemon.config, "status"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_stop_start_and_restart(self):
        pid = self.worker_pid(12)
        self.assertEqual(self.ctl("stop", 12).returncode, 0)
        self.assertEqual(self.status(12)["state"], "stopped")
        self.assertIsNone(self.worker_pid(12))
        self.assertEqual(self.ctl("status").returncode, 3)
        self.assertEqual(self.ctl("status", 11).returncode, 0)
        with self.assertRaises(ConnectionRefusedError):
            self.client(12)
        self.assert_serves(11)
        self.assertEqual(self.ctl("start", 12).returncode, 0)
        self.wait_state(12, "online")
        started = self.worker_pid(12)
        self.assertNotEqual(started, pid)
        self.assertEqual(self.ctl("restart", 12).returncode, 0)
        self.assertNotEqual(self.worker_pid(12), started)
        self.wait_state(12, "online")
        self.assert_serves(12)

    def test_reading_verbs_speak_json(self):
        self.assertEqual(self.ctl_json("why", 11)["state"], "online")
        info = self.ctl_json("info", 11)
        self.assertTrue(info["modem"]["answers"])
        self.assertTrue(info["modem"]["imei"])
        self.assertEqual(info["worker"]["pid"], self.worker_pid(11))
        self.assertIn("profiles", self.ctl_json("apn", 11))
        self.assertIsInstance(self.ctl_json("incidents")["incidents"], list)
        self.assertEqual([each["id"] for each in self.ctl_json("traffic")["dongles"]], [11, 12])
        for verb in ("why", "info", "apn", "traffic", "incidents"):
            with self.subTest(verb):
                done = self.ctl(verb, 11)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertTrue(done.stdout.strip())

    def test_traffic_begins_anew_after_a_reset(self):
        self.assertEqual(self.curl(11, "http://download.test/bytes/10000", "-o", "/dev/null", "-w", "%{size_download}"), "10000")
        self.assertTrue(testrack.eventually(lambda: self.ctl_json("traffic", 11)["dongles"][0]["rx_bytes"] > 10_000))
        self.ctl("traffic", 11, "--reset")
        self.assertLess(self.ctl_json("traffic", 11)["dongles"][0]["rx_bytes"], 10_000)

    def test_recover_where_there_is_nothing_to_mend(self):
        done = self.ctl("recover", 11, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["steps"], [])

    def test_tail_follows_the_workers_log(self):
        self.assertTrue(self.ctl("tail", 11, "-n", 5).stdout)
        with subprocess.Popen([testrack.BIN + "/donglectl", "--socket", self.daemon.socket_path, "tail", "-f", "-n", "0", "12"],
                              stdout=subprocess.PIPE) as following:
            os.set_blocking(following.stdout.fileno(), False)
            # Until the follower is there it misses what is written: kill and look until a line comes.
            def new_line():
                testrack.kill(self.worker_pid(12))
                self.daemon.wait_for(lambda document: testrack.one(document, 12)["worker"], 5)
                return testrack.eventually(lambda: following.stdout.read(), 2)
            self.assertTrue(testrack.eventually(new_line, 6), "nothing was followed")
            following.terminate()

    def test_config_check_says_where_and_what(self):
        good = self.ctl("config", "check", self.daemon.config)
        self.assertEqual(good.returncode, 0, good.stderr)
        bad = self.folder + "/bad.yaml"
        with open(bad, "w") as file:
            file.write(self.daemon.config_text.replace("  interval: 1s", "  intervall: 1s"))
        done = self.ctl("config", "check", bad)
        self.assertEqual(done.returncode, 1)
        line = next(number for number, text in enumerate(open(bad), 1) if "intervall" in text)
        self.assertIn(f"bad.yaml:{line}:", done.stderr)
        self.assertIn("did you mean", done.stderr)
        checked = subprocess.run([testrack.BIN + "/dongle-supervisor", "--check", "--config", bad], capture_output=True, text=True)
        self.assertNotEqual(checked.returncode, 0)
        self.assertIn(f"bad.yaml:{line}:", checked.stderr)
        self.assertIn("probe.interval", self.ctl("config", "schema").stdout)

    # --- the control socket itself ----------------------------------------------------------------------------

    def test_nonsense_on_the_control_socket_gets_an_error_and_harms_nobody(self):
        for line in (b"nonsense\n", b"{}\n", b"[]\n", b'{"verb":1}\n', b'{"verb":"fly"}\n', b'{"verb":"rotate"}\n', b'{"verb":"rotate","id":"x"}\n',
                     b'{"verb":"rotate","id":1e400}\n', b'{"verb":"status","verb":"stop"}\n', b"[" * 60_000 + b"\n", b"\xff\xfe\n", b"\0\n",
                     b'{"verb":"why","id":-1}\n', b'{"verb":"stop","ids":[{}]}\n', b'{"verb":"recover","id":11,"from":"moon"}\n'):
            with self.subTest(line[:30]), self.daemon._connect(3) as sock, sock.makefile("rb") as lines:
                sock.sendall(line)
                answer = json.loads(lines.readline())
                self.assertFalse(answer["ok"])
                self.assertTrue(answer["error"]["code"] and answer["error"]["message"])
        with self.daemon._connect(3) as sock:
            try:
                sock.sendall(b"x" * 1_000_000)
                while sock.recv(4096):
                    pass
            except (BrokenPipeError, ConnectionResetError):
                pass
        self.assertEqual(self.ctl("status").returncode, 0)


class Reload(testrack.TestCase):
    UP = ["--modems", "3"]

    @classmethod
    def config(cls):
        cls.whole = super().config()
        head, mark, _ = cls.whole.partition("  - id: 13\n")
        return head                      # the third is there, and not ours yet

    def setUp(self):
        self.daemon.write_config(self.config())

    def pids(self):
        return {each["id"]: each["worker"]["pid"] for each in self.ctl_json("status")["dongles"]}

    def test_1_an_invalid_configuration_changes_nothing(self):
        pids = self.pids()
        with self.client(11).connect("echo.test", 7) as tunnel:
            for text in (self.whole + "nonsense: 1\n", self.whole.replace("id: 12", "id: 11"), "dongles: [", "", self.whole.replace("id: 12", "id: 300")):
                with self.subTest(text[-40:]):
                    self.daemon.write_config(text)
                    done = self.ctl("reload")
                    self.assertEqual(done.returncode, 1, done.stdout)
                    self.assertIn("config.yaml", done.stderr)
            self.assertTrue(tunnel.echo(b"still here"))
        self.assertEqual(self.pids(), pids)
        self.assert_serves(12)

    def test_2_no_change_touches_no_worker(self):
        pids = self.pids()
        self.assertEqual(self.ctl_json("reload"), {"changed": [], "unchanged": 2})
        self.daemon.process.send_signal(testrack.signal.SIGHUP)
        self.assert_serves(11)
        self.assertEqual(self.pids(), pids)

    def test_3_a_dongle_is_added_and_removed_while_the_others_go_on(self):
        pids = self.pids()
        with self.client(11).connect("echo.test", 7) as tunnel:
            self.daemon.write_config(self.whole)
            self.assertEqual(self.ctl_json("reload")["changed"], [13])
            self.wait_all_online()
            self.assert_serves(13)
            self.assertEqual({id: pid for id, pid in self.pids().items() if id != 13}, pids)
            self.daemon.write_config(self.config())
            self.assertEqual(self.ctl("reload").returncode, 0)
            self.assertTrue(testrack.eventually(lambda: self.pids() == pids))
            self.assertTrue(tunnel.echo(b"still here"))
        self.assertNotIn("m13", "".join(testrack.snapshot(self.host)["rules -4"]))
        with self.assertRaises(ConnectionRefusedError):
            self.client(13)


if __name__ == "__main__":
    unittest.main()
