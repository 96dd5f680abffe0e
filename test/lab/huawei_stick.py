"""A stick that QEMU hasn't got: Huawei's ids, an installation disk, an NCM configuration. This process plays the device
(usb-redir), a thread a stick; the network card's frames go to and from the modem's tap.
"""
import os
import selectors
import socket
import struct
import threading
from collections import deque

import descriptors
import installation_disk
import usbredir

MOST_FRAMES = 256           # that wait for the guest to ask for them; more are dropped, as by any card
SWITCH_TIME = 1.0           # from the switch message to the network card, seconds
GET_DESCRIPTOR, GET_NTB_PARAMETERS = 6, 0x80
# As CDC NCM has them: 16-bit blocks of 2 KiB both ways, alignment 4.
NTB_PARAMETERS = struct.pack("<HHIHHHHIHHHH", 28, 1, 2048, 4, 0, 4, 0, 2048, 4, 0, 4, 0)
CONNECTED = bytes((0xA1, 0, 1, 0, 0, 0, 0, 0))


class HuaweiStick:
    """chardev_path: QEMU's socket of the usb-redir device, which has to be there already. tap: descriptor; stays the
    caller's. on_switch() is called, from the stick's thread, when it becomes a network card."""

    def __init__(self, chardev_path, tap, mac, device=descriptors.HILINK, on_switch=lambda: None):
        self._tap, self._mac, self.device = tap, mac, device
        self._on_switch = on_switch
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.connect(chardev_path)
        self._parser = usbredir.Parser()
        self._configuration, self._alternates = None, {}
        self._wanted_in = deque()           # (id, endpoint, length) of bulk reads that wait for data
        self._frames, self._disk_data = deque(maxlen=MOST_FRAMES), deque()
        self._timer = None
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        """Off the bus."""
        self._wake.close()
        self._thread.join(5)
        if self._timer:
            self._timer.cancel()
        self._socket.close()
        self._woken.close()

    # --- the thread -----------------------------------------------------------------------------------------

    def _run(self):
        with selectors.DefaultSelector() as selector:
            for each in (self._socket, self._tap, self._woken):
                selector.register(each, selectors.EVENT_READ)
            self._socket.sendall(usbredir.hello())
            self._appear()
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._woken:
                        word = self._woken.recv(1)
                        if not word:
                            return
                        self._appear()
                    elif key.fileobj is self._socket:
                        data = self._receive()
                        if not data:
                            return
                        for message in self._parser.feed(data):
                            self._handle(*message)
                    else:
                        self._take_frame()

    def _receive(self):
        try:
            return self._socket.recv(1 << 16)
        except OSError:
            return b""

    def _send(self, kind, id=0, body=b""):
        try:
            self._socket.sendall(usbredir.message(kind, id, body))
        except OSError:
            pass                # QEMU took the device away

    def _appear(self):
        self._configuration, self._alternates = None, {}
        self._wanted_in.clear()
        self._tell_interfaces(self.device.configurations[0])
        self._socket.sendall(usbredir.device_connect(descriptors.VENDOR, self.device.product, 0x0102, self.device.device_class))

    def _tell_interfaces(self, configuration):
        active = configuration.active(self._alternates) if configuration else []
        self._socket.sendall(usbredir.ep_info({
            address: (kind, interval, each.number, size) for each in active for address, kind, size, interval in each.endpoints}))
        self._socket.sendall(usbredir.interface_info([(each.number, *each.kind) for each in active]))

    # --- what the host asks ---------------------------------------------------------------------------------

    def _handle(self, kind, id, body):
        if self.device is descriptors.MUTE:
            return
        if kind == usbredir.SET_CONFIGURATION:
            self._configuration, self._alternates = self.device.configuration(body[0]), {}
            self._wanted_in.clear()
            self._tell_interfaces(self._configuration)
            self._send(usbredir.CONFIGURATION_STATUS, id, bytes((usbredir.SUCCESS, body[0])))
        elif kind == usbredir.GET_CONFIGURATION:
            value = self._configuration.value if self._configuration else 0
            self._send(usbredir.CONFIGURATION_STATUS, id, bytes((usbredir.SUCCESS, value)))
        elif kind == usbredir.SET_ALT_SETTING:
            self._alternates[body[0]] = body[1]
            self._tell_interfaces(self._configuration)
            self._send(usbredir.ALT_SETTING_STATUS, id, bytes((usbredir.SUCCESS, body[0], body[1])))
        elif kind == usbredir.GET_ALT_SETTING:
            self._send(usbredir.ALT_SETTING_STATUS, id, bytes((usbredir.SUCCESS, body[0], self._alternates.get(body[0], 0))))
        elif kind == usbredir.START_INTERRUPT_RECEIVING:
            self._send(usbredir.INTERRUPT_RECEIVING_STATUS, id, bytes((usbredir.SUCCESS, body[0])))
            self._send(usbredir.INTERRUPT_PACKET, 0, struct.pack("<BBH", body[0], usbredir.SUCCESS, len(CONNECTED)) + CONNECTED)
        elif kind == usbredir.STOP_INTERRUPT_RECEIVING:
            self._send(usbredir.INTERRUPT_RECEIVING_STATUS, id, bytes((usbredir.SUCCESS, body[0])))
        elif kind == usbredir.CONTROL_PACKET:
            self._control(id, body)
        elif kind == usbredir.BULK_PACKET:
            self._bulk(id, body)
        elif kind == usbredir.CANCEL_DATA_PACKET:
            self._cancel(id)
        elif kind == usbredir.RESET:
            self._alternates = {}
            self._wanted_in.clear()

    def _control(self, id, body):
        endpoint, request, kind, _, value, index, length = usbredir.CONTROL_HEADER.unpack_from(body)
        reply = b""
        if kind & 0x80:
            reply = self._describe(value) if (kind, request) == (0x80, GET_DESCRIPTOR) else self._read(kind, request)
        status = usbredir.STALL if reply is None else usbredir.SUCCESS
        reply = (reply or b"")[:length]
        self._send(usbredir.CONTROL_PACKET, id, usbredir.CONTROL_HEADER.pack(
            endpoint, request, kind, status, value, index, len(reply) if kind & 0x80 else length) + reply)

    def _describe(self, value):
        kind, number = value >> 8, value & 0xFF
        if kind == 1:
            return self.device.bytes()
        if kind == 2 and number < len(self.device.configurations):
            return self.device.configurations[number].bytes()
        if kind == 3 and number == 0:
            return bytes((4, 3, 9, 4))
        if kind == 3:
            text = self._mac.replace(":", "").upper() if number == 3 else descriptors.STRINGS.get(number)
            return text and descriptors.string(text)
        return None

    def _read(self, kind, request):
        if (kind, request) == (0xA1, GET_NTB_PARAMETERS):
            return NTB_PARAMETERS
        if (kind, request) == (0xA1, 0xFE):         # a disk's highest logical unit
            return b"\0"
        if (kind & 0x60, request) == (0, 0):        # GET_STATUS
            return b"\0\0"
        return None

    def _bulk(self, id, body):
        endpoint, _, length, _ = usbredir.BULK_HEADER.unpack_from(body)
        if endpoint & 0x80:
            self._wanted_in.append((id, endpoint, length))
            self._feed_reads()
            return
        self._send(usbredir.BULK_PACKET, id, usbredir.BULK_HEADER.pack(endpoint, usbredir.SUCCESS, length, 0))
        data = body[usbredir.BULK_HEADER.size:]
        if self.device is descriptors.ZERO_CD:
            self._command(data)
        elif len(data) >= 14:
            try:
                os.write(self._tap, data)
            except OSError:
                pass            # the modem is off

    def _cancel(self, id):
        for each in self._wanted_in:
            if each[0] == id:
                self._wanted_in.remove(each)
                self._send(usbredir.BULK_PACKET, id, usbredir.BULK_HEADER.pack(each[1], usbredir.CANCELLED, 0, 0))
                return

    def _take_frame(self):
        try:
            self._frames.append(os.read(self._tap, 2048))
        except OSError:
            return
        self._feed_reads()

    def _feed_reads(self):
        waiting = self._disk_data if self.device is descriptors.ZERO_CD else self._frames
        while waiting and self._wanted_in:
            id, endpoint, length = self._wanted_in.popleft()
            data = waiting.popleft()[:length]
            self._send(usbredir.BULK_PACKET, id, usbredir.BULK_HEADER.pack(endpoint, usbredir.SUCCESS, len(data), 0) + data)

    def _command(self, data):
        transfers = installation_disk.answer(data)
        if transfers == "switch":
            self._send(usbredir.DEVICE_DISCONNECT)
            self.device = descriptors.HILINK
            self._on_switch()
            self._timer = threading.Timer(SWITCH_TIME, self._wake.send, (b"!",))
            self._timer.start()
        elif transfers:
            self._disk_data.extend(transfers)
            self._feed_reads()
