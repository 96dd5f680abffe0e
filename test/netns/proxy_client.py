"""A proxy's client made of bytes: what curl can't be made to send."""
import ipaddress
import socket
import struct


def address_bytes(host):
    """ATYP and address of a SOCKS5 request, for an address or a name."""
    if isinstance(host, bytes):
        return bytes([3, len(host)]) + host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return bytes([3, len(host)]) + host.encode()
    return bytes([1 if address.version == 4 else 4]) + address.packed


def socks_request(host, port, command=1):
    return bytes([5, command, 0]) + address_bytes(host) + struct.pack("!H", port)


def http_get(path="/", host="ip.test", close=True):
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{'Connection: close' if close else 'X-Keep: 1'}\r\n\r\n".encode()


class ProxyClient:
    def __init__(self, sock):
        self.sock = sock
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data, step=0):
        """All at once, or `step` bytes a segment."""
        if not step:
            self.sock.sendall(data)
            return
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), step):
            self.sock.sendall(data[start:start + step])

    def end(self):
        """No more from our side."""
        self.sock.shutdown(socket.SHUT_WR)

    def read(self, length):
        """Exactly so many bytes, or fewer at the end of the stream."""
        while len(self._buffer) < length:
            part = self._receive()
            if not part:
                break
            self._buffer += part
        taken, self._buffer = self._buffer[:length], self._buffer[length:]
        return taken

    def read_all(self):
        """To the end of the stream; b"" if it was reset."""
        while part := self._receive():
            self._buffer += part
        taken, self._buffer = self._buffer, b""
        return taken

    def read_head(self):
        """An HTTP head, with its empty line."""
        while b"\r\n\r\n" not in self._buffer:
            part = self._receive()
            if not part:
                break
            self._buffer += part
        head, mark, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head + mark

    def _receive(self):
        try:
            return self.sock.recv(1 << 16)
        except ConnectionResetError:
            return b""

    # --- SOCKS5 -----------------------------------------------------------------------------------------------

    def greet(self):
        self.send(b"\5\1\0")
        answer = self.read(2)
        if answer != b"\5\0":
            raise AssertionError(f"the proxy answers a greeting with {answer!r}")

    def reply(self):
        """The REP of a SOCKS5 reply, after checking its shape; None if the connection ended without one."""
        head = self.read(4)
        if not head:
            return None
        if len(head) < 4 or head[0] != 5 or head[2] != 0 or head[3] not in (1, 4):
            raise AssertionError(f"that's no SOCKS5 reply: {head!r}")
        if len(self.read({1: 6, 4: 18}[head[3]])) not in (6, 18):
            raise AssertionError("the SOCKS5 reply was cut off")
        return head[1]

    def request(self, host, port, command=1):
        """Greeting and request: the REP."""
        self.greet()
        self.send(socks_request(host, port, command))
        return self.reply()

    def connect(self, host, port=80):
        """Through the proxy; AssertionError unless it says yes. Returns self, to be used as the tunnel."""
        rep = self.request(host, port)
        if rep != 0:
            raise AssertionError(f"{host}:{port}: REP {rep}")
        return self

    # --- HTTP -------------------------------------------------------------------------------------------------

    def http_status(self):
        """The status of an HTTP answer; None if the connection ended without one."""
        head = self.read_head()
        return int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/1.") else None

    def get(self, path="/", host="ip.test"):
        """One HTTP exchange over the tunnel: the body."""
        self.send(http_get(path, host))
        return self.read_all().partition(b"\r\n\r\n")[2]

    def echo(self, data):
        """Over a tunnel to an echo service: whether it comes back."""
        self.send(data)
        return self.read(len(data)) == data
