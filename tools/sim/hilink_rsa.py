"""Encrypted POST bodies, as newer sticks want them: hex of RSA blocks over base64 of the XML."""
import base64
import functools
import hashlib
import subprocess
from dataclasses import dataclass

from netns import SimError


class Undecipherable(Exception):
    pass


@dataclass(frozen=True)
class Key:
    n: int
    e: int
    d: int

    def size(self):
        return (self.n.bit_length() + 7) // 8

    def decrypt(self, text, oaep):
        """The XML behind a body's hex digits."""
        try:
            wire = bytes.fromhex(text.decode("ascii"))
            size = self.size()
            if not wire or len(wire) % size:
                raise Undecipherable
            unpad = unpad_oaep if oaep else unpad_pkcs1
            return base64.b64decode(b"".join(
                unpad(pow(int.from_bytes(wire[offset:offset + size]), self.d, self.n).to_bytes(size))
                for offset in range(0, len(wire), size)), validate=True)
        except ValueError:
            raise Undecipherable from None


def unpad_pkcs1(block):
    end = block.find(b"\0", 2)
    if block[:2] != b"\0\2" or end < 10:
        raise Undecipherable
    return block[end + 1:]


def _mask(seed, length):
    return b"".join(hashlib.sha1(seed + count.to_bytes(4)).digest() for count in range(-(-length // 20)))[:length]


def _xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right))


def unpad_oaep(block):
    masked_seed, masked_data = block[1:21], block[21:]
    seed = _xor(masked_seed, _mask(masked_data, 20))
    data = _xor(masked_data, _mask(seed, len(masked_data)))
    end = data.find(b"\1", 20)
    if block[0] or data[:20] != hashlib.sha1(b"").digest() or end < 0 or data[20:end].strip(b"\0"):
        raise Undecipherable
    return data[end + 1:]


@functools.cache
def generated_key():
    """One for the whole rack, made when the first modem asks for it."""
    try:
        pem = subprocess.run(["openssl", "genrsa", "-traditional", "2048"], check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise SimError("enc=1 needs openssl: apt install openssl") from None
    _, n, e, d, *_ = _integers(base64.b64decode("".join(pem.split("-----")[2].split())))
    return Key(n, e, d)


def _integers(der):
    """The members of a DER SEQUENCE of INTEGERs."""
    def length_at(offset):
        first = der[offset]
        if first < 128:
            return first, offset + 1
        count = first & 127
        return int.from_bytes(der[offset + 1:offset + 1 + count]), offset + 1 + count
    _, offset = length_at(1)
    values = []
    while offset < len(der):
        length, offset = length_at(offset + 1)
        values.append(int.from_bytes(der[offset:offset + length]))
        offset += length
    return values
