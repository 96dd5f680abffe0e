"""What other programs of this host took from the virtual machine: the time its processors were ready and had to wait.

An emulated machine under load is slow for reasons that no scenario is about. Figures are told without that time.
"""
import bisect
import threading
import time

PAUSE = 0.25
MOST = 20000            # samples: over an hour


class StolenTime:
    """thread_ids: of the virtual processors."""

    def __init__(self, thread_ids):
        self._files = [f"/proc/{id}/schedstat" for id in thread_ids]
        self._when, self._waited = [], []
        self._end = threading.Event()
        threading.Thread(target=self._sample, daemon=True).start()

    def between(self, begin, end):
        """Seconds, of the processor that waited most. begin, end: time.monotonic()."""
        first = max(0, bisect.bisect_right(self._when, begin) - 1)
        last = min(bisect.bisect_left(self._when, end), len(self._when) - 1)
        if last <= first:
            return 0.0
        return max(after - before for before, after in zip(self._waited[first], self._waited[last])) / 1e9

    def stop(self):
        self._end.set()

    def _sample(self):
        while not self._end.wait(PAUSE) and len(self._when) < MOST:
            try:
                waited = [_waited_ns(path) for path in self._files]
            except (OSError, IndexError):       # QEMU is gone, or this kernel doesn't count
                return
            self._when.append(time.monotonic())
            self._waited.append(waited)


def _waited_ns(path):
    with open(path) as file:
        return int(file.read().split()[1])
