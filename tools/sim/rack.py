"""The rack's topology in the kernel: namespaces, links, addresses. Everything lies inside namespaces named RACK-...

  NAME-host  up0 192.0.2.10 ---- uplink 192.0.2.1  NAME-inet  (sites on lo)
             lan0 10.77.0.1 ---- lan0 10.77.0.2    NAME-lan
             m11            ---- lan0 192.168.11.1 NAME-m11   wan0 PUBLIC/32 ---- w11 NAME-inet

With taps the host is a virtual machine: uplink in NAME-inet and lan0 in NAME-mN are tap devices, and whoever runs the
machine holds their other ends (open_tap). NAME-host is empty then.
"""
import fcntl
import os
import re
import shutil
import signal
import struct

import netns
from netns import SimError

BASE_DIR = "/run/dongle-sim"

UPLINK_HOST, UPLINK_PEER = "192.0.2.10", "192.0.2.1"
UPLINK_HOST6, UPLINK_PEER6 = "2001:db8:2::10", "2001:db8:2::1"
LAN_HOST, LAN_CLIENT = "10.77.0.1", "10.77.0.2"
CARRIER = "100.64.0.1"              # the carrier's side of every modem's WAN link

SITES = {
    "main": "203.0.113.80", "ip": "203.0.113.81", "download": "203.0.113.82", "https": "203.0.113.83",
    "dns": "203.0.113.53", "echo": "203.0.113.7", "connectivity": "203.0.113.204", "success": "203.0.113.205",
    "refused": "203.0.113.67",
}
SITES6 = {"main": "2001:db8:113::80", "ip": "2001:db8:113::81"}
BLACKHOLE, UNREACHABLE = "203.0.113.66", "203.0.113.68"
BLACKHOLE6 = "2001:db8:113::66"
EXTRA = [f"203.0.113.{n}" for n in range(100, 121)]


def check_name(name):
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
        raise SimError(f"--name {name}: use small letters, digits and dashes")
    return name


def directory(name):
    return f"{BASE_DIR}/{name}"


def socket_path(name):
    return f"{directory(name)}/control.sock"


def namespaces(name):
    return netns.existing(re.escape(name) + r"-(host|lan|inet|m\d+)")


class Claim:
    """The rack's name, held by a lock for as long as this process lives."""

    def __init__(self, name):
        self.name = name
        os.makedirs(BASE_DIR, mode=0o755, exist_ok=True)
        fresh = not os.path.isdir(directory(name))
        if fresh and (taken := namespaces(name)):
            raise SimError(f"namespace {taken[0]} exists and is not of a rack: choose another --name")
        os.makedirs(directory(name), mode=0o700, exist_ok=True)
        self._fd = os.open(f"{directory(name)}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SimError(f"rack {name} is up already: dongle-sim down --name {name}") from None
        os.ftruncate(self._fd, 0)
        os.write(self._fd, str(os.getpid()).encode())
        clean_up(name)                      # what a killed predecessor left

    def moved_to_child(self):
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)


def owner(name):
    """The process id that holds the rack, or None."""
    try:
        fd = os.open(f"{directory(name)}/lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        text = os.pread(fd, 32, 0)
        return int(text) if text.isdigit() else None
    finally:
        os.close(fd)


def clean_up(name):
    """Ends the processes inside and deletes the namespaces; links, addresses and rules go with them."""
    found = namespaces(name)
    if found:
        netns.end_processes(found)
        netns.delete(found)


def remove_directory(name):
    shutil.rmtree(directory(name), ignore_errors=True)
    try:
        os.rmdir(BASE_DIR)
    except OSError:
        pass


def down(name):
    """Stops the rack's process if there is one, and removes what is left. True = there was something."""
    if not os.path.isdir(directory(name)):
        return False
    if (pid := owner(name)) is not None:
        import select
        try:
            handle = os.pidfd_open(pid)
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            if not select.select([handle], [], [], 15)[0]:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], 5)
            os.close(handle)
        except ProcessLookupError:
            pass
    clean_up(name)
    remove_directory(name)
    return True


def open_tap(namespace, interface):
    """The descriptor whose reads and writes are the frames of a tap device; its link is up while it is open."""
    return netns.call_in(namespace, _attach_tap, interface)


def _attach_tap(interface):
    tap, no_header, set_interface = 0x0002, 0x1000, 0x400454CA      # IFF_TAP, IFF_NO_PI, TUNSETIFF
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(fd, set_interface, struct.pack("16sH22x", interface.encode(), tap | no_header))
    except OSError:
        os.close(fd)
        raise
    return fd


class Rack:
    def __init__(self, name, taps=False):
        self.name = name
        self.taps = taps
        self._plugged = set()       # with taps: a tap outlives its stick
        self.host, self.lan, self.inet = f"{name}-host", f"{name}-lan", f"{name}-inet"

    def modem(self, id):
        return f"{self.name}-m{id}"

    def build(self, all_options):
        modems = [options.id for options in all_options]
        spaces = [self.host, self.lan, self.inet, *map(self.modem, modems)]
        netns.ip_batch([f"netns add {space}" for space in spaces])
        for space in spaces:
            self._prepare(space)
        netns.ip_batch([
            *([] if self.taps else [f"link add up0 netns {self.host} type veth peer name uplink netns {self.inet}"]),
            f"link add lan0 netns {self.host} type veth peer name lan0 netns {self.lan}",
            *(f"link add w{id} netns {self.inet} type veth peer name wan0 netns {self.modem(id)}" for id in modems)])
        netns.ip_batch([
            "link set lo up", "link set lan0 up", f"addr add {LAN_HOST}/24 dev lan0"], self.host)
        if self.taps:
            netns.ip_batch(["tuntap add uplink mode tap"], self.inet)
            for id in modems:
                netns.ip_batch(["tuntap add lan0 mode tap"], self.modem(id))
        else:
            netns.ip_batch([
                "link set up0 up", f"addr add {UPLINK_HOST}/24 dev up0", f"addr add {UPLINK_HOST6}/64 dev up0 nodad",
                f"route add default via {UPLINK_PEER} metric 100", f"route add ::/0 via {UPLINK_PEER6} metric 100",
            ], self.host)
        netns.ip_batch(["link set lo up", "link set lan0 up", f"addr add {LAN_CLIENT}/24 dev lan0",
                        f"route add default via {LAN_HOST}"], self.lan)
        # No IPv6 on the carrier's side: its own multicast would count as the modems' traffic.
        netns.sysctls(self.inet, {f"ipv6/conf/w{id}/disable_ipv6": 1 for id in modems})
        netns.ip_batch([
            "link set lo up", "link set uplink up",
            f"addr add {UPLINK_PEER}/24 dev uplink", f"addr add {UPLINK_PEER6}/64 dev uplink nodad",
            *(f"addr add {address}/32 dev lo" for address in [*SITES.values(), *EXTRA]),
            *(f"addr add {address}/128 dev lo nodad" for address in SITES6.values()),
            f"route add blackhole {BLACKHOLE}/32", f"route add unreachable {UNREACHABLE}/32",
            f"route add blackhole {BLACKHOLE6}/128",
            *(line for id in modems for line in (f"link set w{id} up", f"addr add {CARRIER}/32 dev w{id}")),
        ], self.inet)
        for options in all_options:
            netns.ip_batch(["link set lo up", "link set wan0 up"], self.modem(options.id))
            netns.nft(self.modem(options.id), NAT)

    def _prepare(self, space):
        values = {"ipv4/conf/all/rp_filter": 0, "ipv4/conf/default/rp_filter": 0, "ipv4/ip_forward": 0}
        if space == self.host:
            values["ipv4/conf/default/rp_filter"] = 2       # Debian's default
        elif space == self.inet:
            values["ipv4/ip_forward"] = 1
        elif space != self.lan:
            values |= {"ipv4/ip_forward": 1, "ipv6/conf/all/disable_ipv6": 1, "ipv6/conf/default/disable_ipv6": 1}
        netns.sysctls(space, values)

    def plug(self, options, name):
        """Makes the stick's interface on the host, and the modem's end of it; a tap is there already, and goes up."""
        space = self.modem(options.id)
        if self.taps:
            netns.ip_batch(["link set lan0 up arp on"], space)
            self._plugged.add(options.id)
            return None
        netns.ip_batch([f"link add {name} netns {self.host} address {options.mac} type veth"
                        f" peer name lan0 netns {space}"])
        netns.ip_batch(["link set lan0 up"], space)
        netns.ip("link", "set", name, "up", namespace=self.host)
        return netns.call_in(self.host, _index_of, name)

    def unplug(self, options):
        if self.taps:
            netns.ip("link", "set", "lan0", "down", namespace=self.modem(options.id))
            self._plugged.discard(options.id)
            return
        # By the modem's end: the host's may have another name by now.
        if netns.call_in(self.modem(options.id), _index_of, "lan0"):
            netns.ip("link", "del", "lan0", namespace=self.modem(options.id))

    def is_plugged(self, options):
        if self.taps:
            return options.id in self._plugged
        return netns.call_in(self.modem(options.id), _index_of, "lan0") is not None

    def set_carrier(self, options, up):
        netns.ip("link", "set", "lan0", "up" if up else "down", namespace=self.modem(options.id))

    def set_lan_address(self, options, address, prefix_length):
        netns.ip_batch(["addr flush dev lan0", f"addr add {address}/{prefix_length} dev lan0"], self.modem(options.id))

    def set_public_address(self, options, old, new):
        """The one way traffic can leave the modem: no address, no route."""
        if old == new:
            return
        space = self.modem(options.id)
        if old:
            netns.ip_batch([f"route del {old}/32 dev w{options.id}"], self.inet)
            netns.ip_batch(["addr flush dev wan0"], space)
        if new:
            netns.ip_batch([f"addr add {new}/32 dev wan0",
                            f"route add default via {CARRIER} dev wan0 onlink src {new}"], space)
            netns.ip_batch([f"route replace {new}/32 dev w{options.id}"], self.inet)

    def set_filter(self, options, name, rules):
        """Replaces one small table of drop rules; no rules = no table."""
        text = f"add table ip {name}\ndelete table ip {name}\n"
        if rules:
            text += f"table ip {name} {{\n" + "\n".join(
                f" chain {hook} {{ type filter hook {hook} priority -300; {rule} drop; }}" for hook, rule in rules) + "\n}\n"
        netns.nft(self.modem(options.id), text)

    def set_arp(self, options, on):
        netns.ip("link", "set", "lan0", "arp", "on" if on else "off", namespace=self.modem(options.id))


def _index_of(interface):
    import socket
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return None


# The modem's own services (API, DNS, DHCP) answer on its network side only.
NAT = """
table ip modem {
  chain nat { type nat hook postrouting priority srcnat; oifname "wan0" masquerade; }
  chain input { type filter hook input priority filter; iifname "wan0" ct state new drop; }
}
"""
