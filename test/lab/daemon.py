"""dongle-supervisor inside the virtual machine, driven through its public doors."""
import json
import time

from guest import GuestError

CONFIG = "/etc/dongle-supervisor/config.yaml"
SOCKET = "/run/dongle-supervisor/control.sock"
UNIT = "dongle-supervisor-lab.service"


class Daemon:
    def __init__(self, vm):
        self._vm = vm
        self.is_started = True      # by the boot

    def start(self, config):
        """With this configuration (YAML). Returns once it says that it is ready."""
        self._vm.put(CONFIG, config)
        self.is_started = True
        done = self._vm.run(f"systemctl start {UNIT}", 40, check=False)
        if done.code:
            raise GuestError(f"the daemon didn't start: {self.journal()[-3000:]}")

    def stop(self):
        """In order; everything of it is gone afterwards, its state as well."""
        if self.is_started:
            self._vm.run(f"systemctl stop {UNIT}; pkill -x dongle-worker; systemctl reset-failed {UNIT} 2>/dev/null;"
                         " rm -rf /var/lib/dongle-supervisor /run/dongle-supervisor", 40)
            self.is_started = False

    def kill(self):
        """SIGKILL, to the supervisor alone."""
        self._vm.run(f"systemctl kill -s KILL --kill-whom=main {UNIT}; systemctl reset-failed {UNIT}; true")

    def start_again(self):
        self._vm.run(f"systemctl start {UNIT}", 40)

    def journal(self):
        return self._vm.run(f"journalctl -u {UNIT} -o short-monotonic --no-pager --no-hostname", check=False).out

    def incidents(self):
        """As the daemon keeps them; None if it has none."""
        text = self._vm.get("/var/lib/dongle-supervisor/incidents.json")
        return text and text.decode()

    def last_incident(self, id):
        incidents = self.request("incidents", id=id)["incidents"]
        return incidents[-1] if incidents else None

    def request(self, verb, timeout=10.0, **arguments):
        """One request over the control socket: its result. GuestError with the daemon's words."""
        channel = self._vm.connect(SOCKET)
        try:
            channel.send(json.dumps({"verb": verb, **arguments}))
            deadline = time.monotonic() + timeout
            while True:
                answer = json.loads(channel.line(max(0.1, deadline - time.monotonic())))
                if "ok" in answer:
                    if not answer["ok"]:
                        raise GuestError(f"{verb}: {answer['error']}")
                    return answer["result"]
        finally:
            channel.close()

    def status(self):
        """{id: the dongle's part of the status document}"""
        return by_id(self.request("status"))

    def wait_for(self, question, timeout):
        """The first status {id: dongle} for which question(status) is true, by the daemon's own events."""
        channel = self._vm.connect(SOCKET)
        deadline, seen = time.monotonic() + timeout, None
        try:
            channel.send('{"verb":"watch"}')
            while (left := deadline - time.monotonic()) > 0:
                event = json.loads(channel.line(left))
                if event.get("event") == "status":
                    seen = by_id(event["result"])
                    if question(seen):
                        return seen
        except TimeoutError:
            pass
        finally:
            channel.close()
        short = seen and {id: (each["state"], each["reason"]) for id, each in seen.items()}
        raise AssertionError(f"not within {timeout} s; last seen: {short}")

    def wait_online(self, ids, timeout):
        return self.wait_for(lambda status: all(status[id]["state"] == "online" for id in ids), timeout)


def by_id(document):
    return {each["id"]: each for each in document["dongles"]}
