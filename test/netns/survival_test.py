"""Workers and supervisor may die at any time: the port answers, transfers go on, the other dongles don't notice."""
import os
import signal
import sys
import time
import unittest

import testrack
from testrack import netns
from transfers import Client, Download


class Worker(testrack.TestCase):
    UP = ["--modems", "3"]

    def test_killed_under_new_connections_none_is_refused_and_service_is_back_within_half_a_second(self):
        pids = {id: self.worker_pid(id) for id in (11, 12, 13)}
        clients = [Client(self, 11) for _ in range(4)]
        neighbours = [Download(self, id, 3) for id in (12, 13)]
        for client in clients:
            client.start()
        gaps = []
        for _ in range(6):                  # often enough for a back-off to show
            time.sleep(0.3)                 # let the loop run against a worker that lives
            old = self.worker_pid(11)
            killed = time.monotonic()
            testrack.kill(old)
            back = testrack.eventually(lambda: [done for client in clients for began, done in client.served if began > killed], 5)
            self.assertTrue(back, "never served again")
            gaps.append(min(back) - killed)
            self.daemon.wait_for(lambda document: (worker := testrack.one(document, 11)["worker"]) and worker["pid"] != old, 5)
        for client in clients:
            client.stop()
        self.assertEqual([client.refused for client in clients], [[]] * 4)
        # Only what the dead worker held itself may break: at most one for each client and death.
        self.assertLessEqual(sum(len(client.broken) for client in clients), 24)
        print("  served again after", ", ".join(f"{gap * 1000:.0f} ms" for gap in gaps), file=sys.stderr)
        self.assertLessEqual(max(gaps), 0.5, gaps)
        for neighbour in neighbours:
            self.assertTrue(neighbour.is_exact(), "a neighbour's transfer broke")
        for id in (12, 13):
            self.assertEqual(self.worker_pid(id), pids[id])
            self.assertEqual(self.status(id)["state"], "online")
        self.assertEqual(self.daemon.log().count("event=worker_died"), 6)

    def test_a_worker_has_no_power(self):
        pid = self.worker_pid(12)
        with open(f"/proc/{pid}/status") as file:
            told = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        self.assertEqual(told["Uid"].split(), [str(testrack.UID_BASE + 12)] * 4)
        self.assertEqual(told["Gid"].split()[0] != "0", True)
        for which in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(told[which], 16), 0, which)
        self.assertEqual((told["NoNewPrivs"], told["Seccomp"]), ("1", "2"))
        self.assertEqual(told.get("Groups", "").split(), [])

    def test_a_device_that_goes_ends_its_connections_within_a_second_and_is_taken_up_again(self):
        with self.client(13).connect("echo.test", 7) as tunnel:
            self.assertTrue(tunnel.echo(b"before"))
            began = time.monotonic()
            self.fault(13, "unplug")
            self.assertEqual(tunnel.read(1), b"")
            self.assertLess(time.monotonic() - began, 1)
        self.wait_state(13, "absent")
        with self.client(13) as client:
            self.assertEqual(client.request("203.0.113.80", 80), 3)
        began = time.monotonic()
        self.fault(13, "plug")
        self.wait_state(13, "online", 10)
        self.assert_serves(13)
        self.assertLess(time.monotonic() - began, 5)


class Supervisor(testrack.TestCase):
    UP = ["--modems", "3"]

    def test_1_killed_transfers_and_new_connections_go_on_and_its_successor_takes_the_workers_over(self):
        pids = {id: self.worker_pid(id) for id in (11, 12, 13)}
        transfers = [Download(self, id, 4) for id in (11, 12, 13)]
        client = Client(self, 11)
        client.start()
        self.daemon.kill()
        for id in (11, 12, 13):
            self.assert_serves(id)
        self.assertEqual(self.ctl("status").returncode, 7)
        began = time.monotonic()
        self.daemon.start()
        document = self.daemon.wait_for(lambda document: all(
            each["state"] == "online" and each["worker"] for each in document["dongles"]), 5)
        self.assertLessEqual(time.monotonic() - began, 2)
        self.assertEqual({each["id"]: each["worker"]["pid"] for each in document["dongles"]}, pids)
        client.stop()
        self.assertEqual((client.refused, client.broken), ([], []))
        self.assertGreater(len(client.served), 10)
        for transfer in transfers:
            self.assertTrue(transfer.is_exact(), "a transfer broke")

    def test_2_a_worker_that_dies_while_nobody_watches_is_replaced_by_the_next_supervisor(self):
        pid = self.worker_pid(12)
        self.daemon.kill()
        testrack.kill(pid)
        self.daemon.start()
        self.wait_all_online()
        self.assertNotEqual(self.worker_pid(12), pid)
        self.assert_serves(12)

    def test_3_a_second_supervisor_refuses_and_names_the_first(self):
        before = testrack.snapshot(self.host)
        done = self.sim.run(testrack.BIN + "/dongle-supervisor", "--config", self.daemon.config, timeout=5)
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(self.daemon.process.pid), done.stderr)
        self.assertEqual(testrack.snapshot(self.host), before)
        self.assert_serves(11)

    def test_4_a_stop_ends_everything_and_leaves_nothing(self):
        self.assertEqual(self.daemon.stop(), 0)
        self.assertEqual(netns.processes_in([self.host]), [])
        self.assertEqual(testrack.snapshot(self.host), self.untouched)
        for id in (11, 12, 13):
            with self.assertRaises(ConnectionRefusedError):
                self.client(id)
        self.assertEqual([name for name in os.listdir(self.folder + "/run") if name.endswith(".sock")], [])

    def test_5_a_port_that_is_taken_is_one_dongles_trouble_and_ends_when_it_is_free(self):
        squatter = netns.call_in(self.host, self.listen, 10012)
        self.daemon.start()
        self.wait_state(11, "online", 10)
        self.wait_state(13, "online", 10)
        # It may be a worker's of an earlier supervisor, which brings it along; only then is it somebody else's.
        told = self.daemon.wait_for(lambda document: testrack.one(document, 12)["reason"], 5)
        self.assertIn("10012", testrack.one(told, 12)["reason"])
        self.assertNotEqual(testrack.one(told, 12)["state"], "online")
        squatter.close()
        self.wait_state(12, "online", 15)
        self.assert_serves(12)

    @staticmethod
    def listen(port):
        import socket
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        return listener

    def test_6_signals_in_a_storm_change_nothing(self):
        self.wait_all_online()
        pids = {id: self.worker_pid(id) for id in (11, 12, 13)}
        for _ in range(200):
            self.daemon.process.send_signal(signal.SIGHUP)
            self.daemon.process.send_signal(signal.SIGPIPE)
        self.assertEqual({id: self.worker_pid(id) for id in (11, 12, 13)}, pids)
        self.assert_serves(11)


if __name__ == "__main__":
    unittest.main()
