"""The virtual machine seen from outside: commands, files, sockets and kernel events, through the agent in it."""
import json
import shlex
import socket
import threading
import time
from base64 import b64decode, b64encode
from dataclasses import dataclass


class GuestError(Exception):
    pass


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str
    seconds: float


class Running:
    """A command under way inside; wait() for its end."""

    def __init__(self, guest, id, command, timeout):
        self._guest, self._id, self._command, self._timeout = guest, id, command, timeout
        self._began = time.monotonic()

    def wait(self, timeout=None):
        answer = self._guest._take(self._id, timeout or self._timeout + 10, self._command)
        return Done(answer["code"], answer["out"], answer["err"], time.monotonic() - self._began)

    def is_done(self):
        return self._guest._has(self._id)


class Channel:
    """A unix socket inside, by lines."""

    def __init__(self, guest, id):
        self._guest, self._id = guest, id

    def send(self, line):
        self._guest._say(id=self._id, send=line)

    def line(self, timeout):
        """The next line, or TimeoutError; GuestError once it is closed."""
        answer = self._guest._take(self._id, timeout, "the socket", expired=TimeoutError)
        if "closed" in answer:
            raise GuestError(f"the socket was closed: {answer['closed']}")
        return answer["line"]

    def close(self):
        self._guest._say(id=self._id, close=True)
        self._guest._forget(self._id)


class Guest:
    """agent_socket: where QEMU offers the agent's port."""

    def __init__(self, agent_socket, on_uevent=lambda event: None):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.connect(agent_socket)
        self._on_uevent = on_uevent
        self._changed = threading.Condition()
        self._number, self._answers = 0, {}
        self._ready = self._closed = False
        self.uevents = []
        threading.Thread(target=self._read, daemon=True).start()

    def wait_ready(self, timeout):
        with self._changed:
            if not self._changed.wait_for(lambda: self._ready or self._closed, timeout) or self._closed:
                raise GuestError(f"the agent didn't answer within {timeout} s")

    def start(self, command, timeout=60.0):
        """Starts shell text inside, and returns at once."""
        return Running(self, self._ask(run=command, timeout=timeout), command, timeout)

    def run(self, command, timeout=30.0, check=True):
        """Runs shell text inside. GuestError if it fails, unless check is false; code 124 = it took too long."""
        done = self.start(command, timeout).wait()
        if check and done.code:
            raise GuestError(f"{command}: exit {done.code}: {(done.err or done.out).strip()[-2000:]}")
        return done

    def clock_offsets(self):
        """(what to add to its uptime, what to add to its wall clock) for time.monotonic() here, in seconds."""
        before = time.monotonic()
        uptime, wall = self.run("read up rest < /proc/uptime; echo $up $(date +%s.%N)").out.split()
        here = (before + time.monotonic()) / 2
        return here - float(uptime), here - float(wall)

    def connect(self, path, timeout=5.0):
        channel = Channel(self, self._ask(connect=path))
        answer = self._take(channel._id, timeout, path)
        if "open" not in answer:
            raise GuestError(f"{path}: {answer.get('closed')}")
        return channel

    def put(self, path, content, mode=0o644):
        data = content.encode() if isinstance(content, str) else content
        self.run(f"mkdir -p $(dirname {shlex.quote(path)}) && echo {b64encode(data).decode()} | base64 -d > {shlex.quote(path)}"
                 f" && chmod {mode:o} {shlex.quote(path)}")

    def get(self, path):
        """The file's content, or None if there is none."""
        done = self.run(f"base64 -w0 {shlex.quote(path)}", check=False)
        return None if done.code else b64decode(done.out)

    def wait_uevent(self, wanted, after, timeout):
        """The first kernel event past the count `after` (len(guest.uevents)) for which wanted(event) is true."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for event in self.uevents[after:]:
                    if wanted(event):
                        return event
                if self._closed or not self._changed.wait(max(0, deadline - time.monotonic())):
                    raise GuestError(f"not within {timeout} s: the kernel's event; since then: "
                                     f"{[(each['ACTION'], each['DEVPATH']) for each in self.uevents[after:]][-20:]}")

    def close(self):
        self._socket.close()

    # --- the wire -------------------------------------------------------------------------------------------

    def _say(self, **message):
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def _ask(self, **message):
        with self._changed:
            self._number += 1
            self._answers[self._number] = []
            self._say(id=self._number, **message)
            return self._number

    def _has(self, id):
        with self._changed:
            return bool(self._answers[id])

    def _take(self, id, timeout, what, expired=GuestError):
        with self._changed:
            if not self._changed.wait_for(lambda: self._answers[id] or self._closed, timeout):
                raise expired(f"{what}: nothing within {timeout} s")
            if not self._answers[id]:
                raise GuestError(f"{what}: the virtual machine is gone")
            return self._answers[id].pop(0)

    def _forget(self, id):
        with self._changed:
            self._answers.pop(id, None)

    def _read(self):
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    self._take_in(json.loads(line))
        except (OSError, ValueError):
            pass
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take_in(self, message):
        event = message.get("uevent")
        with self._changed:
            if event:
                event["seen"] = time.monotonic()
                self.uevents.append(event)
            elif "ready" in message:
                self._ready = True
            elif message["id"] in self._answers:
                self._answers[message["id"]].append(message)
            self._changed.notify_all()
        if event:
            self._on_uevent(event)
