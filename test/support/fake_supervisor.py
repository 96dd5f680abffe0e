#!/usr/bin/env python3
"""Stands in for the supervisor at a worker's worker.sock.

    fake_supervisor.py --dir DIR --listen ADDRESS:PORT [--setup JSON]

Answers every Hello with a Setup (the JSON's fields over harmless defaults) and the listening socket: the one that the
worker brings, else one of its own. Prints each message that comes, one JSON object a line, with "fds": N added.
Reads commands from standard input, one a line: a JSON message is sent as it stands; "probe PORT" sends a ServeProbe
whose other end listens on 127.0.0.1:PORT for one connection; "setup JSON" changes fields and sends Setup anew.
"""
import argparse
import array
import json
import os
import selectors
import socket
import sys
import threading

DEFAULTS = {
    "type": "setup", "device": "", "ifindex": 0, "source_v4": None, "source_v6": None, "dns_servers": [], "ports": [],
    "clients": [], "allow_destinations": [], "denied_destinations": [], "refuse_clients": False,
    "max_connections": 2000, "max_connections_per_client": 2000, "connect_timeout_ms": 10000,
    "handshake_timeout_ms": 10000, "idle_timeout_ms": 600000,
}


def receive(sock):
    data, control, _, _ = sock.recvmsg(65536, socket.CMSG_SPACE(8 * 4))
    fds = array.array("i")
    for level, kind, payload in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return data, list(fds)


def send(sock, message, fds=()):
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([json.dumps(message).encode()], control)


def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def relay_probe(port, inner):
    """Lets a program that connects to the port speak with the worker over the probe's socket."""
    with socket.create_server(("127.0.0.1", port), reuse_port=True) as server:
        outer, _ = server.accept()
    threads = [threading.Thread(target=pump, args=pair) for pair in ((outer, inner), (inner, outer))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outer.close()
    inner.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--setup", default="{}")
    args = parser.parse_args()
    host, port = args.listen.rsplit(":", 1)
    setup = {**DEFAULTS, "ports": [int(port)], **json.loads(args.setup)}
    if setup["device"] and not setup["ifindex"]:
        setup["ifindex"] = socket.if_nametoindex(setup["device"])

    path = os.path.join(args.dir, "worker.sock")
    if os.path.exists(path):
        os.unlink(path)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.bind(path)
    os.chmod(path, 0o666)
    control.listen(8)
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ, "accept")
    selector.register(sys.stdin, selectors.EVENT_READ, "command")
    listening, worker, pending = None, None, b""

    while True:
        for key, _ in selector.select():
            if key.data == "accept":
                peer, _ = control.accept()
                selector.register(peer, selectors.EVENT_READ, "worker")
            elif key.data == "worker":
                try:
                    data, fds = receive(key.fileobj)
                except OSError:
                    data, fds = b"", []
                if not data:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    worker = None if worker is key.fileobj else worker
                    print('{"type": "gone"}', flush=True)
                    continue
                message = json.loads(data)
                print(json.dumps({**message, "fds": len(fds)}), flush=True)
                if message["type"] == "hello":
                    worker = key.fileobj
                    if fds:
                        listening = socket.socket(fileno=fds[0])
                    elif not listening:
                        listening = socket.create_server((host, int(port)), backlog=1024)
                        listening.setblocking(False)
                    send(worker, setup, [listening.fileno()])
            else:
                chunk = os.read(sys.stdin.fileno(), 4096)
                if not chunk:
                    selector.unregister(sys.stdin)
                pending += chunk
                *lines, pending = pending.split(b"\n")
                for line in filter(None, (text.decode().strip() for text in lines)):
                    word, _, rest = line.partition(" ")
                    if word == "probe":
                        ours, theirs = socket.socketpair()
                        send(worker, {"type": "serve_probe"}, [theirs.fileno()])
                        theirs.close()
                        threading.Thread(target=relay_probe, args=(int(rest), ours), daemon=True).start()
                    elif word == "setup":
                        setup.update(json.loads(rest))
                        send(worker, setup)
                    else:
                        send(worker, json.loads(line))


if __name__ == "__main__":
    main()
