"""What arrives from the host by its uplink: the other way out, where nothing of a modem's may ever be seen."""
import asyncio
import ipaddress
import socket
import struct

import netns

ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 3, 0x0800, 0x86DD
SOL_PACKET, PACKET_STATISTICS = 263, 6
PROTOCOLS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
# Multicast listener reports, router and neighbour discovery: what any interface says by itself.
OWN_ICMPV6 = {130, 131, 132, 133, 134, 135, 136, 143}


def describe(kind, packet):
    """{src, dst, proto, sport, dport, length} of an IP packet, or None for what doesn't count."""
    if kind == ETH_P_IP and len(packet) >= 20:
        length = (packet[0] & 15) * 4
        protocol, source, target = packet[9], packet[12:16], packet[16:20]
        total, = struct.unpack("!H", packet[2:4])
        first = struct.unpack("!H", packet[6:8])[0] & 0x1FFF == 0
        if protocol == 2:
            return None
        payload = packet[length:] if first else b""
    elif kind == ETH_P_IPV6 and len(packet) >= 40:
        protocol, source, target, payload = packet[6], packet[8:24], packet[24:40], packet[40:]
        total = 40 + struct.unpack("!H", packet[4:6])[0]
        if protocol == 0 and len(payload) >= 8:         # hop-by-hop, in front of listener reports
            protocol, payload = payload[0], payload[(payload[1] + 1) * 8:]
        if protocol == 58 and payload and payload[0] in OWN_ICMPV6:
            return None
    else:
        return None
    entry = {"src": str(ipaddress.ip_address(source)), "dst": str(ipaddress.ip_address(target)),
             "proto": PROTOCOLS.get(protocol, str(protocol)), "sport": None, "dport": None, "length": total}
    if protocol in (6, 17) and len(payload) >= 4:
        entry["sport"], entry["dport"] = struct.unpack("!HH", payload[:4])
    return entry


class Sniffer:
    def __init__(self, space, journal):
        self._journal = journal
        self._lost = 0
        self._socket = netns.call_in(space, self._open)
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    @staticmethod
    def _open():
        sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
        sniffer.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)      # SO_RCVBUFFORCE
        sniffer.bind(("uplink", ETH_P_ALL))
        return sniffer

    def _read(self, limit=256):
        for _ in range(limit):
            try:
                packet, (_, kind, direction, *_) = self._socket.recvfrom(200)
            except OSError:         # none left, or the link is gone
                return
            if direction != socket.PACKET_OUTGOING and (entry := describe(kind, packet)):
                self._journal.add(**entry)

    def report(self):
        self._read(100_000) # what is there already, so that a report leaves out nothing that came before it
        _, lost = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self._lost += lost
        return self._journal.report() | {"lost": self._lost}

    def clear(self):
        while True:
            try:
                self._socket.recv(1)
            except OSError:
                break
        self._journal.clear()
        self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        self._lost = 0

    def stop(self):
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
