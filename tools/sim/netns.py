"""Network namespaces from one process: sockets, sysctls and commands inside them.

setns() moves only the calling thread, so each visit is a short-lived thread of its own: whatever goes
wrong in there, the rest of the process is still where it was.
"""
import ctypes
import os
import re
import signal
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
RUN_DIR = "/run/netns"

_libc = ctypes.CDLL(None, use_errno=True)


class SimError(Exception):
    """What went wrong and what to do about it, in one line for the person at the terminal."""


def path_of(namespace):
    return f"{RUN_DIR}/{namespace}"


def call_in(namespace, function, *args, **kwargs):
    """Runs function inside the namespace and returns its result (or raises its exception)."""
    result, failure = [], []

    def visit():
        try:
            fd = os.open(path_of(namespace), os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(fd, CLONE_NEWNET) != 0:
                    code = ctypes.get_errno()
                    raise OSError(code, f"setns {namespace}: {os.strerror(code)}")
            finally:
                os.close(fd)
            result.append(function(*args, **kwargs))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=visit)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def run(command, stdin=None):
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())
        raise SimError(f"{' '.join(command)}: {said or f'exit {done.returncode}'}")
    return done.stdout


def ip(*args, namespace=None):
    return run(["ip", *(["-n", namespace] if namespace else []), *args])


def ip_batch(lines, namespace=None):
    if lines:
        run(["ip", *(["-n", namespace] if namespace else []), "-batch", "-"], "\n".join(lines) + "\n")


def nft(namespace, ruleset):
    # A child inherits the namespace of the thread that forks it.
    call_in(namespace, run, ["nft", "-f", "-"], ruleset)


def sysctls(namespace, values):
    def write():
        for key, value in values.items():
            with open("/proc/sys/net/" + key, "w") as file:
                file.write(str(value))
    call_in(namespace, write)


def interface_counters(namespace):
    """{interface: (rx_bytes, tx_bytes)}"""
    def read():
        # /proc/self/net would be that of the main thread.
        with open("/proc/thread-self/net/dev") as file:
            return file.read()
    counters = {}
    for line in call_in(namespace, read).splitlines()[2:]:
        name, _, fields = line.partition(":")
        fields = fields.split()
        counters[name.strip()] = (int(fields[0]), int(fields[8]))
    return counters


def existing(pattern):
    try:
        return sorted(name for name in os.listdir(RUN_DIR) if re.fullmatch(pattern, name))
    except FileNotFoundError:
        return []


def processes_in(namespaces):
    """Process ids whose main thread is in one of the namespaces, in one walk over /proc."""
    ids = set()
    for namespace in namespaces:
        try:
            seen = os.stat(path_of(namespace))
            ids.add((seen.st_dev, seen.st_ino))
        except OSError:
            pass
    pids = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            seen = os.stat(f"/proc/{entry}/ns/net")
        except OSError:
            continue
        if (seen.st_dev, seen.st_ino) in ids:
            pids.append(int(entry))
    return pids


def end_processes(namespaces, grace=2.0):
    """SIGTERM, then SIGKILL for what is still there after the grace; repeated until none is left."""
    for sig, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 2.0)):
        deadline = time.monotonic() + patience
        told = set()
        while pids := processes_in(namespaces):
            for pid in pids:
                if pid not in told:
                    told.add(pid)
                    try:
                        os.kill(pid, sig)
                    except ProcessLookupError:
                        pass
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)    # foreign processes: there is no event to wait for that covers new ones too


def delete(namespaces):
    for namespace in namespaces:
        try:
            ip("netns", "del", namespace)
        except SimError:
            if os.path.exists(path_of(namespace)):
                raise
