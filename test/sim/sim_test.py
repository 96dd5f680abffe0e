"""The pure parts of dongle-sim: no root, no socket."""
import base64
import hashlib
import os
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/sim"))

import dhcp
import dns
import faults
import hilink
import hilink_auth
import internet
import modem
import uplink
from hilink import HilinkApi, Request
from modem import AddressPool, Modem, Options, Phase
from netns import SimError


class ModemState(unittest.TestCase):
    def connected(self):
        stick = Modem(Options(11))
        self.assertTrue(stick.settle())
        stick.attached("198.51.100.2")
        return stick

    def test_connects_in_two_steps(self):
        stick = Modem(Options(11))
        self.assertEqual(stick.connection_status(), 902)
        self.assertTrue(stick.settle())
        self.assertEqual(stick.connection_status(), 900)
        self.assertFalse(stick.settle())
        stick.attached("198.51.100.2")
        self.assertEqual((stick.connection_status(), stick.public_ip, stick.reconnects), (901, "198.51.100.2", 0))

    def test_loses_its_address_with_whatever_it_needs(self):
        for change in ({"data_switch": False}, {"sim": "absent"}, {"sim": "pin"}, {"network_available": False},
                       {"registering": True}, {"data_limit": True}, {"powered": False}, {"dialed": False}):
            stick = self.connected()
            for name, value in change.items():
                setattr(stick, name, value)
            self.assertFalse(stick.settle())
            self.assertEqual((stick.phase, stick.public_ip), (Phase.DISCONNECTED, None), change)

    def test_an_answer_after_the_switch_went_off_gives_no_address(self):
        stick = Modem(Options(11))
        stick.settle()
        stick.set_data_switch(False)
        stick.settle()
        stick.attached("198.51.100.2")
        self.assertIsNone(stick.public_ip)

    def test_addresses_come_in_turn_and_never_twice_at_once(self):
        pool = AddressPool("198.51.100.0/29")
        first = [pool.take() for _ in range(6)]
        self.assertEqual(len(set(first)), 6)
        self.assertRaises(SimError, pool.take)
        pool.give_back(first[2])
        self.assertEqual(pool.take(), first[2])

    def test_options(self):
        options = modem.parse_options("id=12,subnet=192.168.8.0/24,password=secret,same_ip=1,boot_time=2.5")
        self.assertEqual((options.name, options.login, options.same_ip, options.boot_time), ("m12", "sha256", True, 2.5))
        self.assertEqual(Modem(options).gateway(), "192.168.8.1")
        for bad in ("subnet=192.168.8.0/24", "id=0", "id=x", "id=1,colour=red", "id=1,firmware=new", "id=1,login=key",
                    "id=1,subnet=192.168.8.1/24", "id=1,name=a-name-that-is-too-long"):
            self.assertRaises(SimError, modem.parse_options, bad)


class Logins(unittest.TestCase):
    def test_sha256(self):
        self.assertEqual(hilink_auth.sha256_password("admin", "secret", "0123456789abcdef0123456789abcdef"),
                         "ZjE0NzAwZmY5ZDFkODYzYWIwZGEwODdkMzkwZmYwMzk3MjlkMmFkNzZjNWZmMWQwZWY0ZWY5NWUxNTdlZDUxMA==")

    def test_scram(self):
        first, salt = "0" * 63 + "1", "1" * 64
        server = first + "2" * 32
        self.assertEqual(hilink_auth.scram_salted("secret", salt, 100).hex(),
                         "6e42e97cba5a2c9cdbd7a8d0987b290b8874d5ab8496e2b0457f8d5e2768c6a8")
        self.assertEqual(hilink_auth.scram_proof("secret", first, server, salt, 100),
                         "59178198add3cf9cbbb500bb51ff70004803f65e13aaddae9d8e7bbb3834c796")


def rsa_block(text, n, e, oaep):
    """As OpenSSL does it, which keeps the paddings honest."""
    # SubjectPublicKeyInfo by OpenSSL's own ASN.1 generator.
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/asn1", "w") as file:
            file.write(f"asn1=SEQUENCE:k\n[k]\na=SEQUENCE:r\nk=BITWRAP,SEQUENCE:p\n[r]\no=OID:rsaEncryption\np=NULL\n"
                       f"[p]\nn=INTEGER:0x{n:x}\ne=INTEGER:0x{e:x}\n")
        subprocess.run(["openssl", "asn1parse", "-genconf", f"{folder}/asn1", "-out", f"{folder}/key", "-noout"], check=True)
        return subprocess.run(["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", f"{folder}/key", "-keyform", "DER",
                               "-pkeyopt", f"rsa_padding_mode:{'oaep' if oaep else 'pkcs1'}"],
                              input=text, capture_output=True, check=True).stdout


class FakeDevice:
    def __init__(self, **options):
        self.modem = Modem(Options(11, **options))
        self.done = []
        self.faults = {}

    def fault(self, name):
        return self.faults.get(name)

    def __getattr__(self, name):
        return lambda *arguments: self.done.append((name, *arguments))


class Api(unittest.TestCase):
    def make(self, **options):
        self.now = 0.0
        self.device = FakeDevice(**options)
        numbers = iter(range(1, 100000))
        self.api = HilinkApi(self.device, clock=lambda: self.now,
                             random_hex=lambda length: hashlib.sha512(str(next(numbers)).encode()).hexdigest()[:length])
        return self.api

    def call(self, method, path, body="", cookie=None, token=None):
        headers = {}
        if cookie:
            headers["cookie"] = f"SessionID={cookie}"
        if token:
            headers["__requestverificationtoken"] = token
        if method == "POST":
            body = f'<?xml version="1.0" encoding="UTF-8"?><request>{body}</request>'
        reply = self.api.handle(Request(method, "/api/" + path, headers, body.encode()))
        if reply.afterwards:
            reply.afterwards()
        return reply

    def text(self, reply, tag):
        return reply.body.decode().partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]

    def header(self, reply, name):
        return dict(reply.headers).get(name)

    def handshake(self):
        reply = self.call("GET", "webserver/SesTokInfo")
        return self.text(reply, "SesInfo").removeprefix("SessionID="), self.text(reply, "TokInfo")

    def cookie_of(self, reply):
        return self.header(reply, "Set-Cookie").partition("=")[2].partition(";")[0]

    SWITCH = "<dataswitch>0</dataswitch>"

    def test_a_token_is_good_for_one_post(self):
        self.make()
        cookie, token = self.handshake()
        first = self.call("POST", "dialup/mobile-dataswitch", self.SWITCH, cookie, token)
        self.assertEqual(first.outcome, "OK")
        self.assertEqual(self.device.done, [("set_data_switch", False)])
        self.assertEqual(self.call("POST", "dialup/mobile-dataswitch", self.SWITCH, cookie, token).outcome, "125001")
        following = self.header(first, "__RequestVerificationToken")
        self.assertEqual(self.call("POST", "dialup/mobile-dataswitch", self.SWITCH, cookie, following).outcome, "OK")

    def test_a_session_is_needed_and_ends(self):
        self.make(firmware="bare")
        self.assertEqual(self.call("GET", "monitoring/status").outcome, "125002")
        self.assertEqual(self.call("GET", "device/basic_information").outcome, "OK")
        cookie, token = self.handshake()
        self.assertEqual(self.call("GET", "monitoring/status", cookie=cookie).outcome, "OK")
        self.assertEqual(self.call("POST", "net/reconnect", "", cookie, "0" * 32).outcome, "125003")
        self.now += 601
        self.assertEqual(self.call("GET", "monitoring/status", cookie=cookie).outcome, "125002")

    def test_firmwares_hand_out_sessions_each_in_its_way(self):
        self.make(firmware="webui17")
        self.assertEqual(self.call("GET", "webserver/SesTokInfo").outcome, "100002")
        page = self.api.handle(Request("GET", "/", {}, b""))
        self.assertEqual(page.body.count(b"csrf_token"), 2)
        self.assertTrue(self.cookie_of(page))
        self.make(firmware="token")
        page = self.api.handle(Request("GET", "/", {}, b""))
        self.assertNotIn(b"csrf_token", page.body)
        cookie = self.cookie_of(page)
        token = self.text(self.call("GET", "webserver/token", cookie=cookie), "token")
        self.assertEqual(len(token), 64)
        self.assertEqual(self.call("POST", "dialup/mobile-dataswitch", self.SWITCH, cookie, token[-32:]).outcome, "OK")
        self.assertEqual(self.call("GET", "no/such", cookie=cookie).status, 302)
        self.make(firmware="old")
        self.assertEqual(self.call("GET", "webserver/token").outcome, "100002")
        self.assertEqual(self.call("POST", "dialup/mobile-dataswitch", self.SWITCH).outcome, "OK")
        self.assertEqual(self.call("GET", "no/such").outcome, "100002")

    def test_elements_must_be_there_and_in_order(self):
        mode, band, lte = "<NetworkMode>03</NetworkMode>", "<NetworkBand>3FFFFFFF</NetworkBand>", "<LTEBand>7FFF</LTEBand>"
        for body, outcome in ((mode + band + lte, "OK"), (band + mode + lte, "100005"), (mode + band, "100005"),
                              (mode + band + lte + lte, "100005"), (mode.replace("03", "9") + band + lte, "100006"),
                              ("", "100005"), ("<NetworkMode>", "100005")):
            self.make(firmware="old")
            self.assertEqual(self.call("POST", "net/net-mode", body).outcome, outcome, body)
        inner = "".join(f"<{tag}>1</{tag}>" for tag in HilinkApi.PROFILE)
        swapped = "".join(f"<{tag}>1</{tag}>" for tag in reversed(HilinkApi.PROFILE))
        for profile, outcome in ((inner, "OK"), (swapped, "100005"), ("", "100005")):
            self.make(firmware="old")
            self.assertEqual(self.call("POST", "dialup/profiles", "<Delete>0</Delete><SetDefault>1</SetDefault>"
                                       f"<Modify>2</Modify><Profile>{profile}</Profile>").outcome, outcome)

    def test_login_by_sha256(self):
        self.make(password="secret", login="sha256")
        cookie, token = self.handshake()
        self.assertEqual(self.call("GET", "dialup/mobile-dataswitch", cookie=cookie).outcome, "100003")
        self.assertEqual(self.text(self.call("GET", "user/state-login", cookie=cookie), "State"), "-1")
        password = hilink_auth.sha256_password("admin", "secret", token)
        reply = self.call("POST", "user/login", f"<Username>admin</Username><Password>{password}</Password>"
                          "<password_type>4</password_type>", cookie, token)
        self.assertEqual(reply.outcome, "OK")
        renewed = self.cookie_of(reply)
        self.assertNotEqual(renewed, cookie)
        self.assertEqual(self.call("GET", "dialup/mobile-dataswitch", cookie=cookie).outcome, "125002")
        self.assertEqual(self.call("GET", "dialup/mobile-dataswitch", cookie=renewed).outcome, "OK")
        for name in ("one", "two"):
            self.assertEqual(self.call("POST", "dialup/mobile-dataswitch", self.SWITCH, renewed,
                                       self.header(reply, "__RequestVerificationToken" + name)).outcome, "OK")

    def test_login_by_scram_with_a_pool_of_tokens(self):
        self.make(password="secret", login="scram", firmware="webui17")
        page = self.api.handle(Request("GET", "/", {}, b""))
        cookie = self.cookie_of(page)
        token = page.body.decode().partition('content="')[2][:32]
        nonce = "a" * 64
        reply = self.call("POST", "user/challenge_login", f"<username>admin</username><firstnonce>{nonce}</firstnonce>"
                          "<mode>1</mode>", cookie, token)
        salt, server = self.text(reply, "salt"), self.text(reply, "servernonce")
        self.assertTrue(server.startswith(nonce))
        proof = hilink_auth.scram_proof("secret", nonce, server, salt, int(self.text(reply, "iterations")))
        reply = self.call("POST", "user/authentication_login", f"<clientproof>{proof}</clientproof>"
                          f"<finalnonce>{server}</finalnonce>", cookie, self.header(reply, "__RequestVerificationToken"))
        self.assertEqual(reply.outcome, "OK")
        pool = self.header(reply, "__RequestVerificationToken").split("#")
        self.assertEqual(len(pool), 30)
        self.assertEqual(self.call("POST", "dialup/mobile-dataswitch", self.SWITCH, self.cookie_of(reply),
                                   pool[17]).outcome, "OK")

    def test_three_wrong_passwords_close_the_login(self):
        self.make(password="secret", login="base64")
        cookie, token = self.handshake()

        def attempt(password):
            nonlocal token
            reply = self.call("POST", "user/login", f"<Username>admin</Username><Password>{hilink_auth.plain_password(password)}"
                              "</Password><password_type>0</password_type>", cookie, token)
            token = self.header(reply, "__RequestVerificationToken")
            return reply.outcome
        self.assertEqual([attempt("no") for _ in range(3)], ["108006", "108006", "108007"])
        self.assertEqual(attempt("secret"), "108007")
        self.assertEqual(self.text(self.call("GET", "user/state-login", cookie=cookie), "remainwaittime"), "1")
        self.now += 61
        reply = self.call("POST", "user/login", f"<Username>admin</Username><Password>{hilink_auth.plain_password('secret')}"
                          "</Password><password_type>0</password_type>", cookie, token)
        self.assertEqual(reply.outcome, "OK")

    def test_faults_of_handshake_and_login(self):
        self.make(password="secret")
        cookie, token = self.handshake()
        self.device.faults["api_sessions"] = True
        self.assertEqual(self.call("POST", "user/login", "", cookie, token).outcome, "108003")
        for firmware in hilink_auth.FIRMWARE:
            self.make(firmware=firmware)
            self.device.faults["api_no_token"] = True
            self.assertEqual(self.call("GET", "webserver/token").outcome, "100002")
            self.assertEqual(self.call("GET", "webserver/SesTokInfo").outcome, "100002")
            self.assertEqual(self.api.handle(Request("GET", "/", {}, b"")).headers, [])

    def test_a_stick_without_password_takes_no_login(self):
        self.make()
        cookie, token = self.handshake()
        self.assertEqual(self.text(self.call("GET", "user/hilink_login"), "hilink_login"), "0")
        self.assertEqual(self.call("POST", "user/login", "", cookie, token).outcome, "100006")

    def test_encrypted_bodies(self):
        from hilink_rsa import generated_key
        for oaep in (False, True):
            self.make(firmware="old", enc=True, oaep=oaep)
            self.assertEqual(self.call("POST", "dialup/mobile-dataswitch", self.SWITCH).outcome, "100005")
            key = self.call("GET", "webserver/publickey")
            n, e = int(self.text(key, "encpubkeyn"), 16), int(self.text(key, "encpubkeye"), 16)
            self.assertEqual((n, e), (generated_key().n, 65537))
            text = base64.b64encode(b"<request>" + self.SWITCH.encode() + b"</request>" + b" " * 300)
            size = 214 if oaep else 245
            body = b"".join(rsa_block(text[at:at + size], n, e, oaep) for at in range(0, len(text), size)).hex()
            for sent, outcome in ((body, "OK"), (body[:-2], "100005"), (body[:-2] + "00", "100005"), ("", "100005")):
                reply = self.api.handle(Request("POST", "/api/dialup/mobile-dataswitch",
                                                {"encrypt_transmit": "encrypt_transmit"}, sent.encode()))
                self.assertEqual(reply.outcome, outcome)

    def test_lies_change_nothing(self):
        self.make(firmware="old")
        self.device.faults["api_lies"] = True
        self.assertEqual(self.call("POST", "device/control", "<Control>1</Control>").outcome, "OK")
        self.assertEqual(self.device.done, [])

    def test_readings_have_their_fields(self):
        self.make(firmware="old")
        status = self.call("GET", "monitoring/status")
        for tag, value in (("ConnectionStatus", "902"), ("SimStatus", "1"), ("ServiceStatus", "2"),
                           ("CurrentNetworkType", "19"), ("CurrentNetworkTypeEx", "101")):
            self.assertEqual(self.text(status, tag), value)
        for path in ("device/information", "device/signal", "dialup/profiles", "net/net-mode", "net/current-plmn",
                     "pin/status", "dhcp/settings", "monitoring/check-notifications", "global/module-switch",
                     "dialup/connection", "net/register"):
            self.assertEqual(self.call("GET", path).outcome, "OK", path)


class Dns(unittest.TestCase):
    def ask(self, zone, name, type=dns.A, udp=True):
        packet = struct.pack("!HHHHHH", 7, dns.RD, 1, 0, 0, 0) + dns.encode_name(name) + struct.pack("!HH", type, 1)
        question = dns.parse_question(packet)
        reply = dns.build_answer(question, zone.answer(question.name, question.type), udp)
        id, flags, _, answers = struct.unpack("!HHHH", reply[:8])
        self.assertEqual(id, 7)
        return flags, answers

    def test_answers(self):
        zone = dns.Zone()
        for name, type, code, answers in (
                ("download.test", dns.A, dns.NOERROR, 1), ("DownLoad.test", dns.A, dns.NOERROR, 1),
                ("nx.test", dns.A, dns.NXDOMAIN, 0), ("servfail.test", dns.A, dns.SERVFAIL, 0),
                ("v6only.test", dns.A, dns.NOERROR, 0), ("v6only.test", dns.AAAA, dns.NOERROR, 1),
                ("cname.test", dns.A, dns.NOERROR, 4), ("loopcname.test", dns.A, dns.NOERROR, 2),
                ("mixed.test", dns.A, dns.NOERROR, 2), ("host105.test", dns.A, dns.NOERROR, 1)):
            flags, count = self.ask(zone, name, type)
            self.assertEqual((flags & 15, count), (code, answers), name)

    def test_what_is_too_long_for_udp_is_cut(self):
        zone = dns.Zone()
        for name in ("many.test", "tc.test"):
            self.assertTrue(self.ask(zone, name)[0] & dns.TC)
            flags, count = self.ask(zone, name, udp=False)
            self.assertFalse(flags & dns.TC)
            self.assertGreater(count, 0)

    def test_rebinding_alternates(self):
        zone = dns.Zone()
        values = [zone.answer("rebind.test", dns.A).records[0][3] for _ in range(4)]
        self.assertEqual(values, ["203.0.113.80", "169.254.169.254"] * 2)

    def test_nonsense_is_refused(self):
        good = struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 0) + dns.encode_name("a.test") + struct.pack("!HH", 1, 1)
        for cut in range(len(good)):
            self.assertRaises(dns.DnsFormatError, dns.parse_question, good[:cut])
        loop = good[:12] + b"\xc0\x0c\0\1\0\1"
        self.assertRaises(dns.DnsFormatError, dns.parse_question, loop)


class Dhcp(unittest.TestCase):
    LEASE = dhcp.Lease("192.168.11.100", "255.255.255.0", "192.168.11.1", 86400)

    def message(self, kind, wanted=None, client="0.0.0.0", server=None):
        packet = struct.pack("!BBBB4sHH4s4s4s4s16s", 1, 1, 6, 0, b"abcd", 0, 0x8000, socket.inet_aton(client),
                             bytes(4), bytes(4), bytes(4), b"\x0c\x5b\x8f\1\2\3" + bytes(10)) + bytes(192) + dhcp.MAGIC
        packet += bytes([53, 1, kind])
        if wanted:
            packet += bytes([50, 4]) + socket.inet_aton(wanted)
        if server:
            packet += bytes([54, 4]) + socket.inet_aton(server)
        return dhcp.parse(packet + b"\xff")

    def test_leases_its_one_address(self):
        kind, packet = dhcp.answer(self.message(dhcp.DISCOVER), self.LEASE)
        self.assertEqual((kind, packet[16:20], packet[4:8]), (dhcp.OFFER, socket.inet_aton("192.168.11.100"), b"abcd"))
        self.assertEqual(dhcp.answer(self.message(dhcp.REQUEST, "192.168.11.100", server="192.168.11.1"), self.LEASE)[0],
                         dhcp.ACK)
        self.assertEqual(dhcp.answer(self.message(dhcp.REQUEST, client="192.168.11.100"), self.LEASE)[0], dhcp.ACK)
        self.assertEqual(dhcp.answer(self.message(dhcp.REQUEST, "192.168.8.100"), self.LEASE)[0], dhcp.NAK)
        self.assertIsNone(dhcp.answer(self.message(dhcp.REQUEST, "192.168.11.100", server="10.0.0.1"), self.LEASE))
        self.assertIsNone(dhcp.answer(self.message(dhcp.RELEASE), self.LEASE))

    def test_nonsense_is_no_message(self):
        for packet in (b"", bytes(300), b"\1" + bytes(235) + dhcp.MAGIC + b"\x35\x09\1"):
            self.assertIsNone(dhcp.parse(packet))


class Rest(unittest.TestCase):
    def test_the_pattern_can_be_checked_anywhere(self):
        body = internet.pattern(0, 200000)
        self.assertEqual(body, bytes((i ^ i >> 8 ^ i >> 16) & 255 for i in range(200000)))
        self.assertEqual(internet.pattern(65530, 20), body[65530:65550])

    def test_fault_arguments(self):
        check = lambda *each: faults.check(faults.MODEM, *each)
        self.assertEqual(check("api-slow", "2.5"), ("api_slow", 2.5))
        self.assertEqual(check("wan_blackhole", None), ("wan_blackhole", "reconnect"))
        self.assertEqual(check("wan_blackhole", "until=reboot"), ("wan_blackhole", "reboot"))
        self.assertEqual(check("api_error", "100004:/api/net/reconnect:2")[1],
                         {"code": 100004, "path": "net/reconnect", "times": 2})
        for bad in (("api_slo", "1"), ("api_slow", None), ("api_slow", "x"), ("no_sim", "1"), ("wan_blackhole", "until=x"),
                    ("dhcp_change", "192.168.0.0/30"), ("api_error", "busy")):
            self.assertRaises(SimError, check, *bad)

    def test_the_sniffer_leaves_out_what_an_interface_says_by_itself(self):
        solicit = struct.pack("!IHBB", 0x60000000, 8, 58, 255) + bytes(32) + bytes([135]) + bytes(7)
        report = struct.pack("!IHBB", 0x60000000, 16, 0, 1) + bytes(32) + bytes([58, 0, 5, 2, 0, 0, 1, 0, 143]) + bytes(7)
        self.assertIsNone(uplink.describe(uplink.ETH_P_IPV6, solicit))
        self.assertIsNone(uplink.describe(uplink.ETH_P_IPV6, report))
        self.assertIsNone(uplink.describe(0x0806, bytes(28)))
        segment = bytes([0x45, 0, 0, 40]) + bytes(5) + b"\6" + bytes(2) + bytes([192, 0, 2, 10, 203, 0, 113, 80]) + \
            struct.pack("!HH", 4000, 80) + bytes(16)
        self.assertEqual(uplink.describe(uplink.ETH_P_IP, segment), {
            "src": "192.0.2.10", "dst": "203.0.113.80", "proto": "tcp", "sport": 4000, "dport": 80, "length": 40})


if __name__ == "__main__":
    unittest.main()
