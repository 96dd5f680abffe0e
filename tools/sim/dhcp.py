"""DHCP: the codec, and the server that leases each modem's one address."""
import asyncio
import socket
import struct
from dataclasses import dataclass

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
KIND_NAMES = ["", "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM"]
MAGIC = b"\x63\x82\x53\x63"


@dataclass
class Message:
    xid: bytes
    flags: int
    client: str         # ciaddr: the address the client has already
    hardware: bytes     # chaddr, 16 bytes
    relay: str
    options: dict

    def kind(self):
        value = self.options.get(53, b"")
        return value[0] if len(value) == 1 else 0

    def address_option(self, code):
        value = self.options.get(code, b"")
        return socket.inet_ntoa(value) if len(value) == 4 else None


@dataclass
class Lease:
    address: str
    netmask: str
    gateway: str
    seconds: int
    extra: tuple = ()       # further (code, bytes)


def parse(packet):
    """A client's message, or None."""
    if len(packet) < 240 or packet[0] != 1 or packet[236:240] != MAGIC:
        return None
    options, offset = {}, 240
    while offset < len(packet) and packet[offset] != 255:
        if packet[offset] == 0:
            offset += 1
            continue
        if offset + 1 >= len(packet):
            return None
        code, length = packet[offset], packet[offset + 1]
        value = packet[offset + 2:offset + 2 + length]
        if len(value) != length:
            return None
        options[code] = value
        offset += 2 + length
    return Message(packet[4:8], struct.unpack("!H", packet[10:12])[0], socket.inet_ntoa(packet[12:16]),
                   packet[28:44], socket.inet_ntoa(packet[24:28]), options)


def build(message, kind, lease):
    given = lease.address if kind in (OFFER, ACK) and message.kind() != INFORM else "0.0.0.0"
    packet = struct.pack("!BBBB4sHH4s4s4s4s16s", 2, 1, 6, 0, message.xid, 0, message.flags,
                         socket.inet_aton(message.client if kind == ACK else "0.0.0.0"), socket.inet_aton(given),
                         socket.inet_aton(lease.gateway), socket.inet_aton(message.relay), message.hardware)
    packet += bytes(192) + MAGIC
    options = [(53, bytes([kind])), (54, socket.inet_aton(lease.gateway))]
    if kind in (OFFER, ACK):
        options += [(1, socket.inet_aton(lease.netmask)), (3, socket.inet_aton(lease.gateway)),
                    (6, socket.inet_aton(lease.gateway))]
        if message.kind() != INFORM:
            options += [(51, struct.pack("!I", lease.seconds)), (58, struct.pack("!I", lease.seconds // 2)),
                        (59, struct.pack("!I", lease.seconds * 7 // 8))]
        options += lease.extra
    packet += b"".join(bytes([code, len(value)]) + value for code, value in options) + b"\xff"
    return packet.ljust(300, b"\0")


def answer(message, lease):
    """(kind of answer, packet), or None: nothing to say. A stick leases one address, to whoever asks."""
    kind = message.kind()
    if kind == DISCOVER:
        return OFFER, build(message, OFFER, lease)
    if kind == INFORM:
        return ACK, build(message, ACK, lease)
    if kind != REQUEST:
        return None
    chosen = message.address_option(54)
    if chosen is not None and chosen != lease.gateway:
        return None                                     # the client took another server's offer
    wanted = message.address_option(50) or message.client
    reply = ACK if wanted == lease.address else NAK
    return reply, build(message, reply, lease)


class Server(asyncio.DatagramProtocol):
    def __init__(self, lease, fault, on_message):
        self._lease = lease             # () -> Lease
        self._fault = fault
        self._on_message = on_message   # (kind name, answer's kind name | None)

    def connection_made(self, transport):
        self._transport = transport

    def error_received(self, error):
        pass

    def datagram_received(self, packet, peer):
        message = parse(packet)
        if message is None or not 0 < message.kind() < len(KIND_NAMES):
            return
        reply = None
        if not (self._fault("dhcp_silent") or self._fault("dead_gateway")):
            reply = answer(message, self._lease())
        self._on_message(KIND_NAMES[message.kind()], KIND_NAMES[reply[0]] if reply else None)
        if reply:
            # A client that has its address is spoken to there; one that hasn't, by broadcast.
            renewing = message.client != "0.0.0.0" and reply[0] == ACK and not message.flags & 0x8000
            self._transport.sendto(reply[1], (message.client if renewing else "255.255.255.255", 68))


def open_socket(interface):
    """To be called in the modem's namespace; bound to the interface, so it is made anew at each plug."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
    server.bind(("0.0.0.0", 67))
    return server
