"""What Huawei's sticks say of themselves on the bus, as far as drivers look."""
import struct
from dataclasses import dataclass

import usbredir

VENDOR = 0x12D1
STRINGS = {1: "HUAWEI_MOBILE", 2: "HUAWEI_MOBILE"}     # 3: the network card's address


@dataclass(frozen=True)
class Interface:
    number: int
    alternate: int
    kind: tuple             # class, subclass, protocol
    extra: bytes = b""      # class descriptors behind it
    endpoints: tuple = ()   # (address, type, largest packet, interval)

    def bytes(self):
        text = struct.pack("<9B", 9, 4, self.number, self.alternate, len(self.endpoints), *self.kind, 0) + self.extra
        for address, kind, size, interval in self.endpoints:
            text += struct.pack("<BBBBHB", 7, 5, address, kind, size, interval)
        return text


@dataclass(frozen=True)
class Configuration:
    value: int
    interfaces: tuple

    def bytes(self):
        body = b"".join(each.bytes() for each in self.interfaces)
        count = len({each.number for each in self.interfaces})
        return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), count, self.value, 0, 0x80, 250) + body

    def active(self, alternates):
        """The interfaces, with the settings {number: alternate} (default 0)."""
        return [each for each in self.interfaces if each.alternate == alternates.get(each.number, 0)]


@dataclass(frozen=True)
class Device:
    product: int
    configurations: tuple
    device_class: int = 0

    def bytes(self):
        return struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0110, self.device_class, 0, 0, 64, VENDOR, self.product, 0x0102, 1, 2, 0,
                           len(self.configurations))

    def configuration(self, value):
        return next((each for each in self.configurations if each.value == value), None)


def string(text):
    data = text.encode("utf-16-le")
    return bytes((len(data) + 2, 3)) + data


def _ethernet(first, kind, extra=b""):
    """A control interface with its data interface: a CDC network card."""
    functional = (bytes((5, 0x24, 0, 0x10, 1)) + bytes((5, 0x24, 6, first, first + 1))     # header, union
                  + struct.pack("<BBBBIHHB", 13, 0x24, 15, 3, 0, 1514, 0, 0) + extra)      # ethernet; its MAC is string 3
    return (Interface(first, 0, kind, functional, ((0x81, usbredir.INTERRUPT, 16, 32),)),
            Interface(first + 1, 0, (10, 0, kind[2] if kind[1] == 13 else 0)),
            Interface(first + 1, 1, (10, 0, kind[2] if kind[1] == 13 else 0), b"",
                      ((0x82, usbredir.BULK, 64, 0), (0x03, usbredir.BULK, 64, 0))))


ECM, HUAWEI_NCM, VENDOR_SPECIFIC = (2, 6, 0), (0xFF, 2, 0x16), (0xFF, 0xFF, 0xFF)
NCM_FUNCTIONAL = bytes((6, 0x24, 26, 0, 1, 0))

# The network card with the HiLink API.
HILINK = Device(0x14DC, (Configuration(1, _ethernet(0, ECM)),), device_class=2)
# The same in a bad mood: the kernel takes the first configuration if all begin with what is the vendor's own, and that one
# makes a wwan0 that wants a modem manager.
HILINK_NCM = Device(0x14DC, (
    Configuration(1, _ethernet(0, HUAWEI_NCM, NCM_FUNCTIONAL)),
    Configuration(2, (Interface(0, 0, VENDOR_SPECIFIC), *_ethernet(1, ECM)))))
# Broken: it is there, and answers nothing. The kernel asks again and again, and holds its hub meanwhile.
MUTE = Device(0x14DC, (Configuration(1, ()),))
# The installation disk that it is before somebody sends the switch message.
ZERO_CD = Device(0x1F01, (Configuration(1, (
    Interface(0, 0, (8, 6, 80), b"", ((0x81, usbredir.BULK, 64, 0), (0x01, usbredir.BULK, 64, 0))),)),))
