"""The control socket: one JSON object a line each way. Client is all that scripts and tests need:

    import control
    rack = control.Client("sim")
    rack.call("fault", id=11, fault="data_off", seconds=5)
    rack.call("status")["modems"][0]["public_ip"]
"""
import asyncio
import inspect
import json
import os
import socket
import subprocess
import sys
import traceback

from netns import SimError
from rack import socket_path

MAX_LINE = 1 << 20


class Client:
    def __init__(self, name="sim", timeout=30.0):
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(socket_path(name))
        except PermissionError:
            raise SimError("run dongle-sim as root") from None
        except OSError:
            raise SimError(f"rack {name} is not up: dongle-sim up --name {name}") from None
        self._file = self._socket.makefile("rb")

    def call(self, verb, **arguments):
        """The verb's result; SimError with the rack's own words if it refuses."""
        try:
            self._socket.sendall(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
            line = self._file.readline()
        except OSError as error:
            raise SimError(f"rack {self.name}: {error}") from None
        if not line:
            raise SimError(f"rack {self.name} went down")
        answer = json.loads(line)
        if "error" in answer:
            raise SimError(answer["error"])
        return answer["result"]

    def modem(self, id):
        """One modem's part of the status."""
        return next(modem for modem in self.call("status")["modems"] if modem["id"] == id)

    def close(self):
        self._file.close()
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class RunningRack:
    """A rack for the length of a with block: with control.RunningRack("t1", "--modems", "2") as rack: ..."""

    def __init__(self, name, *up_arguments):
        self.name = name
        self._program = [sys.executable, os.path.dirname(os.path.abspath(__file__))]
        self._up_arguments = up_arguments

    def __enter__(self):
        done = subprocess.run([*self._program, "up", "--name", self.name, "--detach", *self._up_arguments],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise SimError(done.stderr.strip())
        return self

    def __exit__(self, *_):
        subprocess.run([*self._program, "down", "--name", self.name], check=True)

    def call(self, verb, **arguments):
        with Client(self.name) as client:
            return client.call(verb, **arguments)

    def modem(self, id):
        with Client(self.name) as client:
            return client.modem(id)

    def run(self, *command, inside="host", **options):
        return subprocess.run(["ip", "netns", "exec", f"{self.name}-{inside}", *command],
                              **{"capture_output": True, "text": True} | options)

    def start(self, *command, inside="host", **options):
        return subprocess.Popen(["ip", "netns", "exec", f"{self.name}-{inside}", *command], **options)


class ControlServer:
    def __init__(self, path, verbs):
        self._path = path
        self._verbs = verbs         # name -> async function of the request's other members
        self._server = None

    async def start(self):
        if os.path.exists(self._path):
            os.unlink(self._path)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=MAX_LINE)
        os.chmod(self._path, 0o600)

    def stop(self):
        if self._server:
            self._server.close()

    async def _serve(self, reader, writer):
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    async def _answer(self, line):
        try:
            request = json.loads(line)
            verb = self._verbs[request.pop("verb")]
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            return {"error": f"send one JSON object a line, with a verb of {', '.join(self._verbs)}"}
        try:
            inspect.signature(verb).bind(**request)
        except TypeError as error:
            return {"error": f"wrong arguments: {error}"}
        try:
            return {"result": await verb(**request)}
        except SimError as error:
            return {"error": str(error)}
        except Exception as error:      # the rack lives on; whoever asked is told, and the log has the rest
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {error}"}
