"""One stick: its modem's state carried to the kernel, its services, its timers and its faults."""
import asyncio
import socket
import time
from dataclasses import dataclass

import dhcp
import dns
import faults
import netns
from hilink import HilinkApi, HilinkServer
from hilink_rsa import generated_key
from modem import Modem, Phase
from netns import SimError
from rack import SITES, UPLINK_HOST, UPLINK_PEER

DROP_LAN = [("prerouting", 'iifname "lan0"'), ("output", 'oifname "lan0"'), ("forward", 'oifname "lan0"')]
DROP_WAN = [("prerouting", 'iifname "wan0"'), ("output", 'oifname "wan0"'), ("forward", 'oifname "wan0"')]

# Which event ends a black hole that waits for which: a restart is also a new registration and a new connection.
BLACKHOLE_RANK = {"reconnect": 0, "netmode": 1, "reboot": 2, "clear": 3}

HOSTILE_OPTIONS = (
    (12, b"$(touch /tmp/dongle-sim-was-here);`id`"), (15, b"a b\n\"'; touch /tmp/dongle-sim-was-here #"),
    (119, b"\xc0\x00"), (42, b"\x01\x02\x03"), (121, b"\x21\x00\x00\x00\x00"), (252, b"\0" * 40), (26, b"\0\x01"),
)


@dataclass
class Active:
    argument: object
    timer: object = None


@dataclass
class Traffic:
    connect_time: int
    upload: int
    download: int
    upload_rate: int
    download_rate: int
    total_upload: int
    total_download: int
    total_connect_time: int


class Device:
    def __init__(self, options, rack, pool, farm):
        self.modem = Modem(options)
        self.options = options
        self.space = rack.modem(options.id)
        self.interface = options.name
        self.ifindex = None
        self.faults = {}
        self._rack = rack
        self._pool = pool
        self._farm = farm               # for its logs
        self._public_ip = None          # as the kernel has it
        self._attach_timer = self._register_timer = self._boot_timer = None
        self._wan_start = (0, 0)        # counters of wan0 when the connection began
        self._wan_cleared = (0, 0)
        self._connected_since = None
        self._connected_before = 0.0
        self._disconnected_at = float("-inf")
        self._last_reading = (time.monotonic(), 0, 0)
        self._transports = []
        self._dhcp_transport = None
        self.api = HilinkApi(self)
        self.server = HilinkServer(self, self.api, lambda **call: farm.api_log.add(modem=options.id, **call))

    # --- life -----------------------------------------------------------------------------------------------

    async def start(self):
        self._loop = asyncio.get_running_loop()
        if self.options.enc:
            generated_key()
        http, dns_udp, dns_tcp, upstream = netns.call_in(self.space, lambda: (
            listen_tcp(80), listen_udp(53), listen_tcp(53), listen_udp(0)))
        proxy = dns.Proxy(self.fault, self._connect_name_server)
        await self.server.listen(http)
        await self._add_endpoint(lambda: proxy.upstream, upstream)
        await self._add_endpoint(lambda: dns.UdpService(proxy.answer_udp), dns_udp)
        self._transports.append(await asyncio.start_server(
            lambda reader, writer: dns.serve_tcp(reader, writer, proxy.answer_tcp), sock=dns_tcp))
        self._plug()
        self.update(delay=0)

    async def _add_endpoint(self, protocol, sock):
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(protocol, sock=sock)
        self._transports.append(transport)

    def stop(self):
        for timer in (self._attach_timer, self._register_timer, self._boot_timer):
            if timer:
                timer.cancel()
        self.server.close()
        for transport in self._transports:
            transport.close()
        self._close_dhcp()

    async def _connect_name_server(self):
        sock = netns.call_in(self.space, socket.socket, socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (SITES["dns"], 53))
        except BaseException:
            sock.close()
            raise
        return await asyncio.open_connection(sock=sock)

    # --- the network side -----------------------------------------------------------------------------------

    def _plug(self):
        if not self._rack.is_plugged(self.options):
            self.ifindex = self._rack.plug(self.options, self.interface)
        self._rack.set_lan_address(self.options, self.modem.gateway(), self.modem.prefix_length())
        if self.fault("carrier_down"):
            self._rack.set_carrier(self.options, False)
        if self.fault("dead_gateway"):
            self._rack.set_arp(self.options, False)
        self._open_dhcp()

    def _unplug(self):
        self._close_dhcp()
        self._rack.unplug(self.options)
        self.ifindex = None
        self.server.abort_connections()

    def _open_dhcp(self):
        self._close_dhcp()
        sock = netns.call_in(self.space, dhcp.open_socket, "lan0")
        server = dhcp.Server(self._lease, self.fault, lambda asked, answered: self._farm.dhcp_log.add(
            modem=self.options.id, asked=asked, answered=answered, address=self._lease().address))
        # A socket that is ready makes the endpoint without waiting for anything, but only in a task.
        self._loop.create_task(self._start_dhcp(server, sock))

    async def _start_dhcp(self, server, sock):
        transport, _ = await self._loop.create_datagram_endpoint(lambda: server, sock=sock)
        self._close_dhcp()
        self._dhcp_transport = transport

    def _close_dhcp(self):
        if self._dhcp_transport:
            self._dhcp_transport.close()
            self._dhcp_transport = None

    def _lease(self):
        modem = self.modem
        if self.fault("dhcp_bad"):
            return dhcp.Lease(UPLINK_HOST, "255.255.255.0", UPLINK_PEER, self.options.lease)
        extra = HOSTILE_OPTIONS if self.fault("dhcp_hostile") else ()
        seconds = 0 if self.fault("dhcp_zero_lease") else self.options.lease
        return dhcp.Lease(modem.host_address(), modem.netmask(), modem.gateway(), seconds, extra)

    def move_lan(self, subnet):
        self.modem.subnet = subnet
        if self._rack.is_plugged(self.options):
            self._rack.set_lan_address(self.options, self.modem.gateway(), self.modem.prefix_length())
        self.server.abort_connections()

    # --- the connection -------------------------------------------------------------------------------------

    def update(self, delay=None):
        """Carries the modem's state to the kernel, and starts or stops the wait for the network's answer."""
        attach = self.modem.settle()
        if self.modem.phase is not Phase.CONNECTING and self._attach_timer:
            self._attach_timer.cancel()
            self._attach_timer = None
        self._apply()
        if attach:
            if self._attach_timer:
                self._attach_timer.cancel()
            if delay == 0:
                self._attach()
            else:
                self._attach_timer = self._loop.call_later(self.options.attach_time, self._attach)

    def _attach(self):
        self._attach_timer = None
        same = (self.options.same_ip or self.fault("same_ip")
                or time.monotonic() - self._disconnected_at < self.options.sticky_time)
        self.modem.attached(self._pool.take(self.modem.last_ip if same else None))
        self._apply()

    def _apply(self):
        wanted = self.modem.public_ip
        if wanted == self._public_ip:
            return
        self._rack.set_public_address(self.options, self._public_ip, wanted)
        if self._public_ip:
            self._pool.give_back(self._public_ip)
            self._connected_before += time.monotonic() - self._connected_since
            self._connected_since = None
            self._disconnected_at = time.monotonic()
        if wanted:
            self._wan_start = self.wan_counters()
            self._connected_since = time.monotonic()
            self._farm.public_addresses[wanted] = self.options.id
        self._public_ip = wanted

    def set_data_switch(self, on):
        if on == self.modem.data_switch:
            return
        self.modem.set_data_switch(on)
        if on:
            self._drop_fault("data_off")
            self._end_blackhole("reconnect")
        self.update()

    def dial(self, on):
        if on and not self.modem.dialed:
            self._end_blackhole("reconnect")
        self.modem.dialed = on
        self.update()

    def reconnect(self):
        self._end_blackhole("reconnect")
        self.modem.drop()
        self.update()

    def set_network_mode(self, mode, band, lte_band):
        modem = self.modem
        changed = (mode, band, lte_band) != (modem.network_mode, modem.network_band, modem.lte_band)
        modem.network_mode, modem.network_band, modem.lte_band = mode, band, lte_band
        if not changed:
            return
        modem.registering = True
        self.update()
        self._end_blackhole("netmode")
        if self._register_timer:
            self._register_timer.cancel()
        self._register_timer = self._loop.call_later(self.options.netmode_time, self._registered)

    def _registered(self):
        self._register_timer = None
        self.modem.registering = False
        self.update()

    def change_profiles(self, delete, default, profile):
        modem = self.modem
        modem.profiles = [known for known in modem.profiles
                          if known.index != delete and not (profile and known.index == profile.index)]
        if profile:
            modem.profiles.append(profile)
            modem.profiles.sort(key=lambda known: known.index)
        if any(known.index == default for known in modem.profiles):
            modem.current_profile = default
            self.reconnect()            # another APN is another connection

    # --- power ----------------------------------------------------------------------------------------------

    def reboot(self):
        if not self.modem.powered:
            return
        self._power_off()
        self._boot_timer = self._loop.call_later(self.fault("reboot_slow") or self.options.boot_time, self._boot)

    def cut_power(self):
        """The port it is plugged into has no power."""
        if self._boot_timer:
            self._boot_timer.cancel()
            self._boot_timer = None
        if self.modem.powered:
            self._power_off()

    def restore_power(self):
        if not self.modem.powered and not self._boot_timer and not self.fault("unplug"):
            self._boot_timer = self._loop.call_later(self.fault("reboot_slow") or self.options.boot_time, self._boot)

    def unplug(self):
        """Out of the port until it is plugged in again."""
        self.faults.setdefault("unplug", Active(None))
        if self._boot_timer:
            self._boot_timer.cancel()
            self._boot_timer = None
        self._power_off()

    def plug(self, name=None):
        self._drop_fault("unplug")
        if self._boot_timer:
            self._boot_timer.cancel()
        if name and name != self.interface:
            self._power_off()
            self.interface = name
        self._boot()

    def _power_off(self):
        if self.modem.powered:
            self._farm.power_changed(self.options.id, False)
        self.modem.powered = False
        self.modem.registering = False
        if self._register_timer:
            self._register_timer.cancel()
            self._register_timer = None
        self.update()
        self._unplug()
        self.api.restart()

    def _boot(self):
        self._boot_timer = None
        if not self.modem.powered:
            self._farm.power_changed(self.options.id, True)
        self.modem.powered = True
        self._end_blackhole("reboot")
        self._end_dead_gateway("power")
        self._plug()
        self.update()

    # --- traffic --------------------------------------------------------------------------------------------

    def wan_counters(self):
        return netns.interface_counters(self.space).get("wan0", (0, 0))

    def traffic(self):
        received, sent = self.wan_counters()
        now = time.monotonic()
        then, received_then, sent_then = self._last_reading
        elapsed = max(now - then, 0.001)
        self._last_reading = (now, received, sent)
        connected = self._connected_since is not None
        current = int(now - self._connected_since) if connected else 0
        return Traffic(current, sent - self._wan_start[1] if connected else 0,
                       received - self._wan_start[0] if connected else 0,
                       int((sent - sent_then) / elapsed), int((received - received_then) / elapsed),
                       sent - self._wan_cleared[1], received - self._wan_cleared[0],
                       int(self._connected_before) + current)

    def clear_traffic(self):
        self._wan_cleared = self._wan_start = self.wan_counters()
        self._connected_before = 0.0

    # --- faults ---------------------------------------------------------------------------------------------

    def fault(self, name):
        """The fault's argument (True if it has none) while it is active, else None."""
        active = self.faults.get(name)
        return None if active is None else True if active.argument is None else active.argument

    async def inject(self, name, argument, seconds):
        name, argument = faults.check(faults.MODEM, name, argument)
        if faults.MODEM[name].action:
            if seconds is not None:
                raise SimError(f"{name} happens once: --for makes no sense with it")
            await self._act(name, argument)
            return
        if name in self.faults:
            await self.clear(name)
        active = self.faults[name] = Active(argument)
        if seconds is not None:
            active.timer = self._loop.call_later(
                seconds, lambda: self._loop.create_task(self._expire(name, active)))
        await self._take_effect(name, argument)

    async def _expire(self, name, active):
        if self.faults.get(name) is active:
            await self.clear(name)

    async def clear(self, name=None):
        for each in [name.replace("-", "_")] if name else list(self.faults):
            if each not in faults.MODEM:
                faults.check(faults.MODEM, each, None)      # says which name was meant
            if self._drop_fault(each):
                await self._end_effect(each)

    def _drop_fault(self, name):
        active = self.faults.pop(name, None)
        if active and active.timer:
            active.timer.cancel()
        return active is not None

    async def _act(self, name, argument):
        if name == "plug":
            self.plug(argument)
        elif name == "carrier_up":
            await self.clear("carrier_down")
        elif name == "reboot":
            self.reboot()
        elif name == "power_cut":
            self.cut_power()
        elif name == "power_back":
            self.restore_power()
        elif name == "rebind":
            self._end_dead_gateway("rebind")
        elif name == "reconnect":
            self.reconnect()

    async def _take_effect(self, name, argument):
        if name == "data_off":
            self.modem.set_data_switch(False)
            self.update()
        elif name == "wan_blackhole":
            self._rack.set_filter(self.options, "blackhole", DROP_WAN)
        elif name == "dead_gateway":
            self._rack.set_filter(self.options, "deadlan", DROP_LAN)
            self._set_link(self._rack.set_arp, False)
        elif name == "carrier_down":
            self._set_link(self._rack.set_carrier, False)
        elif name == "unplug":
            self.unplug()
        elif name == "dhcp_change":
            self.move_lan(argument)
        elif name == "api_down":
            self.server.close()
        else:
            self._follow_faults()

    async def _end_effect(self, name):
        if name == "data_off":
            self.set_data_switch(True)
        elif name == "wan_blackhole":
            self._rack.set_filter(self.options, "blackhole", [])
        elif name == "dead_gateway":
            self._rack.set_filter(self.options, "deadlan", [])
            self._set_link(self._rack.set_arp, True)
        elif name == "carrier_down":
            self._set_link(self._rack.set_carrier, True)
        elif name == "unplug":
            self.plug()
        elif name == "dhcp_change":
            self.move_lan(self.options.subnet)
        elif name == "api_down":
            await self.server.listen(netns.call_in(self.space, listen_tcp, 80))
        elif name in ("api_hang", "api_drip", "api_huge", "api_slow"):
            self.server.abort_connections()
        else:
            self._follow_faults()

    def _set_link(self, change, value):
        if self._rack.is_plugged(self.options):
            change(self.options, value)

    def _follow_faults(self):
        modem = self.modem
        modem.sim = "absent" if self.fault("no_sim") else "pin" if self.fault("pin_required") else "ready"
        modem.network_available = not self.fault("no_registration")
        modem.data_limit = bool(self.fault("data_limit"))
        self.update()

    def _end_blackhole(self, event):
        end = self.fault("wan_blackhole")
        if end and BLACKHOLE_RANK[event] >= BLACKHOLE_RANK[end]:
            self._drop_fault("wan_blackhole")
            self._rack.set_filter(self.options, "blackhole", [])

    def _end_dead_gateway(self, event):
        end = self.fault("dead_gateway")
        if end and end != "clear" and (event == "power" or end == event):
            self._drop_fault("dead_gateway")
            self._rack.set_filter(self.options, "deadlan", [])
            self._set_link(self._rack.set_arp, True)

    # --- report ---------------------------------------------------------------------------------------------

    def report(self, host_links):
        modem = self.modem
        link = host_links.get(self.ifindex)
        traffic = self.traffic()
        return {
            "id": self.options.id, "public_ip": modem.public_ip, "data": modem.data_switch,
            "connected": modem.phase is Phase.CONNECTED, "connection_status": modem.connection_status(),
            "powered": modem.powered, "network_mode": modem.network_mode, "reconnects": max(modem.reconnects, 0),
            "faults": {name: active.argument for name, active in self.faults.items()},
            "subnet": modem.subnet, "gateway": modem.gateway(), "address": modem.host_address(),
            "interface": link and link["ifname"], "ifindex": self.ifindex if link else None,
            "mac": self.options.mac, "carrier": bool(link and "LOWER_UP" in link.get("flags", [])),
            "api_requests": self.server.requests, "api_max_requests": self.server.max_requests,
            "api_max_connections": self.server.max_connections, "logins": self.api.logins,
            "rx_bytes": traffic.total_download, "tx_bytes": traffic.total_upload,
        }


BACKLOG = 4096


def listen_tcp(port, address="0.0.0.0", family=socket.AF_INET):
    server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind((address, port))
    server.listen(BACKLOG)
    return server


def listen_udp(port, address="0.0.0.0"):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    if port:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    return server
