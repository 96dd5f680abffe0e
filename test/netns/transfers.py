"""Load on a dongle's proxy port, and what became of it."""
import threading
import time

import testrack

LENGTH = 3_000_000


class Client(threading.Thread):
    """New connections one after the other until told to stop: when each began, when it was served, or how it failed."""

    def __init__(self, test, id):
        super().__init__()
        self.test, self.id = test, id
        self.served, self.refused, self.broken = [], [], []
        self._told = threading.Event()

    def run(self):
        while not self._told.is_set():
            began = time.monotonic()
            try:
                with self.test.client(self.id, timeout=5) as client:
                    client.connect("203.0.113.81", 80)
                    if client.get("/ip"):
                        self.served.append((began, time.monotonic()))
                    else:
                        self.broken.append(began)
            except ConnectionRefusedError:
                self.refused.append(began)
            except (OSError, AssertionError):
                self.broken.append(began)

    def stop(self):
        self._told.set()
        self.join()


class Download(threading.Thread):
    """A transfer of a known body at a known pace."""

    def __init__(self, test, id, seconds):
        super().__init__()
        self.body = None
        self._client = test.client(id, timeout=20).connect("download.test", 80)
        self._client.send(testrack.http_get(f"/slow/{LENGTH}/{int(LENGTH / seconds)}", "download.test"))
        self._client.read_head()
        self.start()

    def run(self):
        try:
            self.body = self._client.read_all()
        except OSError as error:
            self.body = error
        self._client.close()

    def is_exact(self):
        import internet
        self.join()
        return self.body == internet.pattern(0, LENGTH)
