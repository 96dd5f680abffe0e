"""The programs people really use, each through a proxy; and who may come in."""
import os
import subprocess
import sys
import tempfile
import textwrap
import unittest

import testrack

GIT_HOST, SSH_HOST = "203.0.113.101", "203.0.113.102"


class Programs(testrack.TestCase):
    UP = ["--modems", "2"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.work = tempfile.mkdtemp(dir=cls.folder)
        cls.servers = []
        cls.addClassCleanup(cls.stop_servers)

    @classmethod
    def stop_servers(cls):
        for server in cls.servers:
            server.terminate()
            server.wait()

    @classmethod
    def serve(cls, *command, address, port):
        """A server on one of the internet's spare addresses, once it accepts."""
        server = cls.sim.start(*command, inside="inet", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.servers.append(server)

        def accepts():
            sock = testrack.netns.call_in(f"{cls.name}-inet", testrack.socket.socket)
            with sock:
                return sock.connect_ex((address, port)) == 0
        if not testrack.eventually(accepts):
            raise AssertionError(f"{command[0]} doesn't listen on {address}:{port}")

    def run_host(self, *command, **options):
        done = self.sim.run(*command, timeout=20, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_curl_in_each_manner(self):
        for options in (["-x", "socks5://127.0.0.1:10011"], ["-x", "socks5h://127.0.0.1:10011"],
                        ["-x", "http://127.0.0.1:10011"], ["-p", "-x", "http://127.0.0.1:10011"]):
            with self.subTest(options):
                # socks5:// has curl resolve the name itself: that's what --resolve is for.
                out = self.run_host("curl", "-sS", "-m", "5", "--resolve", "ip.test:80:203.0.113.81", *options, "http://ip.test/")
                self.assertEqual(out.strip(), self.public_ip(11))

    def test_curl_fetches_https_through_each_door(self):
        for scheme in ("socks5h", "http"):
            with self.subTest(scheme):
                self.assertEqual(self.curl(12, "https://https.test/ip", "-k", scheme=scheme), self.public_ip(12))

    def test_curl_uploads_and_downloads_a_lot_exactly(self):
        import hashlib
        import internet
        body = internet.pattern(0, 5_000_000)
        path = os.path.join(self.work, "body")
        for scheme in ("socks5h", "http"):
            with self.subTest(scheme):
                self.run_host("curl", "-sS", "-m", "20", "-x", f"{scheme}://127.0.0.1:10012", "-o", path,
                              "http://download.test/bytes/5000000")
                with open(path, "rb") as file:
                    self.assertTrue(file.read() == body, "the download differs")
                answer = self.run_host("curl", "-sS", "-m", "20", "-x", f"{scheme}://127.0.0.1:10012", "-T", path,
                                       "http://download.test/upload")
                self.assertEqual(testrack.json.loads(answer), {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()})

    def test_wget(self):
        out = self.run_host("wget", "-qO-", "-T", "5", "-t", "1", "-e", "use_proxy=yes", "-e", "http_proxy=http://127.0.0.1:10011",
                            "http://ip.test/")
        self.assertEqual(out.strip(), self.public_ip(11))

    def test_wget_over_connect(self):
        out = self.run_host("wget", "-qO-", "-T", "5", "-t", "1", "--no-check-certificate", "-e", "use_proxy=yes",
                            "-e", "https_proxy=http://127.0.0.1:10011", "https://https.test/ip")
        self.assertEqual(out.strip(), self.public_ip(11))

    def test_git(self):
        source = os.path.join(self.work, "site/source")
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", source]
        os.makedirs(source)
        for command in (["git", "init", "-q", source], [*git, "commit", "-q", "--allow-empty", "-m", "the one commit"],
                        [*git, "update-server-info"]):
            subprocess.run(command, check=True, capture_output=True)
        self.serve(sys.executable, "-m", "http.server", "80", "--bind", GIT_HOST, "--directory", self.work + "/site",
                   address=GIT_HOST, port=80)
        for number, proxy in enumerate(("socks5h://127.0.0.1:10011", "http://127.0.0.1:10012")):
            with self.subTest(proxy):
                copy = f"{self.work}/copy{number}"
                self.run_host("git", "-c", f"http.proxy={proxy}", "clone", "-q", "http://host101.test/source/.git", copy)
                self.assertIn("the one commit", self.run_host("git", "-c", "safe.directory=*", "-C", copy, "log", "--format=%s"))

    def test_proxychains(self):
        path = os.path.join(self.work, "proxychains.conf")
        with open(path, "w") as file:
            file.write("strict_chain\nproxy_dns\ntcp_read_time_out 5000\ntcp_connect_time_out 5000\n[ProxyList]\nsocks5 127.0.0.1 10011\n")
        out = self.run_host("proxychains4", "-q", "-f", path, "curl", "-sS", "-m", "5", "http://ip.test/")
        self.assertEqual(out.strip(), self.public_ip(11))

    def test_netcat_by_socks5_and_by_connect(self):
        for protocol in ("5", "connect"):
            with self.subTest(protocol):
                out = self.run_host("nc", "-N", "-w", "5", "-X", protocol, "-x", "127.0.0.1:10011", "203.0.113.7", "9", input="12345")
                self.assertEqual(out, "5\n")

    def test_ssh(self):
        had_run_sshd = os.path.isdir("/run/sshd")       # sshd insists on it
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        if not had_run_sshd:
            self.addClassCleanup(lambda: os.rmdir("/run/sshd"))
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.work}/{name}"], check=True)
        settings = os.path.join(self.work, "sshd.conf")
        with open(settings, "w") as file:
            file.write(textwrap.dedent(f"""\
                ListenAddress {SSH_HOST}
                HostKey {self.work}/host
                AuthorizedKeysFile {self.work}/user.pub
                PidFile none
                StrictModes no
                UsePAM no
                UseDNS no
                PermitRootLogin prohibit-password
                """))
        self.serve("/usr/sbin/sshd", "-D", "-f", settings, address=SSH_HOST, port=22)
        for protocol in ("5", "connect"):
            with self.subTest(protocol):
                out = self.run_host(
                    "ssh", "-F", "none", "-i", f"{self.work}/user", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
                    "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
                    "-o", f"ProxyCommand=nc -X {protocol} -x 127.0.0.1:10012 %h %p", f"root@{SSH_HOST}", 'echo "$SSH_CONNECTION"')
                self.assertEqual(out.split()[0], self.public_ip(12))


class Lan(testrack.TestCase):
    UP = ["--modems", "1"]
    EXTRA = {"proxy": {"listen_address": "0.0.0.0", "clients": ["127.0.0.0/8", "10.77.0.2"]}}

    def test_a_client_of_the_list_is_served_from_another_machine(self):
        for scheme in ("socks5h", "http"):
            with self.subTest(scheme):
                self.assertEqual(self.curl(11, "http://ip.test/", scheme=scheme, inside="lan", address="10.77.0.1"), self.public_ip(11))
        self.assert_serves(11)

    def test_anybody_else_is_kept_out(self):
        subprocess.run(["ip", "-n", f"{self.name}-lan", "addr", "add", "10.77.0.3/24", "dev", "lan0"], check=True)
        done = self.sim.run("curl", "-sS", "-m", "2", "--interface", "10.77.0.3", "-x", "socks5h://10.77.0.1:10011", "http://ip.test/",
                            inside="lan")
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stdout, "")
        self.assertGreater(self.counter("refused_clients"), 0)

    def test_nor_does_the_uplink_let_anybody_in(self):
        done = self.sim.run("curl", "-sS", "-m", "2", "-x", "socks5h://192.0.2.10:10011", "http://ip.test/", inside="inet")
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stdout, "")


class Twins(testrack.TestCase):
    """Sticks that are alike: same MAC, same subnet, same gateway."""
    UP = ["--modem", "id=11,subnet=192.168.8.0/24,mac=0c:5b:8f:27:9a:64", "--modem", "id=12,subnet=192.168.8.0/24,mac=0c:5b:8f:27:9a:64"]

    def test_each_request_goes_by_the_right_modem(self):
        seen = {11: [], 12: []}
        for _ in range(100):
            for id in seen:
                with self.client(id) as client:
                    seen[id].append(client.connect("203.0.113.81").get("/ip").strip().decode())
        for id, addresses in seen.items():
            self.assertEqual(addresses, [self.public_ip(id)] * 100)

    def test_a_rotation_reaches_the_right_one(self):
        untouched = self.public_ip(12)
        self.assertEqual(self.ctl("rotate", 11).returncode, 0)
        self.assertEqual(self.public_ip(12), untouched)
        self.assertEqual(self.sim.modem(12)["reconnects"], 0)


class Leases(testrack.TestCase):
    """Addresses by DHCP instead of from the configuration."""
    UP = ["--modem", "id=11", "--modem", "id=12"]
    CONFIG = ["--address", "dhcp"]

    def test_each_serves_by_its_lease(self):
        for id in (11, 12):
            self.assertEqual(self.status(id)["address"], f"192.168.{id}.100")
            self.assertEqual(self.status(id)["gateway"], f"192.168.{id}.1")
            self.assert_serves(id)


if __name__ == "__main__":
    unittest.main()
