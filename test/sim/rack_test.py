"""The whole rack over the real kernel, as root. About half a minute."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SIM = os.path.join(HERE, "../../tools/sim")
sys.path.insert(0, SIM)

import control
import netns
import rack

NAME = f"simtest{os.getpid()}"

LEASE_SCRIPT = """#!/bin/sh
case "$1" in
deconfig) ip link set "$interface" up;;
bound|renew) echo "$1 $ip/$mask router=$router dns=$dns lease=$lease";;
nak) echo nak;;
esac
"""


def eventually(question, seconds=5.0):
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer or time.monotonic() > deadline:
            return answer
        time.sleep(0.03)


def read(path):
    with open(path) as file:
        return file.read()


@unittest.skipUnless(os.geteuid() == 0, "makes network namespaces: needs root")
class RackTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rack = control.RunningRack(
            NAME, "--modem", "id=11,boot_time=0.5,lease=6,sticky_time=0.5,attach_time=0.1", "--modem", "id=12,subnet=192.168.8.0/24,mac=0c:5b:8f:27:9a:64",
            "--modem", "id=13,subnet=192.168.8.0/24,mac=0c:5b:8f:27:9a:64,name=stick13,firmware=old,boot_time=0.5")
        cls.rack.__enter__()
        cls.addClassCleanup(cls.rack.__exit__, None, None, None)
        for id, interface, subnet in ((11, "m11", 11), (12, "m12", 8), (13, "stick13", 8)):
            cls.configure(id, interface, subnet)

    @classmethod
    def configure(cls, id, interface, subnet):
        host = f"{NAME}-host"
        netns.ip("rule", "flush", "table", str(id), namespace=host)
        netns.ip_batch([f"addr add 192.168.{subnet}.100/24 dev {interface} noprefixroute",
                        f"rule add oif {interface} table {id}", f"route add 192.168.{subnet}.0/24 dev {interface} table {id}",
                        f"route add default via 192.168.{subnet}.1 dev {interface} table {id}"], host)

    def tearDown(self):
        self.rack.call("fault", id="all", fault="clear")
        self.rack.call("fault", id="inet", fault="clear")
        self.assertTrue(eventually(lambda: all(each["connected"] for each in self.rack.call("status")["modems"])))
        if not self.get("http://203.0.113.80/ip"):
            self.configure(11, "m11", 11)
        self.assertEqual(read(f"{rack.directory(NAME)}/log"), "", "the rack complained")

    def fault(self, id, fault, argument=None, **more):
        self.rack.call("fault", id=id, fault=fault, argument=argument, **more)

    def get(self, url, interface="m11", *more, timeout="1"):
        done = self.rack.run("curl", "-sS", "-m", timeout, "--interface", interface, *more, url)
        return done.stdout

    def api(self, path, body=None, id=13, interface="stick13", gateway="192.168.8.1", timeout="1", *more):
        data = [] if body is None else ["-d", f'<?xml version="1.0" encoding="UTF-8"?><request>{body}</request>']
        return self.rack.run("curl", "-sS", "-m", timeout, "--interface", interface, *data, *more,
                             f"http://{gateway}/api/{path}")

    def dig(self, name, server="192.168.11.1", type="A", interface="m11"):
        """(code, addresses) by a hand-made query, bound to the interface; None if there is no answer."""
        import dns
        import struct

        def ask():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
                sock.settimeout(1)
                sock.sendto(struct.pack("!HHHHHH", 7, dns.RD, 1, 0, 0, 0) + dns.encode_name(name) +
                            struct.pack("!HH", {"A": 1, "AAAA": 28}[type], 1), (server, 53))
                try:
                    reply = sock.recv(600)
                except TimeoutError:
                    return None
                return reply[3] & 15, struct.unpack("!H", reply[6:8])[0]
        return netns.call_in(f"{NAME}-host", ask)

    # --- the way out ----------------------------------------------------------------------------------------

    def test_each_modem_has_its_own_public_address_even_with_equal_subnets_and_macs(self):
        status = {each["id"]: each for each in self.rack.call("status")["modems"]}
        self.rack.call("uplink", clear=True)
        for id, interface in ((11, "m11"), (12, "m12"), (13, "stick13")):
            self.assertEqual(self.get("http://203.0.113.80/ip", interface).strip(), status[id]["public_ip"])
        self.assertEqual(status[12]["mac"], status[13]["mac"])
        self.assertEqual(self.rack.call("uplink")["count"], 0)

    def test_the_uplink_is_a_working_way_out_and_seen(self):
        self.rack.call("uplink", clear=True)
        self.assertEqual(self.rack.run("curl", "-sS", "http://203.0.113.80/ip").stdout.strip(), rack.UPLINK_HOST)
        self.assertEqual(self.rack.run("curl", "-sS", "http://[2001:db8:113::80]/ip").stdout.strip(), rack.UPLINK_HOST6)
        report = self.rack.call("uplink")
        self.assertGreater(report["count"], 6)
        self.assertEqual(report["entries"][0]["dport"], 80)

    def test_lan_clients_reach_the_host(self):
        server = self.rack.start(sys.executable, "-m", "http.server", "8088", "--bind", rack.LAN_HOST, "--directory", SIM,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.assertTrue(eventually(lambda: "rack.py" in self.rack.run(
                "curl", "-s", f"http://{rack.LAN_HOST}:8088/", inside="lan").stdout))
        finally:
            server.terminate()
            server.wait()

    def test_sites(self):
        resolve = lambda name, address: ["--resolve", f"{name}:{443 if name.startswith('https') else 80}:{address}"]
        self.assertEqual(self.get("http://ip.test/", "m11", *resolve("ip.test", "203.0.113.81")).strip(),
                         self.rack.modem(11)["public_ip"])
        self.assertEqual(self.get("http://203.0.113.204/generate_204", "m11", "-w", "%{http_code}"), "204")
        self.assertEqual(self.get("http://203.0.113.205/success.txt"), "success\n")
        self.assertEqual(self.get("https://https.test/ip", "m11", "-k", *resolve("https.test", "203.0.113.83")).strip(),
                         self.rack.modem(11)["public_ip"])
        import internet
        body = subprocess.run(["ip", "netns", "exec", f"{NAME}-host", "curl", "-sS", "--interface", "m11",
                               "http://203.0.113.82/chunked/300001"], capture_output=True).stdout
        self.assertEqual(body, internet.pattern(0, 300001))
        headers = json.loads(self.get("http://203.0.113.80/headers", "m11", "-H", "X-One: 1"))
        self.assertIn(["X-One", "1"], headers["headers"])
        uploaded = json.loads(self.get("http://203.0.113.82/upload", "m11", "--data-binary", "x" * 5000))
        self.assertEqual(uploaded["bytes"], 5000)
        self.assertIn("Location: http://x.test/\n", self.get("http://203.0.113.80/redirect?to=http://x.test/", "m11",
                                                             "-i").replace("\r", ""))
        self.assertEqual(self.get("http://203.0.113.67/"), "")

    def test_echo_and_sink_see_the_half_close(self):
        def talk(port, payload):
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"m11")
                sock.settimeout(3)
                sock.connect(("203.0.113.7", port))
                sock.sendall(payload)
                sock.shutdown(socket.SHUT_WR)
                parts = []
                while part := sock.recv(65536):
                    parts.append(part)
                return b"".join(parts)
        self.assertEqual(netns.call_in(f"{NAME}-host", talk, 7, b"abc" * 1000), b"abc" * 1000)
        self.assertEqual(netns.call_in(f"{NAME}-host", talk, 9, b"abc" * 1000), b"3000\n")

    def test_dns_goes_through_the_modem_and_is_logged(self):
        self.rack.call("log", what="dns", clear=True)
        self.assertEqual(self.dig("download.test"), (0, 1))
        self.assertEqual(self.dig("nx.test"), (3, 0))
        entry = self.rack.call("log", what="dns")["entries"][0]
        self.assertEqual((entry["modem"], entry["name"], entry["type"]), (11, "download.test", "A"))
        for fault, argument, answer in (("dns_dead", None, None), ("dns_servfail", None, (2, 0)), ("dns_slow", "0.5", (0, 1))):
            self.fault(11, fault, argument)
            self.assertEqual(self.dig("download.test"), answer)
            self.fault(11, "clear", fault)
        self.fault("inet", "dns_down")
        self.assertIsNone(self.dig("download.test"))

    def test_dns_by_tcp_where_udp_is_too_small(self):
        import dns
        import struct
        question = struct.pack("!HHHHHH", 7, dns.RD, 1, 0, 0, 0) + dns.encode_name("many.test") + struct.pack("!HH", 1, 1)

        def ask():
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"m11")
                sock.settimeout(2)
                sock.connect(("192.168.11.1", 53))
                sock.sendall(struct.pack("!H", len(question)) + question)
                with sock.makefile("rb") as stream:
                    size, = struct.unpack("!H", stream.read(2))
                    return stream.read(size)
        reply = netns.call_in(f"{NAME}-host", ask)
        self.assertEqual(struct.unpack("!H", reply[6:8])[0], 81)
        entry = self.rack.call("log", what="dns")["entries"][-1]
        self.assertEqual((entry["modem"], entry["protocol"]), (11, "tcp"))

    # --- rotation and faults of the connection ----------------------------------------------------------------

    def test_the_data_switch_changes_the_address_and_nothing_passes_while_off(self):
        before = self.rack.modem(13)
        self.assertIn("OK", self.api("dialup/mobile-dataswitch", "<dataswitch>0</dataswitch>").stdout)
        self.assertIn("<ConnectionStatus>902<", self.api("monitoring/status").stdout)
        self.assertEqual(self.get("http://203.0.113.80/ip", "stick13"), "")
        self.api("dialup/mobile-dataswitch", "<dataswitch>1</dataswitch>")
        self.assertIn("<ConnectionStatus>900<", self.api("monitoring/status").stdout)
        self.assertTrue(eventually(lambda: self.rack.modem(13)["connected"]))
        after = self.rack.modem(13)
        self.assertNotEqual(after["public_ip"], before["public_ip"])
        self.assertEqual(after["reconnects"], before["reconnects"] + 1)
        self.assertEqual(self.get("http://203.0.113.80/ip", "stick13").strip(), after["public_ip"])

    def test_same_ip(self):
        self.fault(13, "same_ip")
        before = self.rack.modem(13)
        self.fault(13, "reconnect")
        self.assertTrue(eventually(lambda: self.rack.modem(13)["reconnects"] > before["reconnects"]))
        self.assertEqual(self.rack.modem(13)["public_ip"], before["public_ip"])

    def test_an_address_sticks_to_one_that_is_back_soon(self):
        before = self.rack.modem(11)["public_ip"]
        self.fault(11, "reconnect")
        self.assertTrue(eventually(lambda: self.rack.modem(11)["connected"]))
        self.assertEqual(self.rack.modem(11)["public_ip"], before)
        self.fault(11, "data_off")
        time.sleep(0.6)
        self.fault(11, "clear")
        self.assertTrue(eventually(lambda: self.rack.modem(11)["connected"]))
        self.assertNotEqual(self.rack.modem(11)["public_ip"], before)

    def test_the_data_switch_ends_the_fault_that_turned_it_off(self):
        self.fault(13, "data_off")
        self.assertEqual(self.rack.modem(13)["faults"], {"data_off": None})
        self.assertIn("<dataswitch>0<", self.api("dialup/mobile-dataswitch").stdout)
        self.api("dialup/mobile-dataswitch", "<dataswitch>1</dataswitch>")
        self.assertEqual(self.rack.modem(13)["faults"], {})

    def test_a_stick_that_moves_by_its_own_api(self):
        fields = (("DnsStatus", 1), ("DhcpStartIPAddress", "192.168.77.100"), ("DhcpIPAddress", "192.168.77.1"),
                  ("accessipaddress", ""), ("homeurl", "hi.link"), ("DhcpStatus", 1), ("DhcpLanNetmask", "255.255.255.0"),
                  ("SecondaryDns", "192.168.77.1"), ("PrimaryDns", "192.168.77.1"), ("DhcpEndIPAddress", "192.168.77.100"),
                  ("DhcpLeaseTime", 86400))
        body = "".join(f"<{tag}>{value}</{tag}>" for tag, value in fields)
        self.api("dhcp/settings", body)
        self.assertEqual(self.rack.modem(13)["gateway"], "192.168.77.1")
        self.rack.run("ip", "addr", "add", "192.168.77.100/24", "dev", "stick13")
        self.rack.run("ip", "route", "add", "192.168.77.0/24", "dev", "stick13", "src",
                      "192.168.77.100", "table", "13")
        self.assertIn("OK", self.api("dhcp/settings", body.replace("192.168.77.", "192.168.8."), 13, "stick13",
                                     "192.168.77.1").stdout)
        self.rack.run("ip", "addr", "del", "192.168.77.100/24", "dev", "stick13")
        self.assertTrue(self.get("http://203.0.113.80/ip", "stick13"))

    def test_the_network_mode_registers_anew(self):
        before = self.rack.modem(13)["public_ip"]
        self.api("net/net-mode", "<NetworkMode>02</NetworkMode><NetworkBand>3FFFFFFF</NetworkBand><LTEBand>7FFF</LTEBand>")
        self.assertIn("<ServiceStatus>0<", self.api("monitoring/status").stdout)
        self.assertTrue(eventually(lambda: self.rack.modem(13)["connected"]))
        self.assertIn("<CurrentNetworkType>9<", self.api("monitoring/status").stdout)
        self.assertNotEqual(self.rack.modem(13)["public_ip"], before)

    def test_black_holes_end_as_told(self):
        self.fault(13, "wan_blackhole")
        self.assertTrue(self.rack.modem(13)["connected"])
        self.assertEqual(self.get("http://203.0.113.80/ip", "stick13"), "")
        for on in (0, 1):
            self.api("dialup/mobile-dataswitch", f"<dataswitch>{on}</dataswitch>")
        self.assertTrue(eventually(lambda: self.get("http://203.0.113.80/ip", "stick13")))
        self.fault(13, "wan_blackhole", "until=reboot")
        for on in (0, 1):
            self.api("dialup/mobile-dataswitch", f"<dataswitch>{on}</dataswitch>")
        self.assertTrue(eventually(lambda: self.rack.modem(13)["connected"]))
        self.assertEqual(self.rack.modem(13)["faults"], {"wan_blackhole": "reboot"})
        self.fault(13, "reboot")
        self.assertTrue(eventually(lambda: self.rack.modem(13)["connected"]))
        self.assertEqual(self.rack.modem(13)["faults"], {})
        self.configure(13, "stick13", 8)
        self.assertTrue(self.get("http://203.0.113.80/ip", "stick13"))

    def test_what_a_person_must_mend(self):
        for fault, fields in (("no_sim", "<ConnectionStatus>905<.*<SimStatus>255<"), ("pin_required", "<SimStatus>0<"),
                              ("no_registration", "<ConnectionStatus>907<.*<ServiceStatus>0<"),
                              ("data_limit", "<ConnectionStatus>201<"), ("data_off", "<ConnectionStatus>902<")):
            self.fault(13, fault)
            self.assertRegex(self.api("monitoring/status").stdout, fields)
            self.assertEqual(self.get("http://203.0.113.80/ip", "stick13"), "", fault)
            self.fault(13, "clear", fault)
            self.assertTrue(eventually(lambda: self.rack.modem(13)["connected"]))

    def test_a_fault_ends_by_itself(self):
        self.fault(13, "no_sim", seconds=0.2)
        self.assertFalse(self.rack.modem(13)["connected"])
        self.assertTrue(eventually(lambda: self.rack.modem(13)["connected"]))
        self.assertEqual(self.rack.modem(13)["faults"], {})

    # --- the stick --------------------------------------------------------------------------------------------

    def test_a_restart_takes_the_interface_away_and_brings_it_back(self):
        before = self.rack.modem(13)
        self.assertIn("OK", self.api("device/control", "<Control>1</Control>").stdout)
        self.assertIsNone(self.rack.modem(13)["interface"])
        self.assertTrue(eventually(lambda: self.rack.modem(13)["connected"]))
        after = self.rack.modem(13)
        self.assertEqual((after["interface"], after["mac"]), ("stick13", before["mac"]))
        self.assertNotEqual(after["ifindex"], before["ifindex"])
        self.assertIn(before["mac"], self.rack.run("ip", "link", "show", "stick13").stdout)
        self.configure(13, "stick13", 8)
        self.assertEqual(self.get("http://203.0.113.80/ip", "stick13").strip(), after["public_ip"])

    def test_unplug_and_plug_with_another_name(self):
        self.fault(13, "unplug")
        self.assertNotEqual(self.rack.run("ip", "link", "show", "stick13").returncode, 0)
        self.fault(13, "plug", "other0")
        self.assertEqual(self.rack.modem(13)["interface"], "other0")
        self.fault(13, "plug", "stick13")
        self.configure(13, "stick13", 8)
        self.assertTrue(eventually(lambda: self.get("http://203.0.113.80/ip", "stick13")))

    def test_an_interface_that_somebody_deletes_can_be_plugged_in_again(self):
        self.rack.run("ip", "link", "del", "stick13")
        self.assertIsNone(self.rack.modem(13)["interface"])
        self.fault(13, "plug")
        self.assertEqual(self.rack.modem(13)["interface"], "stick13")
        self.configure(13, "stick13", 8)
        self.assertTrue(eventually(lambda: self.get("http://203.0.113.80/ip", "stick13")))

    def test_carrier_and_dead_gateway(self):
        self.fault(11, "carrier_down")
        self.assertIn("NO-CARRIER", self.rack.run("ip", "link", "show", "m11").stdout)
        self.fault(11, "carrier_up")
        self.assertTrue(self.rack.modem(11)["carrier"])
        self.configure_route_again()
        self.fault(11, "dead_gateway")
        self.assertEqual(self.get("http://203.0.113.80/ip"), "")
        self.assertTrue(self.rack.modem(11)["carrier"])
        self.fault(11, "clear")
        self.assertTrue(eventually(lambda: self.get("http://203.0.113.80/ip")))

    def configure_route_again(self):
        # Losing the carrier takes no route on this kernel; deleting and adding keeps the test independent of that.
        self.rack.run("ip", "route", "replace", "default", "via", "192.168.11.1", "dev", "m11", "table", "11")

    # --- DHCP ---------------------------------------------------------------------------------------------------

    def lease(self):
        with tempfile.NamedTemporaryFile("w", suffix=".sh", delete=False) as file:
            file.write(LEASE_SCRIPT)
        os.chmod(file.name, 0o755)
        try:
            return self.rack.run("udhcpc", "-f", "-n", "-q", "-i", "m11", "-s", file.name, "-t", "2", "-T", "1").stdout
        finally:
            os.unlink(file.name)

    def test_dhcp(self):
        self.assertIn("bound 192.168.11.100/24 router=192.168.11.1 dns=192.168.11.1 lease=6", self.lease())
        self.fault(11, "dhcp_bad")
        self.assertIn("bound 192.0.2.10/24 router=192.0.2.1", self.lease())
        self.fault(11, "clear")
        self.fault(11, "dhcp_change", "192.168.99.0/24")
        self.assertIn("bound 192.168.99.100/24 router=192.168.99.1", self.lease())
        self.fault(11, "clear")
        self.fault(11, "dhcp_silent")
        self.assertEqual(self.lease(), "")
        self.fault(11, "clear")
        self.fault(11, "dhcp_hostile")
        self.lease()
        self.assertFalse(os.path.exists("/tmp/dongle-sim-was-here"))

    def test_a_lease_is_renewed_and_refused_when_it_moved(self):
        with tempfile.TemporaryDirectory() as folder:
            script, out = f"{folder}/script", f"{folder}/out"
            with open(script, "w") as file:
                file.write(LEASE_SCRIPT.replace('echo "$1 ', 'ip addr replace $ip/$mask dev $interface; echo "$1 '))
            os.chmod(script, 0o755)
            with open(out, "w") as file:
                client = self.rack.start("udhcpc", "-f", "-i", "m11", "-s", script, "-T", "1", stdout=file,
                                         stderr=subprocess.DEVNULL)
            try:
                said = lambda: read(out)
                self.assertTrue(eventually(lambda: "bound 192.168.11.100" in said()), said())
                client.send_signal(signal.SIGUSR1)      # renew now
                self.assertTrue(eventually(lambda: "renew 192.168.11.100" in said()), said())
                self.fault(11, "dhcp_change", "192.168.98.0/24")
                client.send_signal(signal.SIGUSR1)
                self.assertTrue(eventually(lambda: "bound 192.168.98.100" in said(), 12), said())
            finally:
                client.terminate()
                client.wait()
                self.rack.run("ip", "addr", "del", "192.168.98.100/24", "dev", "m11")

    # --- the API ------------------------------------------------------------------------------------------------

    def test_api_faults(self):
        for fault, argument, code, text in (
                ("api_hang", None, 28, ""), ("api_slow", "0.3", 0, "<ConnectionStatus>"), ("api_drip", None, 28, ""),
                ("api_html", None, 0, "<html>"), ("api_empty", None, 0, ""), ("api_truncated", None, 0, "<response>"),
                ("api_reset", None, 56, ""), ("api_error", "100004", 0, "100004"), ("api_busy", None, 0, "100004"),
                ("api_error", "125002:net/net-mode", 0, "<ConnectionStatus>"), ("api_503", None, 0, "Unavailable"),
                ("api_down", None, 7, "")):
            self.fault(13, fault, argument)
            done = self.api("monitoring/status")
            self.assertEqual(done.returncode, code, f"{fault}: {done}")
            self.assertIn(text, done.stdout, fault)
            self.fault(13, "clear")
            self.assertIn("<ConnectionStatus>", self.api("monitoring/status").stdout, f"after {fault}")

    def test_a_huge_body_is_streamed(self):
        self.fault(13, "api_huge")
        done = self.api("monitoring/status", None, 13, "stick13", "192.168.8.1", "10", "-o", "/dev/null", "-w",
                        "%{size_download}")
        self.assertEqual(done.stdout, str(100 * 1024 * 1024))

    def test_an_error_so_many_times(self):
        self.fault(13, "api_error", "125002:net/net-mode:1")
        self.assertIn("125002", self.api("net/net-mode").stdout)
        self.assertIn("NetworkMode", self.api("net/net-mode").stdout)

    def test_lies(self):
        self.fault(13, "api_lies")
        self.assertIn("OK", self.api("device/control", "<Control>1</Control>").stdout)
        self.assertEqual(self.rack.modem(13)["interface"], "stick13")

    def test_requests_at_once_are_counted_and_answered_in_turn(self):
        self.rack.call("log", what="api", clear=True)
        self.fault(13, "api_slow", "0.1")
        clients = [self.rack.start("curl", "-s", "--interface", "stick13", "-o", "/dev/null",
                                   "http://192.168.8.1/api/monitoring/status") for _ in range(3)]
        for client in clients:
            self.assertEqual(client.wait(), 0)
        self.assertGreater(self.rack.modem(13)["api_max_requests"], 1)
        self.assertEqual(self.rack.call("log", what="api", id=13)["count"], 3)

    def test_traffic_is_counted(self):
        self.api("monitoring/clear-traffic", "<ClearTraffic>1</ClearTraffic>")
        self.get("http://203.0.113.82/bytes/1000000", "stick13", "-o", "/dev/null")
        text = self.api("monitoring/traffic-statistics").stdout
        self.assertGreater(int(re.search("<CurrentDownload>(.*?)<", text)[1]), 1000000)
        self.fault(13, "reconnect")
        self.assertTrue(eventually(lambda: self.rack.modem(13)["connected"]))
        text = self.api("monitoring/traffic-statistics").stdout
        self.assertLess(int(re.search("<CurrentDownload>(.*?)<", text)[1]), 10000)
        self.assertGreater(int(re.search("<TotalDownload>(.*?)<", text)[1]), 1000000)

    def test_sites_close(self):
        for fault, address in (("probe_down", "203.0.113.204"), ("success_down", "203.0.113.205"), ("ip_down", "203.0.113.81")):
            self.fault("inet", fault)
            self.assertEqual(self.rack.run("curl", "-s", "--interface", "m11", f"http://{address}/").returncode, 7)
            self.fault("inet", "clear")
            self.assertEqual(self.rack.run("curl", "-s", "--interface", "m11", f"http://{address}/").returncode, 0)


def host_state():
    """What belongs to the namespace the rack is started in: it must not change."""
    return [subprocess.run(command, capture_output=True, text=True).stdout for command in (
        ["ip", "-br", "link"], ["ip", "-br", "addr"], ["ip", "rule"], ["ip", "route", "show", "table", "all"],
        ["nft", "list", "ruleset"], ["sysctl", "net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter"])]


@unittest.skipUnless(os.geteuid() == 0, "makes network namespaces: needs root")
class ComingAndGoing(unittest.TestCase):
    name = NAME + "b"

    def program(self, *arguments, **options):
        return subprocess.run([sys.executable, SIM, *arguments], **{"capture_output": True, "text": True} | options)

    def setUp(self):
        self.before = host_state()

    def tearDown(self):
        self.program("down", "--name", self.name)
        self.assert_nothing_left()

    def assert_nothing_left(self):
        self.assertEqual(rack.namespaces(self.name), [])
        self.assertFalse(os.path.exists(rack.directory(self.name)))
        self.assertEqual(host_state(), self.before)

    def start(self, *arguments, **options):
        process = subprocess.Popen([sys.executable, SIM, "up", "--name", self.name, *arguments], stdout=subprocess.PIPE,
                                   text=True, **options)
        self.addCleanup(process.stdout.close)
        while (line := process.stdout.readline()) != "ready\n":
            self.assertTrue(line, "it ended before it was ready")
        return process

    def test_foreground_goes_on_a_signal_with_the_processes_inside(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start()
            inside = subprocess.Popen(["ip", "netns", "exec", f"{self.name}-host", "sleep", "100"])
            self.assertTrue(eventually(lambda: netns.processes_in([f"{self.name}-host"])))
            process.send_signal(number)
            self.assertEqual(process.wait(10), 0)
            self.assertEqual(inside.wait(1), -signal.SIGTERM)
            self.assert_nothing_left()

    def test_down_cleans_up_after_a_kill(self):
        process = self.start()
        inside = subprocess.Popen(["ip", "netns", "exec", f"{self.name}-lan", "sleep", "100"])
        self.assertTrue(eventually(lambda: netns.processes_in([f"{self.name}-lan"])))
        process.kill()
        process.wait()
        self.assertTrue(rack.namespaces(self.name))
        self.assertEqual(self.program("down", "--name", self.name).returncode, 0)
        inside.wait(1)
        self.assert_nothing_left()
        self.assertEqual(self.program("down", "--name", self.name).returncode, 0)

    def test_up_replaces_what_a_kill_left_but_no_living_rack(self):
        process = self.start("--modems", "1")
        process.kill()
        process.wait()
        process = self.start("--modems", "1")
        again = self.program("up", "--name", self.name)
        self.assertEqual(again.returncode, 1)
        self.assertIn("is up already", again.stderr)
        process.terminate()
        process.wait(10)

    def test_a_rack_goes_with_who_started_it(self):
        middle = subprocess.Popen(["sh", "-c", f"{sys.executable} {SIM} up --name {self.name} --modems 1 & wait"],
                                  stdout=subprocess.PIPE, text=True)
        while middle.stdout.readline() != "ready\n":
            pass
        middle.kill()
        middle.wait()
        middle.stdout.close()
        self.assertTrue(eventually(lambda: not os.path.exists(rack.directory(self.name)), 10))

    def test_detached_and_many(self):
        began = time.monotonic()
        done = self.program("up", "--name", self.name, "--modems", "20", "--detach")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(time.monotonic() - began, 6)
        self.assertEqual(len(done.stdout.splitlines()), 21)
        status = json.loads(self.program("status", "--name", self.name, "--json").stdout)
        self.assertEqual(len({each["public_ip"] for each in status["modems"]}), 20)
        done = self.program("exec", "--name", self.name, "--in", "m15", "--", "ip", "-br", "addr", "show", "wan0")
        self.assertIn("198.51.100.", done.stdout)

    def test_mistakes_are_one_line(self):
        for code, arguments in ((2, ["up", "--modem", "id=300"]), (2, ["status", "--colour"]), (2, ["jump"]), (2, []),
                                (1, ["status", "--name", self.name]), (1, ["exec", "--name", self.name, "--", "true"]),
                                (2, ["up", "--name", "Bad Name"])):
            done = self.program(*arguments)
            self.assertEqual((done.returncode, done.stderr.count("\n"), done.stdout), (code, 1, ""), (arguments, done))


@unittest.skipUnless(os.geteuid() == 0, "makes network namespaces: needs root")
@unittest.skipUnless(os.path.exists("/dev/net/tun"), "the kernel has no /dev/net/tun")
class TapTest(unittest.TestCase):
    """A rack whose host is a virtual machine: the ends of its links are tap devices."""

    NAME = NAME + "tap"

    @classmethod
    def setUpClass(cls):
        cls.rack = control.RunningRack(cls.NAME, "--taps", "--modem", "id=11,boot_time=0.2")
        cls.rack.__enter__()
        cls.addClassCleanup(cls.rack.__exit__, None, None, None)

    def resolves(self, fd, host, gateway):
        """Asks for the gateway's hardware address, as the machine behind the tap would."""
        mine, theirs = bytes.fromhex("0c5b8f279a0b"), socket.inet_aton(gateway)
        request = (b"\xff" * 6 + mine + b"\x08\x06" + bytes.fromhex("0001080006040001") + mine + socket.inet_aton(host)
                   + bytes(6) + theirs)
        def answered():
            os.write(fd, request)
            try:
                frame = os.read(fd, 2000)
            except BlockingIOError:
                return False
            return frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\x02" and frame[28:32] == theirs
        return bool(eventually(answered, 3))

    def test_frames_reach_the_modem_and_the_uplink(self):
        for space, interface, host, gateway in (("m11", "lan0", "192.168.11.100", "192.168.11.1"),
                                                ("inet", "uplink", "192.0.2.10", "192.0.2.1")):
            fd = rack.open_tap(f"{self.NAME}-{space}", interface)
            self.addCleanup(os.close, fd)
            self.assertTrue(self.resolves(fd, host, gateway), interface)

    def test_power_is_told(self):
        with control.Client(self.NAME) as client:
            seen = len(client.call("power"))
            def expect(*changes):
                nonlocal seen
                got = []
                while len(got) < len(changes):
                    got += client.call("power", after=seen + len(got))
                seen += len(got)
                self.assertEqual(got, [[11, on] for on in changes])
            self.rack.call("fault", id=11, fault="unplug")
            expect(False)
            self.rack.call("fault", id=11, fault="power_back")      # nothing is in the port
            self.rack.call("fault", id=11, fault="plug")
            expect(True)
            self.rack.call("fault", id=11, fault="reboot")
            expect(False, True)
            self.rack.call("fault", id=11, fault="power_cut")
            expect(False)
            self.rack.call("fault", id=11, fault="power_back")
            expect(True)

    def test_a_dead_gateway_ends_as_told(self):
        def faults():
            return self.rack.modem(11)["faults"]
        self.rack.call("fault", id=11, fault="dead_gateway", argument="rebind")
        self.rack.call("fault", id=11, fault="rebind")
        self.assertEqual(faults(), {})
        self.rack.call("fault", id=11, fault="dead_gateway", argument="until=power")
        self.rack.call("fault", id=11, fault="rebind")
        self.assertEqual(faults(), {"dead_gateway": "power"})
        self.rack.call("fault", id=11, fault="power_cut")
        self.rack.call("fault", id=11, fault="power_back")
        self.assertTrue(eventually(lambda: faults() == {}))


if __name__ == "__main__":
    unittest.main()
