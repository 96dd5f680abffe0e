"""The running rack: builds the topology, starts modems and internet, answers the control socket, takes it all down."""
import asyncio
import json
import os
import signal

import faults
import netns
import rack
from control import ControlServer
from device import Device
from internet import Internet
from journal import Journal
from modem import AddressPool
from netns import SimError
from uplink import Sniffer


class Farm:
    def __init__(self, name, all_options, taps=False):
        self._name = name
        self._rack = rack.Rack(name, taps)
        self._all_options = all_options
        self._pool = AddressPool()
        self.api_log, self.http_log = Journal(), Journal()
        self.dns_log, self.dhcp_log, self._uplink_log = Journal(), Journal(), Journal()
        self.public_addresses = {rack.UPLINK_HOST: "uplink", rack.UPLINK_HOST6: "uplink"}   # address -> who has or had it last
        self._devices = {}
        self._internet = self._sniffer = self._control = None
        self._power_changes, self._power_changed = [], asyncio.Condition()
        self._stopping = asyncio.Event()

    async def run(self, ready):
        """Until stop; ready(lines) once everything answers."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stopping.set)
        try:
            self._rack.build(self._all_options)
            self._sniffer = Sniffer(self._rack.inet, self._uplink_log)
            self._internet = Internet(self._rack.inet, self._on_query, self._on_hit)
            await self._internet.start()
            for options in self._all_options:
                device = self._devices[options.id] = Device(options, self._rack, self._pool, self)
                await device.start()
            await asyncio.sleep(0)          # the DHCP servers' tasks
            self._control = ControlServer(rack.socket_path(self._name), {
                "status": self._status, "fault": self._fault, "log": self._log, "uplink": self._uplink,
                "describe": self._describe, "power": self._power, "stop": self._stop})
            await self._control.start()
            ready([f"modem {device.options.id} interface={device.interface} api=http://{device.modem.gateway()}"
                   f" public_ip={device.modem.public_ip}" for device in self._devices.values()])
            await self._stopping.wait()
        finally:
            for part in (self._control, *self._devices.values(), self._internet, self._sniffer):
                if part:
                    part.stop()

    def end_with_process(self, pid):
        """A rack in the foreground doesn't outlive who started it."""
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            self._stopping.set()
            return
        asyncio.get_running_loop().add_reader(handle, self._stopping.set)

    def _on_query(self, source, name, type, protocol):
        self.dns_log.add(source=source, modem=self.public_addresses.get(source), name=name, type=type,
                         protocol=protocol)

    def _on_hit(self, source, **hit):
        self.http_log.add(source=source, modem=self.public_addresses.get(source), **hit)

    def power_changed(self, id, on):
        """A modem went off the bus, or is back: whoever asked with the verb power is told."""
        self._power_changes.append([id, on])
        asyncio.get_running_loop().create_task(self._tell_power())

    async def _tell_power(self):
        async with self._power_changed:
            self._power_changed.notify_all()

    # --- verbs ----------------------------------------------------------------------------------------------

    async def _status(self):
        links = json.loads(netns.ip("-j", "link", "show", namespace=self._rack.host) or "[]")
        by_index = {link["ifindex"]: link for link in links}
        return {"schema": 1, "name": self._name, "pid": os.getpid(),
                "internet": {"faults": list(self._internet.faults)}, "uplink_packets": self._uplink_log.count,
                "modems": [device.report(by_index) for device in self._devices.values()]}

    async def _fault(self, id, fault, argument=None, seconds=None):
        """id: a modem's, "all" or "inet". fault "clear" takes a fault's name as argument, or clears all."""
        if seconds is not None and not (isinstance(seconds, (int, float)) and 0 < seconds <= 86400):
            raise SimError("--for takes seconds, up to 86400")
        argument = None if argument is None else str(argument)
        fault = str(fault)
        if id in ("inet", "internet"):
            await self._internet_fault(fault, argument, seconds)
        else:
            for device in self._chosen(id):
                if fault == "clear":
                    await device.clear(argument)
                else:
                    await device.inject(fault, argument, seconds)
        return {}

    def _chosen(self, id):
        if id == "all":
            return list(self._devices.values())
        device = self._devices.get(int(id)) if str(id).isdigit() else None
        if device is None:
            raise SimError(f"no modem {id}; there are {', '.join(map(str, self._devices))}, all and inet")
        return [device]

    async def _internet_fault(self, fault, argument, seconds):
        if fault == "clear":
            for name in [argument.replace("-", "_")] if argument else list(self._internet.faults):
                faults.check(faults.INTERNET, name, None)
                await self._internet.set_fault(name, False)
            return
        name, _ = faults.check(faults.INTERNET, fault, argument)
        await self._internet.set_fault(name, True)
        if seconds is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(seconds, lambda: loop.create_task(self._internet.set_fault(name, False)))

    async def _log(self, what, id=None, clear=False):
        logs = {"dns": self.dns_log, "http": self.http_log, "api": self.api_log, "dhcp": self.dhcp_log}
        if what == "uplink":
            return await self._uplink(clear)
        if what not in logs:
            raise SimError(f"no log {what}; there are {', '.join(logs)} and uplink")
        wanted = None if id is None else "uplink" if id == "uplink" else self._chosen(id)[0].options.id
        report = logs[what].report(lambda entry: wanted is None or entry["modem"] == wanted)
        if clear:
            logs[what].clear()
            if what == "api":
                for device in self._devices.values():
                    device.server.reset_marks()
        return report

    async def _uplink(self, clear=False):
        report = self._sniffer.report()
        if clear:
            self._sniffer.clear()
        return report

    async def _describe(self):
        return {"schema": 1, "name": self._name, "modems": [{
            "id": options.id, "interface": device.interface, "mac": options.mac,
            "address": f"{device.modem.host_address()}/{device.modem.prefix_length()}",
            "gateway": device.modem.gateway(), "login": options.login, "username": options.username,
            "password": options.password} for options, device in
            ((device.options, device) for device in self._devices.values())]}

    async def _power(self, after=None):
        """[ID, ON] for each change since the rack is up, or after the first so many, if need be waiting for one to come."""
        async with self._power_changed:
            await self._power_changed.wait_for(lambda: after is None or len(self._power_changes) > after)
        return self._power_changes[after or 0:]

    async def _stop(self):
        self._stopping.set()
        return {}
