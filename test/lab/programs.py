"""What is under test, as the tar archive that the virtual machine unpacks over its root while it boots."""
import io
import os
import tarfile

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
BIN = os.path.join(ROOT, "build", os.environ.get("DONGLE_TEST_PRESET", "release"), "bin")

# Where contract.md has them, or beside what needs them.
PLACES = {
    "dongle-supervisor": "usr/sbin", "donglectl": "usr/bin", "dongle-worker": "usr/libexec/dongle-supervisor",
    "dongle-usb": "usr/libexec/dongle-supervisor", "dhcp-report": "usr/libexec/dongle-supervisor",
}
NEEDED = tuple(PLACES)


def missing():
    return [name for name in NEEDED if not os.path.exists(os.path.join(BIN, name))]


def pack(path, config):
    """config: the daemon's, with which it starts while the machine boots."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, folder in PLACES.items():
            _add(archive, os.path.join(BIN, name), f"{folder}/{name}", 0o755)
        _add_bytes(archive, config.encode(), "etc/dongle-supervisor/config.yaml", 0o644)
        rules = os.path.join(ROOT, "udev")
        for name in sorted(os.listdir(rules)) if os.path.isdir(rules) else []:
            if name.endswith(".rules"):
                _add(archive, os.path.join(rules, name), f"usr/lib/udev/rules.d/{name}", 0o644)
            elif name.endswith((".link", ".network")):
                _add(archive, os.path.join(rules, name), f"usr/lib/systemd/network/{name}", 0o644)


def _add(archive, source, target, mode):
    if not os.path.exists(source):
        return
    with open(source, "rb") as file:
        _add_bytes(archive, file.read(), target, mode)


def _add_bytes(archive, content, target, mode):
    entry = tarfile.TarInfo(target)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
