"""The modem's HTTP API. Rules of the real one: XML both ways, errors under HTTP 200, sessions and single-use
tokens, POST elements in a fixed order, and one request at a time."""
import asyncio
import http
import math
import secrets
import socket
import struct
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import hilink_auth
from hilink_auth import FIRMWARE, Challenge, Lockout, Sessions
from hilink_rsa import Undecipherable, generated_key
from modem import Phase, Profile

MAX_HEAD, MAX_BODY = 16 * 1024, 64 * 1024
IDLE_TIMEOUT = 30.0
HUGE_BODY = 100 * 1024 * 1024

UNKNOWN, UNSUPPORTED, NO_RIGHTS, BUSY, FORMAT, PARAMETER = 100001, 100002, 100003, 100004, 100005, 100006
SESSION_WRONG = 125002

# Answered without a session, and without a login on sticks that have one.
NO_SESSION = {"device/basic_information", "user/hilink_login", "user/state-login"}
NO_LOGIN = NO_SESSION | {
    "monitoring/status", "monitoring/check-notifications", "monitoring/traffic-statistics", "device/signal",
    "global/module-switch", "net/current-plmn", "pin/status", "webserver/publickey",
    "user/login", "user/challenge_login", "user/authentication_login", "user/logout",
}


# What sticks with enc=1 take only encrypted.
ENCRYPTED = {"dialup/mobile-dataswitch", "dialup/profiles", "net/reconnect", "pin/operate"}


class ApiError(Exception):
    def __init__(self, code, extra=()):
        super().__init__(code)
        self.code = code
        self.extra = extra


class CutConnection(Exception):
    """Nothing more is said on this connection."""


@dataclass
class Request:
    method: str
    path: str
    headers: dict
    body: bytes

    def cookie(self):
        for part in self.headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == "SessionID":
                return value
        return None


@dataclass
class Reply:
    body: bytes = b""
    status: int = 200
    content_type: str = "text/xml"
    headers: list = field(default_factory=list)
    outcome: str = "OK"             # for the log: OK, an error code, or what kind of nonsense was sent
    afterwards: object = None       # called once the answer is out: a reboot takes the API with it


def xml(root, values):
    def render(value):
        if isinstance(value, list):
            return "".join(f"<{tag}>{render(inner)}</{tag}>" for tag, inner in value)
        return escape(str(value))
    return f'<?xml version="1.0" encoding="UTF-8"?><{root}>{render(values)}</{root}>'.encode()


def error_xml(code, extra=()):
    return xml("error", [("code", code), ("message", ""), *extra])


def parse_request(body):
    """[(tag, text or list of children)] of a <request>; anything else is a format error."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise ApiError(FORMAT)
    try:
        root = ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError, LookupError):
        raise ApiError(FORMAT) from None
    if root.tag != "request":
        raise ApiError(FORMAT)

    def children(element):
        return [(child.tag, children(child) if len(child) else (child.text or "").strip()) for child in element]
    return children(root)


def in_order(elements, expected):
    """The values by name; elements must be exactly the expected ones, in their order."""
    if [tag for tag, _ in elements] != list(expected):
        raise ApiError(FORMAT)
    return dict(elements)


def one_of(value, allowed):
    if value not in allowed:
        raise ApiError(PARAMETER)
    return value


class HilinkApi:
    """Requests in, replies out; what a command changes, it changes through the device."""

    def __init__(self, device, clock=time.monotonic, random_hex=lambda length: secrets.token_hex(length // 2)):
        self._device = device
        self._modem = device.modem
        self._options = device.modem.options
        self.firmware = FIRMWARE[self._options.firmware]
        self._random_hex = random_hex
        self._clock = clock
        self.sessions = Sessions(random_hex, clock)
        self.lockout = Lockout(self._options.lock_time, clock)
        self.logins = 0
        self._get = {
            "webserver/SesTokInfo": None, "webserver/token": None,      # handled before: they need no session
            "webserver/publickey": self._public_key,
            "user/state-login": self._state_login, "user/hilink_login": self._hilink_login,
            "device/information": self._information, "device/basic_information": self._basic_information,
            "device/signal": self._signal, "monitoring/status": self._status,
            "monitoring/traffic-statistics": self._traffic, "monitoring/month_statistics": self._month,
            "monitoring/start_date": lambda: [("StartDay", 1), ("DataLimit", "0MB"), ("DataLimitAwoke", 0),
                                              ("MonthThreshold", 90), ("SetMonthData", 0)],
            "monitoring/check-notifications": lambda: [("UnreadMessage", 0), ("SmsStorageFull", 0),
                                                       ("OnlineUpdateStatus", 10)],
            "dialup/mobile-dataswitch": lambda: [("dataswitch", int(self._modem.data_switch))],
            "dialup/connection": self._connection, "dialup/profiles": self._profiles,
            "net/net-mode": self._net_mode, "net/current-plmn": self._plmn,
            "net/register": lambda: [("Mode", 0), ("Plmn", ""), ("Rat", "")],
            "net/net-mode-list": lambda: [("AccessList", [("Access", mode) for mode in ("00", "01", "02", "03")]),
                                          ("LTEBandList", [("LTEBand", [("Name", "All bands"),
                                                                        ("Value", "7fffffffffffffff")])])],
            "pin/status": self._pin_status, "dhcp/settings": self._dhcp_settings,
            "pin/simlock": lambda: [("SimLockEnable", 0), ("SimLockRemainTimes", "")],
            "sms/sms-count": lambda: [("LocalUnread", 0), ("LocalInbox", 0), ("LocalMax", 500)],
            "global/module-switch": lambda: [("ussd_enabled", 1), ("sms_enabled", 1), ("wifi_enabled", 0),
                                             ("statistic_enabled", 1), ("net_mode_enabled", 1),
                                             ("encrypt_enabled", int(self._options.enc))],
        }
        self._post = {
            "user/login": self._login, "user/logout": self._logout,
            "user/challenge_login": self._challenge_login, "user/authentication_login": self._authentication_login,
            "dialup/mobile-dataswitch": self._set_data_switch, "dialup/dial": self._dial,
            "dialup/connection": self._set_connection, "dialup/profiles": self._set_profiles,
            "net/reconnect": self._reconnect, "net/net-mode": self._set_net_mode,
            "net/register": lambda elements: in_order(elements, ("Mode", "Plmn", "Rat")) and None,
            "device/control": self._control, "monitoring/clear-traffic": self._clear_traffic,
            "dhcp/settings": self._set_dhcp_settings,
        }

    def restart(self):
        self.sessions.clear()

    def handle(self, request):
        path = request.path.partition("?")[0]
        if not path.startswith("/api/"):
            return self._page(request, path)
        path = path.removeprefix("/api/").rstrip("/")
        try:
            return self._api(request, path)
        except ApiError as error:
            return Reply(error_xml(error.code, error.extra), content_type=self.firmware.content_type,
                         outcome=str(error.code))

    # --- sessions -------------------------------------------------------------------------------------------

    def _page(self, request, path):
        if path not in ("/", "/html/home.html", "/html/index.html"):
            return self._to_home()
        head = ""
        reply = Reply(content_type="text/html", outcome="page")
        if self.firmware.home_cookie and not self._device.fault("api_no_token"):
            session = self.sessions.find(request.cookie())
            if session is None:
                session = self.sessions.open()
                reply.headers.append(("Set-Cookie", f"SessionID={session.id}; path=/; HttpOnly;"))
            for token in self.sessions.issue(session, self.firmware.home_tokens):
                head += f'<meta name="csrf_token" content="{token}">\n'
        reply.body = f"<!DOCTYPE html>\n<html><head>\n{head}<title>HiLink</title></head><body></body></html>\n".encode()
        return reply

    @staticmethod
    def _to_home():
        return Reply(status=302, content_type="text/html", headers=[("Location", "/html/home.html")], outcome="redirect")

    def _session_info(self, request):
        session = self.sessions.find(request.cookie()) or self.sessions.open()
        token, = self.sessions.issue(session)
        prefix = "SessionID=" if self.firmware.session_info == "prefixed" else ""
        return self._answer([("SesInfo", prefix + session.id), ("TokInfo", token)])

    def _webserver_token(self, request):
        session, headers = self.sessions.find(request.cookie()), []
        if session is None:
            session = self.sessions.open()
            headers.append(("Set-Cookie", f"SessionID={session.id}; path=/; HttpOnly;"))
        token, = self.sessions.issue(session)
        # Twice the length of a token: the last 32 characters are the one to send.
        reply = self._answer([("token", self._random_hex(32) + token)])
        reply.headers += headers
        return reply

    def _answer(self, values):
        return Reply(xml("response", values), content_type=self.firmware.content_type)

    def _api(self, request, path):
        handshake = not self._device.fault("api_no_token")
        if path == "webserver/SesTokInfo" and request.method == "GET":
            if not (self.firmware.session_info and handshake):
                raise ApiError(UNSUPPORTED)
            return self._session_info(request)
        if path == "webserver/token" and request.method == "GET":
            if not (self.firmware.token_path and handshake):
                raise ApiError(UNSUPPORTED)
            return self._webserver_token(request)
        table = {"GET": self._get, "POST": self._post}.get(request.method, {})
        session = self.sessions.find(request.cookie())
        if self.firmware.needs_token and session is None and not (request.method == "GET" and path in NO_SESSION):
            raise ApiError(SESSION_WRONG)
        reply = None
        if request.method == "POST" and self.firmware.needs_token:
            token = request.headers.get("__requestverificationtoken", "")
            if not self.sessions.spend(session, token):
                raise ApiError(self.firmware.wrong_token)
        try:
            if path not in table:
                if self.firmware.unknown_redirects:
                    return self._to_home()
                raise ApiError(UNSUPPORTED)
            if self._login_missing(session) and path not in NO_LOGIN:
                raise ApiError(NO_RIGHTS)
            if request.method == "GET":
                return self._answer(table[path]())
            reply = self._command(request, path, session)
        except ApiError as error:
            reply = Reply(error_xml(error.code, error.extra), content_type=self.firmware.content_type,
                          outcome=str(error.code))
        if request.method == "POST" and self.firmware.needs_token and not any(
                name.lower().startswith("__requestverificationtoken") for name, _ in reply.headers):
            reply.headers.append(("__RequestVerificationToken", self.sessions.issue(session)[0]))
        return reply

    def _login_missing(self, session):
        return self._options.login != "none" and self.firmware.has_login and not (session and session.logged_in)

    def _plain_body(self, request, path):
        if "encrypt_transmit" not in request.headers:
            if self._options.enc and path in ENCRYPTED:
                raise ApiError(FORMAT)
            return request.body
        if not self._options.enc:
            raise ApiError(FORMAT)
        try:
            return generated_key().decrypt(request.body, self._options.oaep)
        except Undecipherable:
            raise ApiError(FORMAT) from None

    def _public_key(self):
        if not self._options.enc:
            raise ApiError(UNSUPPORTED)
        key = generated_key()
        return [("encpubkeyn", f"{key.n:x}"), ("encpubkeye", f"{key.e:06x}")]

    def _command(self, request, path, session):
        elements = parse_request(self._plain_body(request, path))
        handler = self._post[path]
        if path.startswith("user/"):
            result = handler(elements, session, request)
            return result if isinstance(result, Reply) else self._answer(result or "OK")
        if self._device.fault("api_lies"):
            return self._answer("OK")
        # A command changes nothing before its answer is out: some of them end the connection.
        reply = self._answer("OK")
        reply.afterwards = handler(elements)
        return reply

    # --- login ----------------------------------------------------------------------------------------------

    def _hilink_login(self):
        if not self.firmware.has_login:
            raise ApiError(UNSUPPORTED)
        return [("hilink_login", int(self._options.login != "none"))]

    def _state_login(self):
        if not self.firmware.has_login:
            raise ApiError(UNSUPPORTED)
        logged_in = any(session.logged_in for session in self.sessions._sessions.values())
        remaining = self.lockout.remaining()
        values = [("State", 0 if logged_in else -1), ("Username", self._options.username if logged_in else ""),
                  ("password_type", {"base64": 0, "base64_3": 3}.get(self._options.login, 4))]
        if self._options.login == "scram":
            values += [("extern_password_type", 1)]
        if self._options.enc:
            values += [("rsapadingtype", int(self._options.oaep))]
        return values + [("firstlogin", 0), ("lockstatus", int(remaining > 0)),
                         ("remainwaittime", math.ceil(remaining / 60))]

    def _may_log_in(self):
        if self._options.login == "none" or not self.firmware.has_login:
            raise ApiError(PARAMETER)
        if self._device.fault("api_sessions"):
            raise ApiError(108003)
        if remaining := self.lockout.remaining():
            raise ApiError(108007, [("waittime", math.ceil(remaining / 60))])

    def _login(self, elements, session, request):
        self._may_log_in()
        if self._options.login == "scram":
            raise ApiError(UNSUPPORTED)
        values = in_order(elements, ("Username", "Password", "password_type"))
        token = request.headers.get("__requestverificationtoken", "")
        if self._options.login == "sha256":
            expected = hilink_auth.sha256_password(values["Username"], self._options.password, token)
        else:
            expected = hilink_auth.plain_password(self._options.password)
        good = values["Username"] == self._options.username and values["Password"] == expected
        return self._logged_in(session, "OK") if good else self._wrong_password()

    def _challenge_login(self, elements, session, _request):
        self._may_log_in()
        if self._options.login != "scram":
            raise ApiError(UNSUPPORTED)
        values = in_order(elements, ("username", "firstnonce", "mode"))
        if len(values["firstnonce"]) != 64 or values["mode"] != "1":
            raise ApiError(PARAMETER)
        if values["username"] != self._options.username:
            return self._wrong_password()
        session.challenge = Challenge(values["firstnonce"], values["firstnonce"] + self._random_hex(32),
                                      self._random_hex(64))
        return [("salt", session.challenge.salt), ("modeselected", 1), ("servernonce", session.challenge.server_nonce),
                ("newType", 0), ("iterations", hilink_auth.SCRAM_ITERATIONS)]

    def _authentication_login(self, elements, session, _request):
        self._may_log_in()
        values = in_order(elements, ("clientproof", "finalnonce"))
        challenge, session.challenge = session.challenge, None
        if challenge is None or values["finalnonce"] != challenge.server_nonce:
            raise ApiError(PARAMETER)
        inputs = (self._options.password, challenge.first_nonce, challenge.server_nonce, challenge.salt,
                  hilink_auth.SCRAM_ITERATIONS)
        if values["clientproof"].lower() != hilink_auth.scram_proof(*inputs):
            return self._wrong_password()
        answer = [("serversignature", hilink_auth.scram_server_signature(*inputs))]
        if self._options.enc:
            key = generated_key()
            answer += [("rsapubkeysignature", self._random_hex(64)), ("rsan", f"{key.n:x}"), ("rsae", f"{key.e:06x}")]
        return self._logged_in(session, answer)

    def _wrong_password(self):
        code = self.lockout.failed()
        extra = [("waittime", math.ceil(self.lockout.remaining() / 60))] if code == 108007 else [
            ("count", self.lockout.tries_left())]
        raise ApiError(code, extra)

    def _logged_in(self, session, values):
        self.lockout.succeeded()
        self.logins += 1
        self.sessions.renew(session)
        session.logged_in = True
        reply = self._answer(values)
        reply.headers.append(("Set-Cookie", f"SessionID={session.id}; path=/; HttpOnly;"))
        name = "__RequestVerificationToken"
        if self.firmware.after_login == "pair":
            one, two = self.sessions.issue(session, 2)
            reply.headers += [(name + "one", one), (name + "two", two)]
        else:
            count = 30 if self.firmware.after_login == "pool" else 1
            reply.headers.append((name, "#".join(self.sessions.issue(session, count))))
        return reply

    def _logout(self, elements, session, _request):
        if in_order(elements, ("Logout",))["Logout"] != "1":
            raise ApiError(PARAMETER)
        if session:
            session.logged_in = False

    # --- readings -------------------------------------------------------------------------------------------

    def _imei(self):
        return f"8612340000{self._options.id:05d}"

    def _basic_information(self):
        return [("productfamily", "LTE"), ("classify", "hilink"), ("multimode", 0), ("restore_default_status", 0),
                ("sim_save_pin_enable", 0), ("devicename", "E8372h-sim"),
                ("SoftwareVersion", f"21.333.01.00.{self._options.firmware}"), ("WebUIVersion", "17.100.18.03.00")]

    def _information(self):
        return [("DeviceName", "E8372h-sim"), ("SerialNumber", f"SIM{self._options.id:013d}"), ("Imei", self._imei()),
                ("Imsi", f"00101{self._options.id:010d}" if self._modem.sim == "ready" else ""),
                ("Iccid", f"8900100{self._options.id:013d}" if self._modem.sim != "absent" else ""), ("Msisdn", ""),
                ("HardwareVersion", "CL1E8372HM"), ("SoftwareVersion", f"21.333.01.00.{self._options.firmware}"),
                ("WebUIVersion", "17.100.18.03.00"), ("MacAddress1", self._options.mac.upper()), ("MacAddress2", ""),
                ("WanIPAddress", self._modem.public_ip or ""), ("WanIPv6Address", ""), ("ProductFamily", "LTE"),
                ("Classify", "hilink"), ("supportmode", "LTE|WCDMA|GSM"),
                ("workmode", {0: "NO SERVICE", 3: "GSM", 9: "WCDMA", 19: "LTE"}[self._modem.network_type()[0]])]

    def _signal(self):
        mode = {0: "", 3: 0, 9: 2, 19: 7}[self._modem.network_type()[0]]
        if mode == "":
            return [(tag, "") for tag in ("pci", "sc", "cell_id", "rsrq", "rsrp", "rssi", "sinr", "rscp", "ecio",
                                          "mode", "band", "plmn")]
        return [("pci", 100 + self._options.id), ("sc", ""), ("cell_id", 20000 + self._options.id), ("rsrq", "-9.0dB"),
                ("rsrp", f"-{90 + self._options.id % 20}dBm"), ("rssi", "-65dBm"), ("sinr", "12dB"), ("rscp", ""),
                ("ecio", ""), ("mode", mode), ("band", 3), ("plmn", "00101")]

    def _status(self):
        modem = self._modem
        kind, kind_ex = modem.network_type()
        connected = modem.phase is Phase.CONNECTED
        return [("ConnectionStatus", modem.connection_status()), ("WifiConnectionStatus", ""), ("SignalStrength", ""),
                ("SignalIcon", 4 if modem.registered() else 0), ("CurrentNetworkType", kind),
                ("CurrentServiceDomain", 3 if modem.registered() else 0), ("RoamingStatus", 0), ("BatteryStatus", ""),
                ("BatteryLevel", ""), ("BatteryPercent", ""), ("simlockStatus", 0),
                ("WanIPAddress", modem.public_ip or ""), ("WanIPv6Address", ""),
                ("PrimaryDns", "203.0.113.53" if connected else ""), ("SecondaryDns", ""), ("PrimaryIPv6Dns", ""),
                ("SecondaryIPv6Dns", ""), ("CurrentWifiUser", ""), ("TotalWifiUser", ""), ("currenttotalwifiuser", 0),
                ("ServiceStatus", 2 if modem.registered() else 0),
                ("SimStatus", {"ready": 1, "absent": 255, "pin": 0}[modem.sim]), ("WifiStatus", ""),
                ("CurrentNetworkTypeEx", kind_ex), ("maxsignal", 5), ("wifiindooronly", 0), ("classify", "hilink")]

    def _traffic(self):
        traffic = self._device.traffic()
        return [("CurrentConnectTime", traffic.connect_time), ("CurrentUpload", traffic.upload),
                ("CurrentDownload", traffic.download), ("CurrentDownloadRate", traffic.download_rate),
                ("CurrentUploadRate", traffic.upload_rate), ("TotalUpload", traffic.total_upload),
                ("TotalDownload", traffic.total_download), ("TotalConnectTime", traffic.total_connect_time),
                ("showtraffic", 1)]

    def _month(self):
        traffic = self._device.traffic()
        return [("CurrentMonthDownload", traffic.total_download), ("CurrentMonthUpload", traffic.total_upload),
                ("MonthDuration", traffic.total_connect_time), ("MonthLastClearTime", time.strftime("%Y-%-m-1"))]

    def _connection(self):
        modem = self._modem
        return [("RoamAutoConnectEnable", modem.roam_auto_connect), ("MaxIdelTime", modem.max_idle_time),
                ("ConnectMode", modem.connect_mode), ("MTU", modem.mtu), ("auto_dial_switch", 1), ("pdp_always_on", 0)]

    def _profiles(self):
        return [("CurrentProfile", self._modem.current_profile), ("Profiles", [("Profile", [
            ("Index", profile.index), ("IsValid", 1), ("Name", profile.name), ("ApnIsStatic", 1),
            ("ApnName", profile.apn), ("DialupNum", profile.number), ("Username", profile.username),
            ("Password", profile.password), ("AuthMode", profile.auth_mode), ("IpIsStatic", 0), ("IpAddress", ""),
            ("DnsIsStatic", 0), ("PrimaryDns", ""), ("SecondaryDns", ""), ("ReadOnly", profile.read_only),
            ("iptype", profile.ip_type)]) for profile in self._modem.profiles])]

    def _net_mode(self):
        return [("NetworkMode", self._modem.network_mode), ("NetworkBand", self._modem.network_band),
                ("LTEBand", self._modem.lte_band)]

    def _plmn(self):
        if not self._modem.registered():
            return [("State", 1), ("FullName", ""), ("ShortName", ""), ("Numeric", ""), ("Rat", "")]
        rat = {3: 0, 9: 2, 19: 7}[self._modem.network_type()[0]]
        return [("State", 0), ("FullName", "Sim Mobile"), ("ShortName", "SimMob"), ("Numeric", "00101"), ("Rat", rat)]

    def _pin_status(self):
        return [("SimState", self._modem.sim_state()), ("PinOptState", 258), ("SimPinTimes", 3), ("SimPukTimes", 10)]

    def _dhcp_settings(self):
        modem = self._modem
        return [("DnsStatus", 1), ("DhcpStartIPAddress", modem.host_address()), ("DhcpIPAddress", modem.gateway()),
                ("accessipaddress", ""), ("homeurl", "hi.link"), ("DhcpStatus", 1), ("DhcpLanNetmask", modem.netmask()),
                ("SecondaryDns", modem.gateway()), ("PrimaryDns", modem.gateway()),
                ("DhcpEndIPAddress", modem.host_address()), ("DhcpLeaseTime", self._options.lease)]

    # --- commands: check now, return what is to be done after the answer ------------------------------------

    def _set_data_switch(self, elements):
        on = one_of(in_order(elements, ("dataswitch",))["dataswitch"], ("0", "1")) == "1"
        return lambda: self._device.set_data_switch(on)

    def _dial(self, elements):
        on = one_of(in_order(elements, ("Action",))["Action"], ("0", "1")) == "1"
        return lambda: self._device.dial(on)

    def _reconnect(self, elements):
        one_of(in_order(elements, ("ReconnectAction",))["ReconnectAction"], ("1",))
        if self._modem.phase is not Phase.DISCONNECTED:
            raise ApiError(UNKNOWN)             # it dials; there is nothing to dial while connected
        return lambda: self._device.dial(True)

    def _set_net_mode(self, elements):
        values = in_order(elements, ("NetworkMode", "NetworkBand", "LTEBand"))
        one_of(values["NetworkMode"], ("00", "01", "02", "03", "0201", "0301", "0302"))
        try:
            int(values["NetworkBand"], 16), int(values["LTEBand"], 16)
        except ValueError:
            raise ApiError(PARAMETER) from None
        return lambda: self._device.set_network_mode(values["NetworkMode"], values["NetworkBand"], values["LTEBand"])

    def _set_connection(self, elements):
        values = dict(elements)
        fields = {"RoamAutoConnectEnable": "roam_auto_connect", "MaxIdelTime": "max_idle_time",
                  "ConnectMode": "connect_mode", "MTU": "mtu"}
        known = [*fields, "auto_dial_switch", "pdp_always_on"]
        if [tag for tag in known if tag in values] != [tag for tag, _ in elements] or not elements:
            raise ApiError(FORMAT)
        if not all(value.isdigit() for value in values.values()):
            raise ApiError(PARAMETER)

        def change():
            for tag, name in fields.items():
                if tag in values:
                    setattr(self._modem, name, values[tag])
        return change

    PROFILE = ("Index", "IsValid", "Name", "ApnIsStatic", "ApnName", "DialupNum", "Username", "Password", "AuthMode",
               "IpIsStatic", "IpAddress", "DnsIsStatic", "PrimaryDns", "SecondaryDns", "ReadOnly", "iptype")

    def _set_profiles(self, elements):
        values = in_order(elements, ("Delete", "SetDefault", "Modify", "Profile"))
        modify = one_of(values["Modify"], ("0", "1", "2"))
        delete, default = values["Delete"], values["SetDefault"]
        if not (delete.isdigit() and default.isdigit()):
            raise ApiError(PARAMETER)
        profile = None
        if modify != "0":
            inner = in_order(values["Profile"] if isinstance(values["Profile"], list) else [], self.PROFILE)
            if modify == "2" and not any(str(known.index) == inner["Index"] for known in self._modem.profiles):
                raise ApiError(PARAMETER)
            index = int(inner["Index"]) if modify == "2" else max(
                (known.index for known in self._modem.profiles), default=0) + 1
            profile = Profile(index, inner["Name"], inner["ApnName"], inner["DialupNum"], inner["Username"],
                              inner["Password"], inner["AuthMode"], inner["ReadOnly"], inner["iptype"])
        return lambda: self._device.change_profiles(int(delete), int(default), profile)

    def _control(self, elements):
        action = one_of(in_order(elements, ("Control",))["Control"], ("1", "2", "3", "4"))
        if action == "3":
            return None
        return {"1": self._device.reboot, "2": self._device.reboot, "4": self._device.unplug}[action]

    def _clear_traffic(self, elements):
        one_of(in_order(elements, ("ClearTraffic",))["ClearTraffic"], ("1",))
        return self._device.clear_traffic

    DHCP = ("DnsStatus", "DhcpStartIPAddress", "DhcpIPAddress", "accessipaddress", "homeurl", "DhcpStatus",
            "DhcpLanNetmask", "SecondaryDns", "PrimaryDns", "DhcpEndIPAddress", "DhcpLeaseTime")

    def _set_dhcp_settings(self, elements):
        import ipaddress
        values = in_order(elements, self.DHCP)
        try:
            network = ipaddress.IPv4Network(f"{values['DhcpIPAddress']}/{values['DhcpLanNetmask']}", strict=False)
        except ValueError:
            raise ApiError(PARAMETER) from None
        if values["DhcpIPAddress"] != str(network[1]) or network.prefixlen > 24:
            raise ApiError(PARAMETER)
        return lambda: self._device.move_lan(str(network))


class HilinkServer:
    """HTTP for one modem: connections are accepted at once, requests are answered one at a time."""

    def __init__(self, device, api, on_call):
        self._device = device
        self._api = api
        self._on_call = on_call         # what the log keeps of a call
        self._turn = asyncio.Lock()
        self._connections = {}          # task -> writer
        self._server = None
        self.requests = 0
        self._in_flight = 0
        self.max_requests = 0
        self.max_connections = 0

    def reset_marks(self):
        self.requests, self.max_requests, self.max_connections = 0, self._in_flight, len(self._connections)

    async def listen(self, listening_socket):
        self._server = await asyncio.start_server(self._serve, sock=listening_socket, limit=MAX_HEAD)

    def close(self):
        if self._server:
            self._server.close()
            self._server = None
        self.abort_connections()

    def abort_connections(self):
        for task, writer in list(self._connections.items()):
            _abort(writer)
            task.cancel()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._connections[task] = writer
        self.max_connections = max(self.max_connections, len(self._connections))
        self._end_with_client(reader, task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (CutConnection, ConnectionError, OSError, asyncio.TimeoutError, asyncio.IncompleteReadError,
                asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            del self._connections[task]
            writer.close()

    def _end_with_client(self, reader, task):
        """Nobody waits for a client that gave up on a late answer: it must not count as a request in flight."""
        def watch(original):
            def noticed(*args):
                original(*args)
                if any(self._device.fault(name) for name in ("api_hang", "api_slow", "api_drip")):
                    task.cancel()
            return noticed
        reader.feed_eof, reader.set_exception = watch(reader.feed_eof), watch(reader.set_exception)

    async def _exchange(self, reader, writer):
        """One request and its answer; True = the connection is kept for another."""
        request = await asyncio.wait_for(read_request(reader), IDLE_TIMEOUT)
        self.requests += 1
        self._in_flight += 1
        self.max_requests = max(self.max_requests, self._in_flight)
        came = time.monotonic()
        outcome = "cut"
        try:
            async with self._turn:
                reply = await self._faulty_reply(request, writer) or self._api.handle(request)
                keep = self._options_keep(request, reply)
                try:
                    await self._send(writer, reply, keep, request.method == "HEAD")
                finally:
                    if reply.afterwards:
                        reply.afterwards()
                outcome = reply.outcome
                return keep
        finally:
            self._in_flight -= 1
            self._on_call(method=request.method, path=request.path, body=request.body.decode("utf-8", "replace")[:2000],
                          answered=outcome, took_ms=round((time.monotonic() - came) * 1000))

    def _options_keep(self, request, reply):
        wanted = request.headers.get("connection", "keep-alive").lower() != "close"
        return wanted and self._device.modem.options.keepalive and reply.outcome not in ("huge", "garbage")

    async def _faulty_reply(self, request, writer):
        fault = self._device.fault
        path = request.path.partition("?")[0].removeprefix("/api/").strip("/")
        if fault("api_hang"):
            await asyncio.get_running_loop().create_future()        # until the connection is aborted
        if fault("api_reset"):
            _abort(writer)
            raise CutConnection
        if seconds := fault("api_slow"):
            await asyncio.sleep(seconds)
        if fault("api_503"):
            return Reply(b"Service Unavailable\n", 503, "text/plain", outcome="503")
        if fault("api_html"):
            return Reply(b"<!DOCTYPE html><html><head><title>Log in to the network</title></head><body><form action="
                         b"\"http://portal.test/\"><input name=user></form></body></html>\n",
                         content_type="text/html", outcome="html")
        if fault("api_empty"):
            return Reply(outcome="empty")
        if fault("api_garbage"):
            return Reply(secrets.token_bytes(700), content_type="text/xml", outcome="garbage")
        if fault("api_truncated"):
            return Reply(b'<?xml version="1.0" encoding="UTF-8"?><response><ConnectionStatus>90', outcome="truncated")
        if fault("api_huge"):
            return Reply(outcome="huge")
        if fault("api_busy"):
            return Reply(error_xml(BUSY), outcome=str(BUSY))
        if error := fault("api_error"):
            if error["path"] in ("", path) and error["times"] != 0:
                if error["times"] is not None:
                    error["times"] -= 1
                return Reply(error_xml(error["code"]), content_type=self._api.firmware.content_type,
                             outcome=str(error["code"]))
        return None

    async def _send(self, writer, reply, keep, head_only):
        length = HUGE_BODY if reply.outcome == "huge" else len(reply.body)
        lines = [f"HTTP/1.1 {reply.status} {http.HTTPStatus(reply.status).phrase}", "Server: webserver",
                 f"Content-Type: {reply.content_type}", f"Content-Length: {length}",
                 *(f"{name}: {value}" for name, value in reply.headers),
                 f"Connection: {'keep-alive' if keep else 'close'}"]
        text = ("\r\n".join(lines) + "\r\n\r\n").encode() + (b"" if head_only else reply.body)
        if self._device.fault("api_drip"):
            for offset in range(len(text)):
                writer.write(text[offset:offset + 1])
                await writer.drain()
                await asyncio.sleep(1)
            return
        writer.write(text)
        await writer.drain()
        if reply.outcome == "huge" and not head_only:
            block = b"<a>" * (64 * 1024 // 3)
            sent = 0
            while sent < length:
                part = block[:length - sent]
                writer.write(part)
                await writer.drain()
                sent += len(part)


async def read_request(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    parts = head[0].split(" ")
    if len(parts) != 3:
        raise CutConnection
    headers = {}
    for line in head[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    if "transfer-encoding" in headers:
        raise CutConnection             # the modems' server doesn't take it
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MAX_BODY:
        raise CutConnection
    return Request(parts[0], parts[1], headers, await reader.readexactly(int(length)))


def _abort(writer):
    """Closes with a reset, as a crashed server does."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        try:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
    writer.transport.abort()
