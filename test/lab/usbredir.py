"""The wire of usb-redir: QEMU is the "guest" of a USB device that this process plays. Protocol version 0.7, without 64-bit
ids, streams and 32-bit lengths, which both sides have to announce to use them.
"""
import struct

(HELLO, DEVICE_CONNECT, DEVICE_DISCONNECT, RESET, INTERFACE_INFO, EP_INFO, SET_CONFIGURATION, GET_CONFIGURATION,
 CONFIGURATION_STATUS, SET_ALT_SETTING, GET_ALT_SETTING, ALT_SETTING_STATUS) = range(12)
START_INTERRUPT_RECEIVING, STOP_INTERRUPT_RECEIVING, INTERRUPT_RECEIVING_STATUS = 15, 16, 17
CANCEL_DATA_PACKET = 21
CONTROL_PACKET, BULK_PACKET, INTERRUPT_PACKET = 100, 101, 103

SUCCESS, CANCELLED, STALL = 0, 1, 4
FULL_SPEED = 1
CAPABILITIES = 1 << 1 | 1 << 4          # connect_device_version, ep_info_max_packet_size

CONTROL, ISO, BULK, INTERRUPT, INVALID = 0, 1, 2, 3, 255

HEADER = struct.Struct("<III")
CONTROL_HEADER = struct.Struct("<BBBBHHH")      # endpoint, request, type, status, value, index, length
BULK_HEADER = struct.Struct("<BBHI")            # endpoint, status, length, stream


def message(kind, id=0, body=b""):
    return HEADER.pack(kind, len(body), id) + body


def hello():
    return message(HELLO, 0, b"dongle-lab".ljust(64, b"\0") + struct.pack("<I", CAPABILITIES))


def device_connect(vendor, product, version, device_class=0):
    return message(DEVICE_CONNECT, 0, struct.pack("<BBBBHHH", FULL_SPEED, device_class, 0, 0, vendor, product, version))


def interface_info(interfaces):
    """interfaces: (number, class, subclass, protocol)"""
    columns = [bytes(column).ljust(32, b"\0") for column in zip(*interfaces)] or [bytes(32)] * 4
    return message(INTERFACE_INFO, 0, struct.pack("<I", len(interfaces)) + b"".join(columns))


def ep_info(endpoints):
    """endpoints: {address: (type, interval, interface, largest packet)}; 0x00 and 0x80 are added."""
    types, intervals, interfaces, sizes = [INVALID] * 32, [0] * 32, [0] * 32, [0] * 32
    types[0] = types[16] = CONTROL
    for address, (kind, interval, interface, size) in endpoints.items():
        slot = (address & 0x80) >> 3 | address & 0x0F
        types[slot], intervals[slot], interfaces[slot], sizes[slot] = kind, interval, interface, size
    return message(EP_INFO, 0, bytes(types) + bytes(intervals) + bytes(interfaces) + struct.pack("<32H", *sizes))


class Parser:
    """Cuts what arrives into (kind, id, body)."""

    def __init__(self):
        self._buffer = b""

    def feed(self, data):
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            kind, length, id = HEADER.unpack_from(self._buffer)
            if len(self._buffer) < HEADER.size + length:
                return
            yield kind, id, self._buffer[HEADER.size:HEADER.size + length]
            self._buffer = self._buffer[HEADER.size + length:]
