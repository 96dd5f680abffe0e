"""The internet's sites: HTTP, TLS, echo, sink, source and DNS, each on an address of its own in NAME-inet."""
import asyncio
import functools
import hashlib
import json
import os
import socket
import ssl
import subprocess
import tempfile
import urllib.parse

import dns
import netns
from device import BACKLOG, listen_tcp, listen_udp
from rack import SITES, SITES6

BLOCK = 65536
MAX_HEAD = 64 * 1024
IDLE_TIMEOUT = 300.0
_FIRST_BLOCK = bytes((i ^ i >> 8) & 255 for i in range(BLOCK))


@functools.lru_cache(256)
def _block(number):
    flip = number & 255
    return _FIRST_BLOCK.translate(bytes(value ^ flip for value in range(256)))


def pattern(offset, length):
    """Byte i of every generated body is (i ^ i >> 8 ^ i >> 16) & 255."""
    parts = []
    while length > 0:
        inside = offset % BLOCK
        part = _block(offset // BLOCK)[inside:inside + length]
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return b"".join(parts)


class Sites:
    """HTTP: what is served depends on the path, and on the Host only where noted."""

    def __init__(self, on_hit):
        self._on_hit = on_hit

    async def serve(self, reader, writer):
        try:
            while await asyncio.wait_for(self._exchange(reader, writer), IDLE_TIMEOUT):
                pass
        except (ConnectionError, OSError, asyncio.TimeoutError, asyncio.IncompleteReadError,
                asyncio.LimitOverrunError, ssl.SSLError, ValueError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        request_line = head[0]
        method, target, version = request_line.split(" ")
        fields = [(name.strip(), value.strip()) for name, colon, value in
                  (line.partition(":") for line in head[1:]) if colon]
        headers = {name.lower(): value for name, value in fields}
        if target.startswith(("http://", "https://")):
            target = "/" + target.split("://", 1)[1].partition("/")[2]
        url = urllib.parse.urlsplit(target)
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        source = writer.get_extra_info("peername")[0]
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"

        async def answer(status, body, content_type="text/plain", extra=()):
            self._on_hit(source=source, host=host, method=method, path=target, status=status)
            writer.write(self._head(status, len(body), content_type, keep, extra) +
                         (b"" if method == "HEAD" or status == 204 else body))
            await writer.drain()

        upload = await self._read_body(reader, writer, headers)
        parts = [part for part in url.path.split("/") if part]
        first = parts[0] if parts else ""
        numbers = [int(part) for part in parts[1:] if part.isdigit()]
        if host in ("ip.test", "ip6.test", "checkip.amazonaws.com") and not parts or first == "ip":
            await answer(200, f"{source}\n".encode())
        elif first == "json":
            await answer(200, json.dumps({"ip": source}).encode(), "application/json")
        elif first == "generate_204":
            await answer(204, b"")
        elif first == "success.txt":
            await answer(200, b"success\n")
        elif first == "headers":
            await answer(200, json.dumps({"request": request_line, "headers": fields, "source": source}).encode(),
                         "application/json")
        elif first == "upload":
            length, digest = upload
            await answer(200, json.dumps({"bytes": length, "sha256": digest}).encode(), "application/json")
        elif first == "status" and numbers and 200 <= numbers[0] <= 599:
            await answer(numbers[0], f"{numbers[0]}\n".encode())
        elif first == "redirect":
            to = urllib.parse.parse_qs(url.query).get("to", ["/"])[0].replace("\r", "").replace("\n", "")
            await answer(302, b"", extra=[("Location", to)])
        elif first in ("bytes", "chunked", "slow", "drip"):
            self._on_hit(source=source, host=host, method=method, path=target, status=200)
            await self._generate(writer, first, numbers, keep, method == "HEAD")
        elif not parts:
            await answer(200, b"dongle-sim\n")
        else:
            await answer(404, b"not found\n")
        return keep

    @staticmethod
    def _head(status, length, content_type, keep, extra=()):
        reason = {200: "OK", 204: "No Content", 302: "Found", 404: "Not Found"}.get(status, "Status")
        lines = [f"HTTP/1.1 {status} {reason}", f"Content-Type: {content_type}", "Cache-Control: no-store"]
        if length is None:
            lines.append("Transfer-Encoding: chunked")
        elif status != 204:
            lines.append(f"Content-Length: {length}")
        lines += [f"{name}: {value}" for name, value in extra]
        lines.append(f"Connection: {'keep-alive' if keep else 'close'}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    @staticmethod
    async def _read_body(reader, writer, headers):
        """(length, sha256 in hex)"""
        digest, length = hashlib.sha256(), 0
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
                digest.update(await reader.readexactly(size))
                length += size
                await reader.readexactly(2)
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
        else:
            left = int(headers.get("content-length", "0"))
            while left > 0:
                part = await reader.read(min(left, 1 << 18))
                if not part:
                    raise ConnectionError("cut off")
                digest.update(part)
                length += len(part)
                left -= len(part)
        return length, digest.hexdigest()

    async def _generate(self, writer, kind, numbers, keep, head_only):
        """bytes/N, chunked/N, slow/N/BYTES_PER_SECOND, drip[/N]: one byte a second."""
        length = numbers[0] if numbers else 60
        rate = 1 if kind == "drip" else numbers[1] if kind == "slow" and len(numbers) > 1 else 0
        chunked = kind == "chunked"
        writer.write(self._head(200, None if chunked else length, "application/octet-stream", keep))
        if head_only:
            return
        step = BLOCK if not rate else max(1, rate // 20)
        offset = 0
        while offset < length:
            part = pattern(offset, min(step, length - offset))
            writer.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
            await writer.drain()
            offset += len(part)
            if rate:
                await asyncio.sleep(len(part) / rate)
        if chunked:
            writer.write(b"0\r\n\r\n")
        await writer.drain()


class _UdpEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, packet, peer):
        self._transport.sendto(packet, peer)

    def error_received(self, error):
        pass


def _quiet(serve):
    async def wrapped(reader, writer):
        try:
            await serve(reader, writer)
        except (ConnectionError, OSError):
            pass
        finally:
            writer.close()
    return wrapped


@_quiet
async def _echo(reader, writer):
    while part := await reader.read(BLOCK):
        writer.write(part)
        await writer.drain()


@_quiet
async def _sink(reader, writer):
    """Counts to the end of what the client sends, then says how much it was."""
    count = 0
    while part := await reader.read(BLOCK * 4):
        count += len(part)
    writer.write(f"{count}\n".encode())
    await writer.drain()


@_quiet
async def _source(_reader, writer):
    offset = 0
    while True:
        writer.write(pattern(offset, BLOCK))
        await writer.drain()
        offset += BLOCK


class Internet:
    def __init__(self, space, on_query, on_hit):
        self._space = space
        self._sites = Sites(on_hit)
        self._dns = dns.Server(dns.Zone(), on_query)
        self._servers = {}          # fault name or running number -> server
        self.faults = {}

    async def start(self):
        for key, site in (("probe_down", "connectivity"), ("success_down", "success"), ("ip_down", "ip"),
                          ("main", "main"), ("download", "download"), ("https80", "https"), ("dns80", "dns"),
                          ("echo80", "echo")):
            await self._http(key, SITES[site])
        for name, address in SITES6.items():
            await self._http(name + "6", address, socket.AF_INET6)
        for port, serve in ((7, _echo), (9, _sink), (19, _source)):
            await self._tcp(f"echo{port}", serve, SITES["echo"], port)
        await self._udp(_UdpEcho, SITES["echo"], 7)
        await self._udp(lambda: dns.UdpService(lambda packet, source: self._dns.answer(packet, source, True)),
                        SITES["dns"], 53)
        await self._tcp("dns", self._dns_tcp, SITES["dns"], 53)
        if (context := await asyncio.get_running_loop().run_in_executor(None, _certificate)) is not None:
            await self._tcp("https", self._sites.serve, SITES["https"], 443, ssl=context)

    async def _dns_tcp(self, reader, writer):
        source = writer.get_extra_info("peername")[0]
        await dns.serve_tcp(reader, writer, lambda packet: self._dns.answer(packet, source, False))

    async def _http(self, key, address, family=socket.AF_INET):
        await self._tcp(key, self._sites.serve, address, 80, family)

    async def _tcp(self, key, serve, address, port, family=socket.AF_INET, **extra):
        sock = netns.call_in(self._space, listen_tcp, port, address, family)
        self._servers[key] = await asyncio.start_server(serve, sock=sock, limit=MAX_HEAD, backlog=BACKLOG, **extra)

    async def _udp(self, protocol, address, port):
        sock = netns.call_in(self._space, listen_udp, port, address)
        await asyncio.get_running_loop().create_datagram_endpoint(protocol, sock=sock)

    def stop(self):
        for server in self._servers.values():
            server.close()

    async def set_fault(self, name, on):
        if on == (name in self.faults):
            return
        if name == "dns_down":
            self._dns.silent = on
        elif on:
            self._servers.pop(name).close()
        else:
            site = {"probe_down": "connectivity", "success_down": "success", "ip_down": "ip"}[name]
            await self._http(name, SITES[site])
        if on:
            self.faults[name] = None
        else:
            del self.faults[name]


def _certificate():
    """A TLS context with a certificate of this moment, or None where there is no openssl."""
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = os.path.join(folder, "key"), os.path.join(folder, "certificate")
        try:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                            "-nodes", "-keyout", key, "-out", certificate, "-days", "30", "-subj", "/CN=https.test",
                            "-addext", "subjectAltName=DNS:https.test,IP:203.0.113.83"],
                           check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context
