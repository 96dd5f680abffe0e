"""What clients send, in pieces, glued together and malformed, against the real worker; and where it may not lead them."""
import struct
import time
import unittest

import testrack
from proxy_client import address_bytes, http_get, socks_request

HOST_ADDRESSES = ("192.0.2.10", "10.77.0.1", "192.168.11.100", "127.0.0.1")


class Protocol(testrack.TestCase):
    UP = ["--modems", "1"]
    EXTRA = {"proxy": {"handshake_timeout": "1s", "connect_timeout": "2s", "max_connections_per_client": 1000}}

    def setUp(self):
        self.pid = self.worker_pid(11)

    def tearDown(self):
        self.assertEqual(self.worker_pid(11), self.pid, "the worker died")

    def open(self, **options):
        return self.client(11, **options)

    # --- pieces and glue ------------------------------------------------------------------------------------

    def test_byte_by_byte(self):
        for name, data, skip in (
                ("socks5 address", b"\5\1\0" + socks_request("203.0.113.81", 80) + http_get(), 12),
                ("socks5 name", b"\5\1\0" + socks_request("ip.test", 80) + http_get(), 12)):
            with self.subTest(name), self.open() as client:
                client.send(data, step=1)
                client.read(skip)
                self.assertIn(self.public_ip(11).encode(), client.read_all())
        for name, data in (
                ("http connect", b"CONNECT ip.test:80 HTTP/1.1\r\nHost: ip.test:80\r\n\r\n" + http_get()),
                ("http get", b"GET http://ip.test/ HTTP/1.1\r\nHost: ip.test\r\nConnection: close\r\n\r\n")):
            with self.subTest(name), self.open() as client:
                client.send(data, step=1)
                self.assertIn(self.public_ip(11).encode(), client.read_all())

    def test_all_in_one_segment_with_data_behind(self):
        with self.open() as client:
            client.send(b"\5\1\0" + socks_request("echo.test", 7) + b"payload")
            self.assertEqual(client.read(2), b"\5\0")
            self.assertEqual(client.reply(), 0)
            self.assertEqual(client.read(7), b"payload")
        with self.open() as client:
            client.send(b"CONNECT echo.test:7 HTTP/1.1\r\nHost: echo.test\r\n\r\npayload")
            self.assertEqual(client.http_status(), 200)
            self.assertEqual(client.read(7), b"payload")

    def test_split_at_every_byte(self):
        data = b"\5\2\0\2" + socks_request("echo.test", 7) + b"x"
        for at in range(1, len(data)):
            with self.subTest(at=at), self.open() as client:
                client.send(data[:at])
                client.send(data[at:])
                self.assertEqual(client.read(2), b"\5\0")
                self.assertEqual(client.reply(), 0)
                self.assertEqual(client.read(1), b"x")

    # --- greetings ------------------------------------------------------------------------------------------

    def test_methods(self):
        for offered, chosen in ((b"\0", 0), (b"\0\1\2", 0), (b"\x80\0", 0), (bytes(range(255)), 0), (b"\2", 255), (b"\1\2\x80", 255)):
            with self.subTest(offered), self.open() as client:
                client.send(bytes([5, len(offered)]) + offered)
                self.assertEqual(client.read(2), bytes([5, chosen]))
                if chosen == 255:
                    self.assertEqual(client.read_all(), b"", "the connection stays open after a refusal")

    def assert_ends_soon(self, client, seconds=2.5):
        """Never a hang: whatever is said, it is over after the handshake's time."""
        client.sock.settimeout(seconds)
        return client.read_all()

    def test_what_is_no_greeting_ends_without_harm(self):
        for junk in (b"\0", b"\6\1\0", b"\xff" * 64, b"\5\0", b"\5\xff" + bytes(254), b"\5", b"", b"\x16\3\1\2\0\1\0\1\xfc\3\3" + bytes(50),
                     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n", b"\r\n\r\n", b"A" * 65536):
            with self.subTest(junk[:12]), self.open() as client:
                try:
                    client.send(junk)
                    answer = self.assert_ends_soon(client)
                except (BrokenPipeError, ConnectionResetError):
                    answer = b""
                self.assertNotIn(b" 200 ", answer)
                self.assertFalse(answer.startswith(b"\5\0\5\0"))

    def test_socks4_is_told_no(self):
        with self.open() as client:
            client.send(b"\4\1\0\x50\xcb\0\x71\x51\0")
            self.assertIn(self.assert_ends_soon(client)[:2], (b"\0\x5b", b""))

    def test_a_client_that_leaves_early_costs_nothing(self):
        whole = b"\5\1\0" + socks_request("203.0.113.81", 80)
        for length in range(len(whole)):
            with self.open() as client:
                client.send(whole[:length])
        self.assertTrue(testrack.eventually(lambda: self.status(11)["worker"]["connections"] == 0, 3))

    # --- requests -------------------------------------------------------------------------------------------

    def test_each_mistake_in_a_request_gets_the_reply_that_the_rfc_names(self):
        for name, request, rep in (
                ("bind", socks_request("203.0.113.81", 80, 2), 7), ("udp associate", socks_request("203.0.113.81", 80, 3), 7),
                ("resolve of tor", socks_request("ip.test", 0, 0xf0), 7), ("command 0", socks_request("203.0.113.81", 80, 0), 7),
                ("address type 0", b"\5\1\0\0" + bytes(6), 8), ("address type 2", b"\5\1\0\2" + bytes(6), 8),
                ("address type 5", b"\5\1\0\5" + bytes(6), 8), ("address type ff", b"\5\1\0\xff" + bytes(6), 8),
                ("version 4", b"\4" + socks_request("203.0.113.81", 80)[1:], 1),
                ("nothing listens", socks_request("refused.test", 80), 5), ("no such name", socks_request("nx.test", 80), 4),
                ("name without address", socks_request("nodata.test", 80), 4), ("servfail", socks_request("servfail.test", 80), 4),
                ("unreachable", socks_request("unreachable.test", 80), 4), ("black hole", socks_request("blackhole.test", 80), 4)):
            with self.subTest(name), self.open() as client:
                client.greet()
                client.send(request)
                answered = client.reply()
                self.assertEqual(answered, rep)
                self.assertEqual(self.assert_ends_soon(client), b"", "the connection stays open after a failure")

    def test_reserved_may_be_anything(self):
        with self.open() as client:
            client.greet()
            request = socks_request("203.0.113.81", 80)
            client.send(request[:2] + b"\xff" + request[3:])
            self.assertEqual(client.reply(), 0)

    def test_the_reply_names_the_address_that_the_modem_sees(self):
        with self.open() as client:
            client.greet()
            client.send(socks_request("203.0.113.81", 80))
            self.assertEqual(client.read(8), b"\5\0\0\1" + bytes([192, 168, 11, 100]))

    def test_bad_names_and_odd_numbers_are_refused(self):
        for host in (b"", b"a\0b.test", b"ip.test\0.example.com", b"ip\r\n.test", b"ip .test", b"\xff\xfe.test", b"-", b"a" * 64 + b".test", b"[::1]",
                     b"127.1", b"0x7f.1", b"0177.0.0.1", b"2130706433", b"127.0.0.1%eth0", b"127.0.0.1.", b"localhost", b"LOCALHOST.",
                     b"a" * 255, b"..", b".ip.test"):
            with self.subTest(host), self.open() as client:
                client.greet()
                client.send(b"\5\1\0" + address_bytes(host) + struct.pack("!H", 80))
                self.assertIn(client.reply(), (1, 2, 4))
                self.assertEqual(self.assert_ends_soon(client), b"")

    def test_half_a_handshake_ends_after_its_time(self):
        for part in (b"", b"\5", b"\5\1", b"\5\1\0", b"\5\1\0\5\1\0\3\7ip.te", b"CONNECT ip.test:80 HTTP/1.1\r\nHost:"):
            with self.subTest(part), self.open() as client:
                client.send(part)
                began = time.monotonic()
                self.assert_ends_soon(client, 3)
                self.assertGreater(time.monotonic() - began, 0.5)

    # --- http -----------------------------------------------------------------------------------------------

    def test_bad_connects_are_bad_requests(self):
        for target in (b"ip.test", b"ip.test:", b"ip.test:0", b"ip.test:65536", b"ip.test:99999999999", b"ip.test:+80", b"ip.test:0x50",
                       b":80", b"a@ip.test:80", b"http://ip.test/", b"::1:80", b"ip.test:80:80", b"/"):
            with self.subTest(target), self.open() as client:
                client.send(b"CONNECT " + target + b" HTTP/1.1\r\nHost: ip.test\r\n\r\n")
                self.assertEqual(client.http_status(), 400)
                client.sock.settimeout(2.5)
                client.read_all()

    def test_bad_heads_are_refused(self):
        for name, head, allowed in (
                ("line feeds only", b"CONNECT ip.test:80 HTTP/1.1\nHost: ip.test\n\n", (400, 200)),
                ("bare carriage return", b"CONNECT ip.test:80 HTTP/1.1\r\nHost: ip\r.test\r\n\r\n", (400,)),
                ("folded line", b"GET http://ip.test/ HTTP/1.1\r\nHost: ip.test\r\nX: a\r\n b\r\n\r\n", (400,)),
                ("space before colon", b"GET http://ip.test/ HTTP/1.1\r\nHost : ip.test\r\n\r\n", (400,)),
                ("nul", b"GET http://ip.test/ HTTP/1.1\r\nHost: ip.test\r\nX: \0\r\n\r\n", (400,)),
                ("length and chunks", b"POST http://ip.test/ HTTP/1.1\r\nHost: ip.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", (400,)),
                ("two lengths", b"POST http://ip.test/ HTTP/1.1\r\nHost: ip.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", (400,)),
                ("a huge line", b"GET http://ip.test/ HTTP/1.1\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n", (400, 431, 414)),
                ("ten thousand headers", b"GET http://ip.test/ HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", (400, 431)),
                ("no scheme", b"GET / HTTP/1.1\r\nHost: ip.test\r\n\r\n", (400,)),
                ("ftp", b"GET ftp://ip.test/ HTTP/1.1\r\nHost: ip.test\r\n\r\n", (400, 501)),
                ("bad port", b"GET http://ip.test:99999/ HTTP/1.1\r\nHost: ip.test\r\n\r\n", (400,)),
                ("user in the url", b"GET http://a:b@ip.test/ HTTP/1.1\r\nHost: ip.test\r\n\r\n", (400,))):
            with self.subTest(name), self.open() as client:
                try:
                    client.send(head)
                    status = client.http_status()
                except (BrokenPipeError, ConnectionResetError):
                    status = None if len(head) > 50_000 else "reset"
                if not (status is None and len(head) > 50_000):     # it may be cut off before it has said everything
                    self.assertIn(status, allowed)

    def test_each_failure_has_its_http_status(self):
        for target, status in (("refused.test:80", 502), ("nx.test:80", 502), ("blackhole.test:80", 504), ("10.0.0.1:80", 403),
                               ("unreachable.test:80", 502)):
            with self.subTest(target), self.open() as client:
                client.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
                self.assertEqual(client.http_status(), status)

    def test_a_success_has_no_body_headers(self):
        with self.open() as client:
            client.send(b"CONNECT ip.test:80 HTTP/1.1\r\nHost: ip.test:80\r\n\r\n")
            head = client.read_head().lower()
            self.assertTrue(head.startswith(b"http/1.1 200 "), head)
            self.assertNotIn(b"content-length", head)
            self.assertNotIn(b"transfer-encoding", head)

    def test_a_plain_request_reaches_the_site_without_what_is_for_the_proxy(self):
        with self.open() as client:
            client.send(b"GET http://ip.test/headers HTTP/1.1\r\nHost: ip.test\r\nProxy-Connection: keep-alive\r\n"
                        b"Proxy-Authorization: Basic YTpi\r\nX-Mine: kept\r\nConnection: close\r\n\r\n")
            seen = testrack.json.loads(client.read_all().partition(b"\r\n\r\n")[2])
        self.assertEqual(seen["request"], "GET /headers HTTP/1.1")
        names = [name.lower() for name, _ in seen["headers"]]
        self.assertIn("x-mine", names)
        self.assertFalse([name for name in names if name.startswith("proxy-")])
        for telling in ("via", "forwarded", "x-forwarded-for"):
            self.assertNotIn(telling, names)

    # --- tunnels --------------------------------------------------------------------------------------------

    def test_half_close_by_the_client(self):
        for connect in ("socks", "http"):
            with self.subTest(connect), self.open() as client:
                if connect == "socks":
                    client.connect("echo.test", 9)
                else:
                    client.send(b"CONNECT echo.test:9 HTTP/1.1\r\nHost: x\r\n\r\n")
                    self.assertEqual(client.http_status(), 200)
                client.send(b"x" * 100_000)
                client.end()
                self.assertEqual(client.read_all(), b"100000\n")

    def test_half_close_by_the_server(self):
        with self.open().connect("ip.test") as client:
            client.send(http_get())
            self.assertIn(b"200 OK", client.read_all())


class Counting(testrack.TestCase):
    UP = ["--modems", "1"]

    def test_bytes_are_counted_exactly(self):
        before = self.status(11)
        self.assertEqual((before["rx_bytes"], before["tx_bytes"]), (0, 0), "probes were counted")
        with self.client(11).connect("download.test") as client:
            request = http_get("/bytes/1000000", "download.test")
            client.send(request)
            received = len(client.read_all())
        with self.client(11).connect("echo.test", 9) as client:
            client.send(b"x" * 300_000)
            client.end()
            received += len(client.read_all())
        # The client's side of the payload: neither the handshake nor its reply belongs to it.
        wanted = (received, len(request) + 300_000)
        seen = lambda: (self.status(11)["rx_bytes"], self.status(11)["tx_bytes"])
        testrack.eventually(lambda: seen() == wanted, 4)
        self.assertEqual(seen(), wanted)
        told = self.ctl_json("traffic", 11)["dongles"][0]
        self.assertEqual((told["rx_bytes"], told["tx_bytes"]), wanted)


class Guard(testrack.TestCase):
    """No way to the modem's own pages, to the host or to any private address, by number or by name."""
    UP = ["--modems", "1"]
    CONFIG = ["--interval", "30s"]
    EXTRA = {"proxy": {"connect_timeout": "2s"}}

    ADDRESSES = ("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.16.0.1", "172.31.255.255",
                 "192.0.0.1", "192.168.0.1", "192.168.11.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
                 "::", "::1", "::ffff:127.0.0.1", "::ffff:192.168.11.1", "::ffff:203.0.113.80", "64:ff9b::a00:1", "64:ff9b:1::1",
                 "2002:a00:1::", "2001::1", "fc00::1", "fd00:ec2::254", "fe80::1", "ff02::1")
    NAMES = ("private.test", "loop.test", "meta.test", "zero.test", "mapped.test", "mixed.test", "cname-private.test", "lan11.test", "localhost")

    def test_by_socks5(self):
        for host in (*self.ADDRESSES, *self.NAMES, *HOST_ADDRESSES):
            with self.subTest(host), self.client(11) as client:
                # The modem has no IPv6: a name that has nothing else has no address at all.
                self.assertIn(client.request(host, 80), (2, 4) if host == "mapped.test" else (2,))

    def test_by_http(self):
        for host in (*self.ADDRESSES, *self.NAMES, *HOST_ADDRESSES):
            name = f"[{host}]" if ":" in host else host
            with self.subTest(host, how="connect"), self.client(11) as client:
                client.send(f"CONNECT {name}:80 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                self.assertIn(client.http_status(), (403, 502) if host == "mapped.test" else (403,))
            with self.subTest(host, how="get"), self.client(11) as client:
                client.send(f"GET http://{name}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                self.assertIn(client.http_status(), (403, 502) if host == "mapped.test" else (403,))

    def test_the_hosts_own_ports_are_out_of_reach(self):
        for host in HOST_ADDRESSES:
            with self.subTest(host), self.client(11) as client:
                self.assertEqual(client.request(host, 10011), 2)

    def test_a_name_that_changes_its_mind_gets_nowhere_it_may_not(self):
        for _ in range(6):
            with self.client(11) as client:
                self.assertIn(client.request("rebind.test", 80), (0, 2))

    def test_the_modems_pages_saw_nobody(self):
        before = len(self.api_hits())
        for host in ("192.168.11.1", "::ffff:192.168.11.1", "lan11.test", "3232238337", "0xc0a80b01", "192.168.2817"):
            with self.client(11) as client:
                self.assertNotEqual(client.request(host, 80), 0)
        self.assertEqual(len(self.api_hits()), before)

    def api_hits(self):
        return self.sim.call("log", what="api", id=11)["entries"]


class Exceptions(testrack.TestCase):
    UP = ["--modems", "1"]
    EXTRA = {"proxy": {"allow_destinations": ["192.168.11.1/32"], "connect_timeout": "2s"}}

    def test_an_exception_opens_exactly_its_prefix(self):
        with self.client(11) as client:
            client.connect("192.168.11.1")
            self.assertTrue(client.get("/api/webserver/SesTokInfo", "192.168.11.1"))
        for host in ("192.168.11.2", "192.168.11.100", "192.168.10.1", "10.0.0.1", "127.0.0.1", "private.test"):
            with self.subTest(host), self.client(11) as client:
                self.assertEqual(client.request(host, 80), 2)


if __name__ == "__main__":
    unittest.main()
