"""The modem as the carrier and its API see it. Pure: no socket, no clock; device.py carries its state to the kernel.

  phase         entered by                                        guarantees
  DISCONNECTED  anything that makes can_connect() false           no public address
  CONNECTING    settle() when can_connect() became true           no public address; attached() is due after a delay
  CONNECTED     attached()                                        public_ip is ours alone
"""
import enum
import ipaddress
from dataclasses import dataclass, field

from netns import SimError

FIRMWARES = ("classic", "bare", "webui17", "token", "old")
LOGINS = ("none", "base64", "base64_3", "sha256", "scram")


class Phase(enum.Enum):
    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"


@dataclass
class Options:
    id: int
    subnet: str = ""
    name: str = ""
    mac: str = ""
    username: str = "admin"
    password: str = ""
    login: str = ""
    firmware: str = "classic"
    enc: bool = False               # some POST bodies must come encrypted
    oaep: bool = True               # their padding: OAEP, or PKCS#1 v1.5
    same_ip: bool = False
    sticky_time: float = 0.0        # the carrier keeps the address for one that is back sooner than that
    keepalive: bool = True
    lease: int = 86400
    boot_time: float = 4.0
    attach_time: float = 0.3
    netmode_time: float = 1.0
    lock_time: float = 60.0

    def __post_init__(self):
        if not 1 <= self.id <= 252:
            raise SimError(f"modem id {self.id}: must be 1 to 252")
        self.subnet = self.subnet or f"192.168.{self.id}.0/24"
        try:
            if ipaddress.IPv4Network(self.subnet).prefixlen > 24:
                raise ValueError
        except ValueError:
            raise SimError(f"modem {self.id}: subnet={self.subnet} is no IPv4 subnet of /24 or larger") from None
        self.name = self.name or f"m{self.id}"
        if len(self.name) > 15 or "/" in self.name or self.name in ("up0", "lan0", "lo"):
            raise SimError(f"modem {self.id}: name={self.name} can't be its interface name")
        self.mac = self.mac or f"0c:5b:8f:27:9a:{self.id:02x}"
        self.login = self.login or ("sha256" if self.password else "none")
        if self.login not in LOGINS:
            raise SimError(f"modem {self.id}: login={self.login}, must be one of {', '.join(LOGINS)}")
        if self.login != "none" and not self.password:
            self.password = "admin"
        if self.firmware not in FIRMWARES:
            raise SimError(f"modem {self.id}: firmware={self.firmware}, must be one of {', '.join(FIRMWARES)}")


def parse_options(text):
    """'id=11,mac=...' -> Options; the types are those of the fields."""
    values = {}
    types = {name: spec.type for name, spec in Options.__dataclass_fields__.items()}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if key not in types or not equals:
            raise SimError(f"--modem {text}: {part!r} is not one of {', '.join(types)} = value")
        try:
            values[key] = value.lower() in ("1", "yes", "true", "on") if types[key] is bool else types[key](value)
        except ValueError:
            raise SimError(f"--modem {text}: {key} wants a number, not {value!r}") from None
    if "id" not in values:
        raise SimError(f"--modem {text}: id= is missing")
    return Options(**values)


@dataclass
class Profile:
    index: int
    name: str
    apn: str
    number: str = "*99#"
    username: str = ""
    password: str = ""
    auth_mode: str = "0"
    read_only: str = "0"
    ip_type: str = "0"


@dataclass
class Modem:
    options: Options
    powered: bool = True
    data_switch: bool = True
    dialed: bool = True             # what dialup/dial last asked for; always true under automatic connection
    registering: bool = False       # between a change of the network mode and the network's answer
    sim: str = "ready"              # ready | absent | pin
    network_available: bool = True
    data_limit: bool = False
    phase: Phase = Phase.DISCONNECTED
    public_ip: str | None = None
    last_ip: str | None = None
    reconnects: int = -1            # the first connection is no reconnect
    network_mode: str = "00"
    network_band: str = "3FFFFFFF"
    lte_band: str = "7FFFFFFFFFFFFFFF"
    connect_mode: str = "0"
    max_idle_time: str = "0"
    mtu: str = "1500"
    roam_auto_connect: str = "0"
    subnet: str = ""
    profiles: list = field(default_factory=lambda: [Profile(1, "Sim Mobile", "internet.test")])
    current_profile: int = 1

    def __post_init__(self):
        self.subnet = self.subnet or self.options.subnet

    def registered(self):
        return self.powered and self.sim == "ready" and self.network_available and not self.registering

    def can_connect(self):
        return self.registered() and self.data_switch and self.dialed and not self.data_limit

    def settle(self):
        """Follows whatever changed; True = attached() is due after the attach time."""
        if not self.can_connect():
            self.phase, self.public_ip = Phase.DISCONNECTED, None
            return False
        if self.phase is Phase.DISCONNECTED:
            self.phase = Phase.CONNECTING
            return True
        return False

    def attached(self, public_ip):
        if self.phase is not Phase.CONNECTING:
            return
        self.phase = Phase.CONNECTED
        self.public_ip = self.last_ip = public_ip
        self.reconnects += 1

    def drop(self):
        """The carrier's end of the connection is gone; settle() dials again."""
        self.phase, self.public_ip = Phase.DISCONNECTED, None

    def set_data_switch(self, on):
        self.data_switch = on
        if on and self.connect_mode == "0":
            self.dialed = True

    def connection_status(self):
        if self.data_limit:
            return 201
        if self.sim == "absent":
            return 905
        if self.sim == "ready" and not self.network_available:
            return 907
        return {Phase.DISCONNECTED: 902, Phase.CONNECTING: 900, Phase.CONNECTED: 901}[self.phase]

    def sim_state(self):
        return {"ready": 257, "absent": 255, "pin": 260}[self.sim]

    def network_type(self):
        """(CurrentNetworkType, CurrentNetworkTypeEx)"""
        if not self.registered():
            return 0, 0
        if self.network_mode.startswith("01"):
            return 3, 3
        if self.network_mode.startswith("02"):
            return 9, 46
        return 19, 101

    def gateway(self):
        return str(ipaddress.IPv4Network(self.subnet)[1])

    def host_address(self):
        return str(ipaddress.IPv4Network(self.subnet)[100])

    def prefix_length(self):
        return ipaddress.IPv4Network(self.subnet).prefixlen

    def netmask(self):
        return str(ipaddress.IPv4Network(self.subnet).netmask)


class AddressPool:
    """Public addresses, handed out in turn, so that one comes back only after all the others."""

    def __init__(self, network="198.51.100.0/24"):
        self._addresses = [str(address) for address in ipaddress.IPv4Network(network).hosts()]
        self._next = 1
        self._in_use = set()

    def take(self, wanted=None):
        if wanted and wanted not in self._in_use:
            self._in_use.add(wanted)
            return wanted
        for _ in self._addresses:
            address = self._addresses[self._next]
            self._next = (self._next + 1) % len(self._addresses)
            if address not in self._in_use:
                self._in_use.add(address)
                return address
        raise SimError("no public address left: use fewer modems")

    def give_back(self, address):
        self._in_use.discard(address)
