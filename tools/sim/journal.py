"""Bounded records of what was asked: old entries make room for new ones, and are counted."""
import collections
import time


class Journal:
    def __init__(self, limit=5000):
        self._entries = collections.deque(maxlen=limit)
        self.count = 0
        self.dropped = 0

    def add(self, **entry):
        if len(self._entries) == self._entries.maxlen:
            self.dropped += 1
        self.count += 1
        self._entries.append({"time": round(time.time(), 3), **entry})

    def clear(self):
        self._entries.clear()
        self.count = self.dropped = 0

    def report(self, keep=lambda entry: True):
        return {"schema": 1, "count": self.count, "dropped": self.dropped,
                "entries": [entry for entry in self._entries if keep(entry)]}
