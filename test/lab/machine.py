"""QEMU: one virtual machine with USB hubs, without KVM, that writes to nothing."""
import os
import re
import signal
import socket
import subprocess
import threading

import hub_lies
from qmp import Qmp
from stolen import StolenTime

QEMU = "qemu-system-x86_64"
# Quiet, and without what guards a machine that isn't thrown away a minute later.
KERNEL_ARGUMENTS = ("console=ttyS0 quiet loglevel=4 mitigations=off nokaslr cryptomgr.notests random.trust_cpu=on "
                    "no_timer_check net.ifnames=1 systemd.show_status=0")


class Hub:
    """name, and port in QEMU's notation: "2.4" is port 4 of the hub at the controller's port 2; the kernel's "1-2.4".
    switches: whether it cuts its ports' power, singly."""

    def __init__(self, name, port, ports=4, switches=True):
        self.name, self.port, self.ports, self.switches = name, port, ports, switches

    @property
    def path(self):
        return "1-" + self.port


class Machine:
    """folder: for sockets and the console's log. netdevs: name -> tap descriptor. on_port_power(hub, port, on) is called
    from a thread when the guest switches a port."""

    def __init__(self, folder, image, programs, hubs, netdevs, on_port_power):
        self._folder, self._hubs = folder, hubs
        self._on_port_power = on_port_power
        self.console_log = os.path.join(folder, "console.log")
        agent, monitor = os.path.join(folder, "agent.sock"), os.path.join(folder, "monitor.sock")
        self._listeners = [_listen(agent), _listen(monitor)]
        fds = [listener.fileno() for listener in self._listeners]
        command = [
            QEMU, "-name", "dongle-lab", "-nodefaults", "-no-user-config", "-M", "pc", "-accel", "tcg,thread=multi", "-cpu", "qemu64", "-smp", str(min(2, os.cpu_count() or 1)), "-m", "640", "-display", "none", "-no-reboot",
            "-serial", f"file:{self.console_log}",
            "-kernel", image.kernel, "-initrd", image.initrd, "-append", KERNEL_ARGUMENTS,
            "-drive", f"file={image.root},if=none,id=root,format=raw,snapshot=on", "-device", "virtio-blk-pci,drive=root",
            "-drive", f"file={programs},if=none,id=programs,format=raw,readonly=on", "-device", "virtio-blk-pci,drive=programs",
            "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,fd={fds[0]},server=on,wait=off", "-device", "virtserialport,chardev=agent,name=lab",
            "-chardev", f"socket,id=monitor,fd={fds[1]},server=on,wait=off", "-mon", "chardev=monitor,mode=control",
            "-device", "qemu-xhci,id=usb,p2=8,p3=8",
            "-trace", "usb_hub_set_port_feature", "-trace", "usb_hub_clear_port_feature",
        ]
        for hub in hubs:
            command += ["-device", ",".join(f"{key}={value}" for key, value in {"driver": "usb-hub", **_properties(hub)}.items())]
        for name, fd in netdevs.items():
            command += ["-netdev", f"tap,id={name},fd={fd}"]
        if "uplink" in netdevs:
            command += ["-device", "virtio-net-pci,netdev=uplink,mac=52:54:00:00:00:01,romfile="]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        pass_fds=[*fds, *netdevs.values()], text=True, errors="replace", start_new_session=True,
                                        preexec_fn=_die_with_parent)
        self.words = []                     # what QEMU itself had to say
        self._hub_addresses, self._hub_word = {}, None
        threading.Thread(target=self._read_trace, daemon=True).start()
        self.agent_socket = agent
        self.qmp = Qmp(monitor)
        self.stolen = StolenTime([cpu["thread-id"] for cpu in self.qmp.call("query-cpus-fast")])

    def stop(self):
        self.stolen.stop()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        self.qmp.close()
        for listener in self._listeners:
            listener.close()

    def add_played_device(self, id, **properties):
        """A device that somebody else plays: returns the path of the socket by which (usbredir). It goes with the device."""
        path = os.path.join(self._folder, id + ".sock")
        self.qmp.call("chardev-add", id=f"{id}-wire", backend={"type": "socket", "data": {
            "addr": {"type": "unix", "data": {"path": path}}, "server": True, "wait": False}})
        self.add_device("usb-redir", id, chardev=f"{id}-wire", **properties)
        return path

    def replug_hub(self, hub, word):
        """Pulls a hub that has nothing in it and puts it back as one that says `word` of its power switching (hub_lies)."""
        if self._hub_word is None:
            self._hub_word = hub_lies.HubWord(self.process.pid)
        self._hub_word.set(word)
        self.remove_device(hub.name)
        properties = _properties(hub)
        self.add_device("usb-hub", properties.pop("id"), **properties)
        self._hub_addresses = {}

    def add_device(self, driver, id, **properties):
        self.qmp.call("device_add", driver=driver, id=id, **properties)

    def remove_device(self, id):
        """Pulls it, and returns once it is gone."""
        after = self.qmp.event_count()
        self.qmp.call("device_del", id=id)
        self.qmp.wait_event(lambda event: event["event"] == "DEVICE_DELETED" and event["data"].get("device") == id, after)

    def _read_trace(self):
        pattern = re.compile(r"usb_hub_(set|clear)_port_feature dev (\d+), port (\d+), feature power$")
        for line in self.process.stderr:
            found = pattern.search(line.rstrip())
            if found:
                hub = self._hub_at(int(found[2]))
                if hub:
                    self._on_port_power(hub, int(found[3]), found[1] == "set")
            elif "usb_hub_" not in line:
                self.words = self.words[-50:] + [line.rstrip()]

    def _hub_at(self, address):
        """The hub with that address on the bus. Addresses change only when the hub itself is plugged."""
        if address not in self._hub_addresses:
            text = self.qmp.human("info usb")
            by_name = {hub.name: hub for hub in self._hubs}
            self._hub_addresses = {int(number): by_name[name] for number, name in
                                   re.findall(r"Device \d+\.(\d+), .*, ID: (\S+)", text) if name in by_name}
        return self._hub_addresses.get(address)


def _properties(hub):
    return {"id": hub.name, "bus": "usb.0", "port": hub.port, "ports": hub.ports, "port-power": "on" if hub.switches else "off"}


def _listen(path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(path)
    listener.listen(1)
    return listener


def _die_with_parent():
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)      # PR_SET_PDEATHSIG
