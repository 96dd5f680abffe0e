"""What a QEMU hub says of its power switching, changed while it runs.

QEMU's hubs either switch each port singly and say so, or switch nothing and say so. Racks have others: hubs that say they
switch and don't, and hubs that say that their ports go off together. To a host that only asks, both are a hub of the second
kind with another word in its descriptor: the word is in a constant of the program, and is changed in the memory of this one
process.
"""
import re

# The descriptor's seven constant bytes, 00 29 00 0a 00 01 00; the fourth is the word's lower half. Debian's compiler made
# two instructions of them, each storing four bytes, the second over the last of the first.
DESCRIPTOR = re.compile(rb"\x00\x29\x00\x0a(?:\x00\x01\x00|.{1,6}\x0a\x00\x01\x00)", re.S)
NONE, SINGLY, GANGED = 0x0A, 0x09, 0x08


class NotFound(Exception):
    pass


class HubWord:
    """The characteristics that hubs with port-power=off tell; those with port-power=on always say SINGLY."""

    def __init__(self, pid):
        self._memory = f"/proc/{pid}/mem"
        found = list(_places(pid))
        if len(found) != 1:
            raise NotFound(f"{len(found)} hub descriptors in QEMU's memory: this QEMU needs another way")
        self._addresses = found[0]

    def set(self, value):
        with open(self._memory, "r+b", buffering=0) as memory:
            for address in self._addresses:
                memory.seek(address)
                memory.write(bytes((value,)))


def _places(pid):
    with open(f"/proc/{pid}/maps") as file:
        lines = file.readlines()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in lines:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r..p .*/qemu-system-x86_64$", line)
            if found:
                start, end = (int(each, 16) for each in found.groups())
                memory.seek(start)
                content = memory.read(end - start)
                for each in DESCRIPTOR.finditer(content):
                    yield {start + each.start() + 3, start + each.end() - 4}
