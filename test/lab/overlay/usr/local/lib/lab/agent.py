"""The lab's hand inside the virtual machine: runs commands and carries sockets over one virtio-serial port.

A JSON object a line, both ways. Requests carry an id of the asker's; whatever belongs to one carries its id.
  {"id", "run": "shell text", "timeout": s}    -> {"id", "code", "out", "err"}   code 124 = timed out
  {"id", "connect": "/unix/socket"}            -> {"id", "line"}...  {"id", "closed": "why"}
  {"id", "send": "a line"}                     to that socket; {"id", "close": true}
Unasked: {"uevent": {"ACTION", "DEVPATH", ...}} for whatever the kernel says of USB and network devices.
"""
import glob
import json
import os
import signal
import socket
import subprocess
import threading

MOST = 4 << 20          # of a command's output


class Agent:
    def __init__(self, port):
        self._port = port
        self._writing = threading.Lock()
        self._sockets = {}

    def say(self, **message):
        data = json.dumps(message).encode() + b"\n"
        with self._writing:
            while data:
                data = data[os.write(self._port, data):]

    def serve(self):
        threading.Thread(target=self._tell_uevents, daemon=True).start()
        self.say(ready=True)
        buffer = b""
        while True:
            part = os.read(self._port, 1 << 16)
            if not part:
                signal.sigtimedwait([], 0.2)        # nobody holds the other end
                continue
            *lines, buffer = (buffer + part).split(b"\n")
            for line in lines:
                if line.strip():
                    threading.Thread(target=self._answer, args=(json.loads(line),), daemon=True).start()

    def _answer(self, request):
        id = request["id"]
        try:
            if "run" in request:
                self.say(id=id, **run(request["run"], request["timeout"]))
            elif "connect" in request:
                self._carry(id, request["connect"])
            elif "send" in request:
                self._sockets[id].sendall(request["send"].encode() + b"\n")
            elif "close" in request:
                self._sockets[id].shutdown(socket.SHUT_RDWR)
        except (OSError, KeyError) as error:
            self.say(id=id, closed=str(error))

    def _carry(self, id, path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(path)
            self._sockets[id] = sock
            self.say(id=id, open=True)
            try:
                with sock.makefile("r", errors="replace") as lines:
                    for line in lines:
                        self.say(id=id, line=line.rstrip("\n"))
            finally:
                del self._sockets[id]
        self.say(id=id, closed="end")

    def _tell_uevents(self):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15) as sock:     # NETLINK_KOBJECT_UEVENT
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            sock.bind((0, 1))                                                   # the kernel's own, not udev's
            while True:
                fields = sock.recv(1 << 16).decode(errors="replace").split("\0")[1:]
                event = dict(field.split("=", 1) for field in fields if "=" in field)
                if event.get("SUBSYSTEM") in ("usb", "net"):
                    self.say(uevent=event)


def run(command, timeout):
    child = subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True)
    try:
        out, err = child.communicate(timeout=timeout)
        code = child.returncode
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
        code = 124
    return {"code": code, "out": out[-MOST:], "err": err[-MOST:]}


def main():
    subprocess.run(["modprobe", "virtio_console"], check=True)
    port = None
    while port is None:
        port = next(iter(glob.glob("/dev/vport*")), None) or signal.sigtimedwait([], 0.05)
    Agent(os.open(port, os.O_RDWR)).serve()


if __name__ == "__main__":
    main()
