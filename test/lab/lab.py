"""The laboratory: a virtual machine with USB hubs, and a simulated rack whose modems are the far sides of its sticks.

    with Lab() as lab:
        lab.plug(11, "1.3")                     # the kernel's 1-1.3
        lab.vm.run("ip -br addr")
        lab.daemon.start(config)
        lab.yank(11); lab.rack.fault(11, "data_off")

The rack knows what a modem does (it boots, it hangs, it lost its power), the virtual machine what the bus does. This file
carries each to the other: a modem without power leaves the bus, a port without power takes it from its modem, a driver
bound anew is told to the modem.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import descriptors
import hub_lies
import image
import programs
from guest import Guest
from huawei_stick import HuaweiStick
from machine import QEMU, Hub, Machine
from daemon import Daemon

SIM = os.path.join(programs.ROOT, "tools/sim")
sys.path.insert(0, SIM)

import control
import netns
import rack as topology

# Two hubs at the controller, one more behind the second, and one that can't switch but can be made to lie (hub_says).
HUBS = (Hub("hub-a", "1"), Hub("hub-b", "2"), Hub("hub-c", "2.4"), Hub("hub-n", "3", switches=False))
ODD_HUB = HUBS[-1]
# Where the eight sticks are at the start: two full hubs' worth.
PORTS = {11: "1.1", 12: "1.2", 13: "1.3", 14: "1.4", 15: "2.1", 16: "2.2", 17: "2.4.1", 18: "2.4.2"}
# Huawei's own, which QEMU hasn't got; in no port at first.
HUAWEI_PORTS = {21: "2.3", 22: "2.4.3"}
BOOT_TIMEOUT = 120.0


class LabError(Exception):
    pass


def why_not():
    """Why there can't be a laboratory here, or None."""
    if os.geteuid() != 0:
        return "makes namespaces and a root file system: needs root"
    if not shutil.which(QEMU):
        return f"{QEMU} is missing: apt install qemu-system-x86"
    if not os.path.exists("/dev/net/tun"):
        return "the kernel has no /dev/net/tun"
    if absent := programs.missing():
        return f"not built: {', '.join(absent)} (cmake --preset release && cmake --build --preset release)"
    return None


class Rack(control.RunningRack):
    """dongle-sim with taps, that goes when this process goes, whatever becomes of it."""

    def __init__(self, name, ids, options):
        super().__init__(name, "--taps", *(part for id in ids for part in ("--modem", f"id={id},{options}")))

    def __enter__(self):
        self._process = subprocess.Popen([*self._program, "up", "--name", self.name, *self._up_arguments],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = []
        for line in self._process.stdout:
            if line == "ready\n":
                return self
            said.append(line)
        raise LabError("".join(said).strip() or "dongle-sim didn't come up")

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(20)
        self._process.stdout.close()

    def fault(self, id, name, argument=None, seconds=None):
        self.call("fault", id=id, fault=name, argument=argument, seconds=seconds)

    def clear(self, id, name=None):
        self.call("fault", id=id, fault="clear", argument=name)


class Lab:
    def __init__(self, ports=None, modem_options="boot_time=1.5"):
        self._first_ports = PORTS if ports is None else ports
        self._modem_options = modem_options
        self.ids = sorted(self._first_ports)
        self.ports = {}                     # id -> the port that it is or was plugged into, whether powered or not
        self.devices = {}                   # id of a Huawei stick -> the next plug's descriptors.Device
        self.came = {}                      # id -> when it was last put on the bus, by time.monotonic()
        self._played = {}                   # id -> HuaweiStick on the bus
        self._taps = {}
        self._odd_word = hub_lies.NONE
        self.odd_switched = 0               # how often a port of the odd hub was switched off
        self._on_bus = set()                # the ids that the bus has at the moment, as QEMU sees it
        self._moved = threading.Condition()
        self._ending = False
        self.vm = self.machine = self.daemon = None

    # --- life -----------------------------------------------------------------------------------------------

    def __enter__(self):
        if reason := why_not():
            raise image.Unavailable(reason)
        made = image.ensure()
        self.folder = tempfile.mkdtemp(prefix="dongle-lab-")
        try:
            self._start(made)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, made):
        archive = os.path.join(self.folder, "programs.tar")
        self.ports = self._first_ports | HUAWEI_PORTS
        programs.pack(archive, self.config())
        self.rack = Rack(f"lab{os.getpid()}", [*self.ids, *HUAWEI_PORTS], self._modem_options)
        self.rack.__enter__()
        for id in HUAWEI_PORTS:
            self._taps[id] = topology.open_tap(f"{self.rack.name}-m{id}", "lan0")
            self.rack.fault(id, "unplug")
        netdevs = {f"modem{id}": topology.open_tap(f"{self.rack.name}-m{id}", "lan0") for id in self.ids}
        netdevs["uplink"] = topology.open_tap(f"{self.rack.name}-inet", "uplink")
        try:
            self.machine = Machine(self.folder, made, archive, HUBS, netdevs, self._on_port_power)
        finally:
            for fd in netdevs.values():
                os.close(fd)
        self.vm = Guest(self.machine.agent_socket, self._on_uevent)
        for id in self.ids:
            self._attach(id)
        threading.Thread(target=self._follow_power, daemon=True).start()
        self.vm.wait_ready(BOOT_TIMEOUT)
        self.vm.run("systemctl is-system-running --wait || systemctl --failed --no-legend", BOOT_TIMEOUT)
        self.daemon = Daemon(self.vm)

    def __exit__(self, *_):
        self._ending = True
        if self.vm:
            self.vm.close()
        for stick in self._played.values():
            stick.close()
        if self.machine:
            self.machine.stop()
        for fd in self._taps.values():
            os.close(fd)
        if hasattr(self, "rack"):
            self.rack.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    def config(self, ids=None, **sections):
        """The daemon's configuration for these sticks (default: all), where they are plugged; sections go over the lab's own."""
        settings = {
            "uplink": {"interface": "up0", "metric": 100},
            "probe": {"targets": ["http://connectivity.test/generate_204", "http://success.test/success.txt"],
                      "public_ip_url": "http://ip.test/", "interval": "1s", "timeout": "3s", "down_after": 2, "up_after": 1},
            "rotation": {"cooldown": "1s", "off_time": "300ms"},
            "recovery": {"settle": {"route": "3s", "modem": "10s", "usb": "5s", "port_power": "20s", "hub_power": "25s"},
                         "retry_after": "20s"},
        }
        for name, values in sections.items():
            settings[name] = settings.get(name, {}) | values if isinstance(values, dict) else values
        settings["dongles"] = [{"id": id, "usb_path": self.path(id), "address": "dhcp",
                                "modem": {"type": "hilink"}} for id in ids or self.ids]
        return json.dumps(settings, indent=1)

    # --- sticks ---------------------------------------------------------------------------------------------

    def path(self, id):
        """The kernel's name of the port that the stick is in."""
        return "1-" + self.ports[id]

    def plug(self, id, port=None):
        """Puts the stick into a port (default: the one it was in), powered at once. Returns once it is on the bus."""
        self.ports[id] = port or self.ports[id]
        self.rack.fault(id, "plug")
        self._wait_bus(id, True)

    def yank(self, id):
        """Pulls the stick. Returns once it is off the bus."""
        self.rack.fault(id, "unplug")
        self._wait_bus(id, False)

    def plug_huawei(self, id, device=descriptors.HILINK, port=None):
        """A stick of HUAWEI_PORTS, as the bus will see it first: descriptors.HILINK, HILINK_NCM, ZERO_CD or MUTE."""
        self.devices[id] = device
        self.plug(id, port or HUAWEI_PORTS[id])

    def hub_says(self, word):
        """Makes the odd hub, which has to be empty, say hub_lies.NONE, SINGLY or GANGED. It keeps the power on all the same."""
        self._odd_word = word
        self.machine.replug_hub(ODD_HUB, word)

    def is_on_bus(self, id):
        with self._moved:
            return id in self._on_bus

    def wait_interface(self, id, after, timeout=15.0):
        """Waits for the kernel's word, past the count after = len(vm.uevents), that the stick's interface is there."""
        path = f"/{self.path(id)}/{self.path(id)}:"
        return self.vm.wait_uevent(lambda event: event["SUBSYSTEM"] == "net" and event["ACTION"] == "add"
                                   and path in event["DEVPATH"], after, timeout)

    def interface(self, id):
        """The name of the stick's interface inside, or None."""
        return self.vm.run(f"ls /sys/bus/usb/devices/{self.path(id)}:*/net 2>/dev/null", check=False).out.strip() or None

    def reset(self):
        """Every stick well and in its first port, as a scenario expects to find it."""
        for id, port in (self._first_ports | HUAWEI_PORTS).items():
            if self.is_on_bus(id) and (self.ports[id] != port or id in HUAWEI_PORTS):
                self.yank(id)
        self.devices.clear()
        self.ports |= HUAWEI_PORTS
        for modem in self.rack.call("status")["modems"]:
            for fault in modem["faults"]:
                if fault != "unplug":
                    self.rack.clear(modem["id"], fault)
        if self._odd_word != hub_lies.NONE:
            self.hub_says(hub_lies.NONE)
        for id, port in self._first_ports.items():
            if not self.is_on_bus(id) or self.ports[id] != port:
                self.plug(id, port)

    def _wait_bus(self, id, there):
        with self._moved:
            if not self._moved.wait_for(lambda: (id in self._on_bus) == there, 15):
                raise LabError(f"stick {id} is still {'off' if there else 'on'} the bus")

    def _attach(self, id):
        self.came[id] = time.monotonic()
        mac, place = f"0c:5b:8f:27:9a:{id:02x}", {"bus": "usb.0", "port": self.ports[id]}
        if id in HUAWEI_PORTS:
            wire = self.machine.add_played_device(f"stick{id}", **place)
            self._played[id] = HuaweiStick(wire, self._taps[id], mac, self.devices.get(id, descriptors.HILINK),
                                           lambda: self._switched(id))
        else:
            self.machine.add_device("usb-net", f"stick{id}", netdev=f"modem{id}", mac=mac, **place)
        with self._moved:
            self._on_bus.add(id)
            self._moved.notify_all()

    def _switched(self, id):
        self.devices[id] = descriptors.HILINK

    def _detach(self, id):
        if id in self._played:
            self._played.pop(id).close()
        self.machine.remove_device(f"stick{id}")
        with self._moved:
            self._on_bus.discard(id)
            self._moved.notify_all()

    # --- from one side to the other -------------------------------------------------------------------------

    def _follow_power(self):
        """A modem that has no power isn't on the bus."""
        seen = 0
        try:
            with control.Client(self.rack.name, timeout=None) as client:
                while not self._ending:
                    for id, on in client.call("power", after=seen):
                        seen += 1
                        if on != self.is_on_bus(id):
                            (self._attach if on else self._detach)(id)
        except Exception:
            if not self._ending:
                raise

    def _on_port_power(self, hub, number, on):
        port = f"{hub.port}.{number}"
        if hub is ODD_HUB:
            self.odd_switched += not on     # and no power goes
            return
        for id, where in self.ports.items():
            if where == port or where.startswith(port + "."):
                self.rack.fault(id, "power_back" if on else "power_cut")

    def _on_uevent(self, event):
        if event["ACTION"] == "unbind" and event.get("DEVTYPE") == "usb_interface":
            path = event["DEVPATH"].rpartition("/")[2].partition(":")[0]
            for id in self.ports:
                if self.path(id) == path and self.is_on_bus(id):
                    self.rack.fault(id, "rebind")
