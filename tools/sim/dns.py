"""DNS: the codec, the internet's zone and its server, and the proxy in each modem."""
import asyncio
import ipaddress
import struct
from dataclasses import dataclass, field

from rack import BLACKHOLE, BLACKHOLE6, EXTRA, SITES, SITES6, UNREACHABLE

A, CNAME, TXT, AAAA, ANY = 1, 5, 16, 28, 255
TYPE_NAMES = {A: "A", 2: "NS", CNAME: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", TXT: "TXT", AAAA: "AAAA",
              33: "SRV", 65: "HTTPS", ANY: "ANY"}
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP = 0, 1, 2, 3, 4
QR, AA, TC, RD, RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
UDP_LIMIT = 512


class DnsFormatError(Exception):
    pass


@dataclass
class Question:
    id: int
    flags: int
    name: str
    type: int
    wire: bytes         # the question section as it was asked, so that the answer keeps its letter case


@dataclass
class Answer:
    records: list = field(default_factory=list)     # (owner, type, ttl, value)
    code: int = NOERROR
    delay: float = 0.0
    silent: bool = False
    truncate_udp: bool = False


def encode_name(name):
    wire = b""
    for label in name.rstrip(".").split("."):
        raw = label.encode("ascii", "replace")
        if not 0 < len(raw) < 64:
            raise DnsFormatError(f"bad label in {name}")
        wire += bytes([len(raw)]) + raw
    return wire + b"\0"


def decode_name(packet, offset):
    """(name, offset behind it); follows compression pointers, backwards only."""
    labels, end, limit = [], None, offset
    while True:
        if offset >= len(packet):
            raise DnsFormatError("name runs out of the packet")
        length = packet[offset]
        if length == 0:
            return ".".join(labels), (end if end is not None else offset + 1)
        if length & 0xC0 == 0xC0:
            if offset + 1 >= len(packet):
                raise DnsFormatError("pointer cut off")
            target = (length & 0x3F) << 8 | packet[offset + 1]
            if end is None:
                end = offset + 2
            if target >= limit:
                raise DnsFormatError("pointer doesn't point backwards")
            offset = limit = target
            continue
        if length & 0xC0:
            raise DnsFormatError("unknown label type")
        label = packet[offset + 1:offset + 1 + length]
        if len(label) != length:
            raise DnsFormatError("label cut off")
        labels.append(label.decode("latin-1"))
        offset += 1 + length


def parse_question(packet):
    if len(packet) < 12:
        raise DnsFormatError("no header")
    id, flags, questions = struct.unpack("!HHH", packet[:6])
    if flags & QR or questions != 1:
        raise DnsFormatError("not one question")
    name, end = decode_name(packet, 12)
    if end + 4 > len(packet):
        raise DnsFormatError("question cut off")
    type, _ = struct.unpack("!HH", packet[end:end + 4])
    return Question(id, flags, name.lower(), type, packet[12:end + 4])


def _record(owner, type, ttl, value):
    if type in (A, AAAA):
        data = ipaddress.ip_address(value).packed
    elif type == CNAME:
        data = encode_name(value)
    else:
        raw = value.encode()
        data = bytes([len(raw)]) + raw
    return encode_name(owner) + struct.pack("!HHIH", type, 1, ttl, len(data)) + data


def build_answer(question, answer, udp):
    flags = QR | AA | RA | (question.flags & (RD | 0x7800)) | answer.code
    body = b"".join(_record(*record) for record in answer.records)
    count = len(answer.records)
    if udp and (answer.truncate_udp or 12 + len(question.wire) + len(body) > UDP_LIMIT):
        flags, body, count = flags | TC, b"", 0
    return struct.pack("!HHHHHH", question.id, flags, 1, count, 0, 0) + question.wire + body


def failure(packet, code):
    """An answer without records to whatever was asked, or None if it can't be answered."""
    try:
        return build_answer(parse_question(packet), Answer(code=code), udp=True)
    except DnsFormatError:
        if len(packet) < 12 or packet[2] & 0x80:
            return None
        return packet[:2] + struct.pack("!HHHHH", QR | FORMERR, 0, 0, 0, 0)


class Zone:
    """What the names under .test say."""

    TTL = 60

    def __init__(self):
        main = SITES["main"]
        self._rebind_turn = 0
        self._addresses = {
            "dns.test": [SITES["dns"]], "echo.test": [SITES["echo"]], "ip.test": [SITES["ip"]],
            "connectivity.test": [SITES["connectivity"]], "success.test": [SITES["success"]],
            "download.test": [SITES["download"]], "https.test": [SITES["https"]], "www.test": [main],
            "blackhole.test": [BLACKHOLE], "refused.test": [SITES["refused"]], "unreachable.test": [UNREACHABLE],
            "private.test": ["10.0.0.1"], "loop.test": ["127.0.0.1"], "meta.test": ["169.254.169.254"],
            "zero.test": ["0.0.0.0"], "mapped.test": ["::ffff:127.0.0.1"], "mixed.test": [main, "10.0.0.1"],
            "v6only.test": [SITES6["main"]], "dual.test": [main, BLACKHOLE6], "ip6.test": [SITES6["ip"]],
            "slow.test": [main], "tc.test": [main], "cname3.test": [main], "servfail.test": [], "timeout.test": [],
            "nodata.test": [],
            # The first is the site; the rest are there to be many.
            "many.test": [main, *(f"203.0.113.{n}" for n in range(120, 200))],
            # The names a default configuration asks for.
            "connectivitycheck.gstatic.com": [SITES["connectivity"]], "detectportal.firefox.com": [SITES["success"]],
            "checkip.amazonaws.com": [SITES["ip"]], "example.com": [main],
            "some.test": [main, *EXTRA[:12]],
        }
        for address in EXTRA:
            self._addresses[f"host{address.rpartition('.')[2]}.test"] = [address]
        for last in (1, 2, 8, 10, 11):
            self._addresses[f"lan{last}.test"] = [f"192.168.{last}.1"]
        self._cnames = {
            "cname.test": "cname1.test", "cname1.test": "cname2.test", "cname2.test": "cname3.test",
            "loopcname.test": "loopcname1.test", "loopcname1.test": "loopcname.test",
            "cname-private.test": "private.test",
        }

    def answer(self, name, type):
        if name == "rebind.test":
            if type != A:
                return Answer()
            self._rebind_turn += 1
            return Answer([(name, A, 0, SITES["main"] if self._rebind_turn % 2 else "169.254.169.254")])
        if name == "servfail.test":
            return Answer(code=SERVFAIL)
        records, owner = [], name
        while owner in self._cnames and len(records) < 8:
            records.append((owner, CNAME, self.TTL, self._cnames[owner]))
            owner = self._cnames[owner]
            if owner == name:
                break
        if not records and owner not in self._addresses:
            return Answer(code=NXDOMAIN)
        for address in self._addresses.get(owner, []):
            family = AAAA if ":" in address else A
            if type in (family, ANY):
                records.append((owner, family, self.TTL, address))
        return Answer(records, delay=3.0 if name == "slow.test" else 0.0, silent=name == "timeout.test",
                      truncate_udp=name == "tc.test")


class Server:
    """The internet's name server."""

    def __init__(self, zone, on_query):
        self._zone = zone
        self._on_query = on_query       # (source address, name, type name, "udp" | "tcp")
        self.silent = False

    async def answer(self, packet, source, udp):
        if self.silent:
            return None
        try:
            question = parse_question(packet)
        except DnsFormatError:
            return failure(packet, FORMERR)
        self._on_query(source, question.name, TYPE_NAMES.get(question.type, str(question.type)),
                       "udp" if udp else "tcp")
        if (question.flags >> 11) & 15:
            return failure(packet, NOTIMP)
        answer = self._zone.answer(question.name, question.type)
        if answer.delay:
            await asyncio.sleep(answer.delay)
        return None if answer.silent else build_answer(question, answer, udp)


async def serve_tcp(reader, writer, answer):
    """Length-framed messages, answered one after the other; a message nobody answers keeps the line open."""
    try:
        while True:
            size, = struct.unpack("!H", await asyncio.wait_for(reader.readexactly(2), 30))
            packet = await reader.readexactly(size)
            reply = await answer(packet)
            if reply is not None:
                writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.TimeoutError, ConnectionError, OSError):
        pass
    finally:
        writer.close()


class UdpService(asyncio.DatagramProtocol):
    """Answers each datagram in a task of its own, so that a slow answer delays only itself."""

    LIMIT = 512

    def __init__(self, answer):
        self._answer = answer           # async (packet, source address) -> reply | None
        self._tasks = set()

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, packet, peer):
        if len(self._tasks) >= self.LIMIT:
            return
        task = asyncio.ensure_future(self._reply(packet, peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, packet, peer):
        reply = await self._answer(packet, peer[0])
        if reply is not None and not self._transport.is_closing():
            self._transport.sendto(reply, peer)

    def error_received(self, error):
        pass


class Upstream(asyncio.DatagramProtocol):
    """The modem's way to the internet's name server: one socket, questions told apart by an id of our own."""

    TIMEOUT = 5.0

    def __init__(self):
        self._pending = {}
        self._next_id = 0

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, packet, peer):
        waiting = self._pending.pop(packet[:2], None) if len(packet) >= 12 else None
        if waiting and not waiting.done():
            waiting.set_result(packet)

    def error_received(self, error):
        pass

    async def ask(self, packet):
        if len(packet) < 12 or len(self._pending) >= 4096:
            return None
        self._next_id = (self._next_id + 1) & 0xFFFF
        key = struct.pack("!H", self._next_id)
        waiting = self._pending[key] = asyncio.get_running_loop().create_future()
        try:
            self._transport.sendto(key + packet[2:], (SITES["dns"], 53))
            reply = await asyncio.wait_for(waiting, self.TIMEOUT)
            return packet[:2] + reply[2:]
        except asyncio.TimeoutError:
            return None
        finally:
            self._pending.pop(key, None)


class Proxy:
    """The modem's DNS proxy: relays what its network side asks, over the modem's own connection."""

    def __init__(self, fault, connect_upstream):
        self._fault = fault                         # name -> its argument, True, or None
        self._connect_upstream = connect_upstream   # async () -> (reader, writer) to the internet's name server
        self.upstream = Upstream()

    async def _interfere(self, packet):
        """(take over, reply): what an active fault does with the question."""
        if self._fault("dns_dead") or self._fault("dead_gateway"):
            return True, None
        if self._fault("dns_servfail"):
            return True, failure(packet, SERVFAIL)
        if seconds := self._fault("dns_slow"):
            await asyncio.sleep(seconds)
        return False, None

    async def answer_udp(self, packet, _source):
        taken, reply = await self._interfere(packet)
        return reply if taken else await self.upstream.ask(packet)

    async def answer_tcp(self, packet):
        taken, reply = await self._interfere(packet)
        if taken:
            return reply
        try:
            reader, writer = await asyncio.wait_for(self._connect_upstream(), Upstream.TIMEOUT)
        except (OSError, asyncio.TimeoutError):
            return failure(packet, SERVFAIL)
        try:
            writer.write(struct.pack("!H", len(packet)) + packet)
            size, = struct.unpack("!H", await asyncio.wait_for(reader.readexactly(2), Upstream.TIMEOUT))
            return await reader.readexactly(size)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            return failure(packet, SERVFAIL)
        finally:
            writer.close()
