"""QEMU's monitor: commands and events, JSON over a unix socket."""
import json
import socket
import threading
import time


class QmpError(Exception):
    pass


class Qmp:
    def __init__(self, path, timeout=10.0):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.connect(path)
        self._socket.settimeout(timeout)
        self._lines = self._socket.makefile("rb")
        self._lines.readline()                          # the greeting
        self._number = 0
        self._answers, self._events = {}, []
        self._changed = threading.Condition()
        self._closed = False
        self._send("qmp_capabilities")
        self._lines.readline()
        self._socket.settimeout(None)
        threading.Thread(target=self._read, daemon=True).start()

    def call(self, command, timeout=10.0, **arguments):
        """The command's result; QmpError with QEMU's words."""
        with self._changed:
            number = self._send(command, **arguments)
            if not self._changed.wait_for(lambda: number in self._answers or self._closed, timeout):
                raise QmpError(f"{command}: no answer within {timeout} s")
            answer = self._answers.pop(number, {"error": {"desc": "QEMU is gone"}})
        if "error" in answer:
            raise QmpError(f"{command} {arguments}: {answer['error']['desc']}")
        return answer["return"]

    def human(self, line):
        """A command of the human monitor, for what QMP lacks."""
        return self.call("human-monitor-command", **{"command-line": line})

    def event_count(self):
        with self._changed:
            return len(self._events)

    def wait_event(self, wanted, after=0, timeout=10.0):
        """The first event past the count `after` for which wanted(event) is true."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for event in self._events[after:]:
                    if wanted(event):
                        return event
                if self._closed or not self._changed.wait(max(0, deadline - time.monotonic())):
                    raise QmpError(f"not within {timeout} s: the event that was waited for")

    def _send(self, command, **arguments):
        self._number += 1
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments, "id": self._number}).encode())
        return self._number

    def _read(self):
        try:
            for line in self._lines:
                message = json.loads(line)
                with self._changed:
                    if "event" in message:
                        self._events.append(message)
                    else:
                        self._answers[message["id"]] = message
                    self._changed.notify_all()
        except (OSError, ValueError):
            pass
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self):
        self._socket.close()
