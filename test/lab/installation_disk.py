"""The CD-ROM with drivers for other systems that a stick shows until it is told to be a modem: bulk-only SCSI, no medium."""
import struct

SWITCH = bytes.fromhex("55534243123456780000000000000011062000000101000100000000000000")
COMMAND, STATUS = struct.Struct("<4sIIBBB16s"), struct.Struct("<4sIIB")
GOOD, FAILED = 0, 1
NO_MEDIUM = bytes((0x70, 0, 2, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x3A, 0, 0, 0, 0, 0))
INQUIRY = bytes((5, 0x80, 2, 2, 31, 0, 0, 0)) + b"HUAWEI  Mass Storage    2.31"


def answer(command):
    """What the disk sends back for what came to its bulk endpoint: a list of transfers. "switch" instead of the list if it
    was the message that makes it a modem, None if it is no command at all."""
    if command == SWITCH:
        return "switch"
    if len(command) != COMMAND.size or command[:4] != b"USBC":
        return None
    _, tag, length, flags, _, _, block = COMMAND.unpack(command)
    data, status = {0x12: (INQUIRY, GOOD), 0x03: (NO_MEDIUM, GOOD)}.get(block[0], (b"", FAILED))
    data = data[:length]
    transfers = [data] if flags & 0x80 and length else []
    return transfers + [STATUS.pack(b"USBS", tag, length - len(data), status)]
