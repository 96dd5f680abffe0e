"""The virtual machine's root image, kernel and initial ramdisk: made once from Debian's packages, cached by the hash of
what they are made from.

Packages are unpacked, not configured: maintainer scripts would cost more than all the rest, and this machine needs none.
"""
import contextlib
import fcntl
import glob
import hashlib
import lzma
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
OVERLAY = os.path.join(HERE, "overlay")
SUITE = "bookworm"

PACKAGES = [
    # the base
    "base-files", "base-passwd", "bash", "coreutils", "dash", "findutils", "grep", "gzip", "hostname", "libc-bin", "login",
    "mount", "passwd", "procps", "sed", "tar", "util-linux", "busybox-static", "kmod", "systemd", "systemd-sysv", "udev",
    # what the programs need
    "libuv1", "libcurl4", "libnl-3-200", "libnl-route-3-200", "libc-ares2", "libyaml-cpp0.7", "libfmt9", "libpugixml1v5",
    "libssl3", "libseccomp2", "libudev1", "libusb-1.0-0", "nftables", "iproute2", "udhcpc",
    # what the scenarios need
    "curl", "python3-minimal", "libpython3-stdlib",
]
# Parts of the kernel's package that this machine can use.
MODULES = [
    "crypto", "lib", "drivers/usb", "drivers/virtio", "drivers/block/virtio_blk.ko", "drivers/net/usb/[!c]*", "drivers/net/usb/cdc_[!s]*",
    "drivers/net/mii.ko", "drivers/net/virtio_net.ko", "drivers/net/net_failover.ko", "drivers/net/veth.ko", "drivers/net/wwan",
    "drivers/char/virtio_console.ko", "drivers/scsi", "drivers/cdrom", "fs/ext4", "fs/jbd2", "fs/mbcache.ko", "fs/nls",
    "fs/isofs", "fs/configfs", "net/core", "net/ipv4", "net/ipv6", "net/netfilter", "net/802", "net/llc",
]
# Units that cost emulated seconds and do nothing for this machine.
MASKED = [
    "dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount",
    "modprobe@.service", "kmod-static-nodes.service", "systemd-fsck-root.service", "systemd-remount-fs.service",
    "systemd-firstboot.service", "first-boot-complete.target", "systemd-machine-id-commit.service", "systemd-sysusers.service",
    "systemd-hwdb-update.service", "ldconfig.service", "systemd-journal-catalog-update.service", "systemd-journal-flush.service",
    "systemd-update-done.service", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service",
    "systemd-random-seed.service", "systemd-binfmt.service", "systemd-pstore.service", "systemd-boot-random-seed.service",
    "systemd-tmpfiles-clean.timer", "systemd-logind.service", "systemd-user-sessions.service", "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path", "getty.target", "getty-static.service", "getty@.service", "serial-getty@.service",
    "remote-fs.target", "nss-user-lookup.target", "systemd-rfkill.socket", "systemd-initctl.socket", "systemd-networkd-wait-online.service",
    "proc-sys-fs-binfmt_misc.automount", "nftables.service", "procps.service",
]
BOOT_MODULES = ["virtio_pci", "virtio_blk", "ext4", "crc32c_generic"]
SIZE_MIB = 768


class Unavailable(Exception):
    """Why there can't be a laboratory here, and what would help."""


@dataclass(frozen=True)
class Image:
    root: str           # ext4, never written: the machine works on a snapshot
    kernel: str
    initrd: str


def cache_dir():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "dongle-supervisor", "lab")


def key():
    """The hash of what the image is made from."""
    digest = hashlib.sha256()
    paths = [os.path.abspath(__file__)]
    for folder, folders, files in os.walk(OVERLAY):
        folders.sort()
        paths += [os.path.join(folder, name) for name in sorted(files)]
    for path in paths:
        digest.update(os.path.relpath(path, HERE).encode() + b"\0")
        digest.update(os.readlink(path).encode() if os.path.islink(path) else _read(path))
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def ensure():
    """The image from the cache, or made now. Two callers at once make it once."""
    folder = cache_dir()
    os.makedirs(folder, exist_ok=True)
    stem = os.path.join(folder, key())
    image = Image(stem + ".ext4", stem + ".vmlinux", stem + ".initrd")
    with open(os.path.join(folder, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(map(os.path.exists, (image.root, image.kernel, image.initrd))):
            _make(image, folder)
    return image


def _make(image, folder):
    for tool in ("mmdebstrap", "mkfs.ext4", "busybox"):
        if not shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            raise Unavailable(f"{tool} is missing: apt install mmdebstrap e2fsprogs busybox")
    if os.geteuid() != 0:
        raise Unavailable("makes a root file system: needs root")
    for old in glob.glob(os.path.join(folder, "*.*")):      # of other hashes: one image is enough
        with contextlib.suppress(OSError):
            os.unlink(old)
    work = tempfile.mkdtemp(prefix="making-", dir=folder)
    try:
        root = os.path.join(work, "root")
        _unpack(root, os.path.join(work, "kernel"))
        version = _install_kernel(root, os.path.join(work, "kernel"), image.kernel + ".new")
        _configure(root)
        _make_initrd(root, version, os.path.join(work, "initrd"), image.initrd + ".new")
        _run("mkfs.ext4", "-q", "-F", "-d", root, "-L", "lab", "-m", "0", "-O", "^metadata_csum,^64bit", image.root + ".new",
             f"{SIZE_MIB}M")
        for path in (image.kernel, image.initrd, image.root):
            os.rename(path + ".new", path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        for path in glob.glob(os.path.join(folder, "*.new")):
            os.unlink(path)


def _unpack(root, kernel):
    os.makedirs(kernel)
    # usr-merged, as Debian is; and the kernel's package apart, as it is unpacked in parts.
    merge = 'cd "$1" && mkdir -p usr/bin usr/sbin usr/lib usr/lib64 && for each in bin sbin lib lib64; do ln -s usr/$each $each; done'
    download = (f'cd {kernel} && export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" && '
                'apt-get -qq download "$(apt-cache depends linux-image-amd64 | sed -n "s/^ *Depends: //p")"')
    _run("mmdebstrap", "--quiet", "--mode=root", "--variant=extract", "--skip=check/qemu", "--include=" + ",".join(PACKAGES),
         '--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"', "--setup-hook=" + merge,
         "--extract-hook=" + download, SUITE, root)


def _install_kernel(root, kernel, target):
    """Unpacks the parts that are wanted; returns the version."""
    package, = glob.glob(os.path.join(kernel, "*.deb"))
    parts = [f"./lib/modules/*/kernel/{part}" for part in MODULES] + ["./lib/modules/*/modules.*", "./boot/vmlinuz-*"]
    unpack = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
    _run("tar", "-x", "-C", root, "--keep-directory-symlink", "--wildcards", *parts, stdin=unpack.stdout)
    unpack.stdout.close()
    if unpack.wait():
        raise Unavailable(f"can't unpack {os.path.basename(package)}")
    found, = glob.glob(os.path.join(root, "boot", "vmlinuz-*"))
    with open(target, "wb") as file:
        file.write(_unpacked_kernel(_read(found)))
    os.unlink(found)
    version = os.path.basename(found).removeprefix("vmlinuz-")
    _run("chroot", root, "depmod", version)
    return version


def _unpacked_kernel(bzimage):
    """The ELF file inside: QEMU starts it directly (PVH), and unpacking it emulated would cost nine seconds a boot."""
    sectors = bzimage[0x1F1] or 4
    offset, length = struct.unpack_from("<II", bzimage, 0x248)      # payload_offset, payload_length of the boot protocol
    start = (sectors + 1) * 512 + offset
    try:
        return lzma.LZMADecompressor().decompress(bzimage[start:start + length])
    except lzma.LZMAError:
        raise Unavailable("the kernel isn't packed with xz any more: teach image.py the new way") from None


def _configure(root):
    """What maintainer scripts would have done, as far as it matters here."""
    for name in ("passwd", "group"):
        shutil.copy(os.path.join(root, "usr/share/base-passwd", name + ".master"), os.path.join(root, "etc", name))
    for folder in ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/lib/systemd/system-generators",
                   "var/cache/apt", "var/lib/apt/lists", "etc/apt"):
        shutil.rmtree(os.path.join(root, folder), ignore_errors=True)
    _run("chroot", root, "ldconfig")
    _run("chroot", root, "systemd-sysusers")
    units = os.path.join(root, "etc/systemd/system")
    for name in MASKED:
        os.symlink("/dev/null", os.path.join(units, name))
    os.symlink("/usr/lib/systemd/system/multi-user.target", os.path.join(units, "default.target"))
    shutil.copytree(OVERLAY, root, symlinks=True, dirs_exist_ok=True)
    for path, text in {"etc/hostname": "lab\n", "etc/fstab": "", "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
                       "etc/hosts": "127.0.0.1 localhost lab\n"}.items():
        with open(os.path.join(root, path), "w") as file:
            file.write(text)


INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in %s; do /bin/busybox insmod /$module; done
/bin/busybox mount -t ext4 -o noatime /dev/vda /root || exec /bin/busybox poweroff -f
# The programs under test, as the second disk brings them: before systemd and udev look for units and rules.
/bin/busybox tar -x -f /dev/vdb -C /root
exec /bin/busybox switch_root /root /usr/lib/systemd/systemd
"""


def _make_initrd(root, version, work, target):
    """busybox, and the modules that the kernel needs to see its disk."""
    for folder in ("bin", "dev", "root"):
        os.makedirs(os.path.join(work, folder))
    shutil.copy(os.path.join(root, "bin/busybox"), os.path.join(work, "bin"))
    modules = _with_dependencies(os.path.join(root, "lib/modules", version), BOOT_MODULES)
    for path in modules:
        shutil.copy(path, work)
    with open(os.path.join(work, "init"), "w") as file:
        file.write(INIT % " ".join(map(os.path.basename, modules)))
    os.chmod(os.path.join(work, "init"), 0o755)
    files = [os.path.relpath(os.path.join(folder, name), work) for folder, folders, names in os.walk(work)
             for name in (*folders, *names)]
    with open(target, "wb") as out:
        subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=work, input="\n".join(files) + "\n", text=True,
                       stdout=out, stderr=subprocess.DEVNULL, check=True)


def _with_dependencies(folder, names):
    """The modules' paths, each after what it needs."""
    needs = {}
    with open(os.path.join(folder, "modules.dep")) as file:
        for line in file:
            path, _, rest = line.partition(":")
            needs[path] = rest.split()
    by_name = {os.path.basename(path).removesuffix(".ko").replace("-", "_"): path for path in needs}
    order = []

    def add(path):
        for each in needs[path]:
            add(each)
        if path not in order:
            order.append(path)
    for name in names:
        add(by_name[name])
    return [os.path.join(folder, path) for path in order]


def _run(*command, stdin=subprocess.DEVNULL):
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    child = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                             env=os.environ | {"PATH": path, "LC_ALL": "C", "TMPDIR": "/tmp"}, start_new_session=True)
    try:
        said = child.communicate()[0]
    except BaseException:
        child.terminate()           # and wait: mmdebstrap takes its mounts down
        child.wait()
        raise
    if child.returncode:
        raise Unavailable(f"{command[0]} failed: {' | '.join(said.strip().splitlines()[-3:])}")


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _end_with_parent():
    import ctypes
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)      # PR_SET_PDEATHSIG


if __name__ == "__main__":
    _end_with_parent()
    try:
        print(ensure().root)
    except Unavailable as error:
        print(f"lab image: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
