"""Which stick is where: a config for what is plugged in, and sticks that change places."""
import re
import unittest

import labtest


class IdentityTest(labtest.TestCase):
    def test_01_init_serves_every_stick_unedited(self):
        self.daemon.stop()
        self.lab.plug_huawei(21)
        path = "/tmp/proposed.yaml"
        self.eventually(lambda: self.lab.interface(21), 10, "stick 21 has its interface")
        self.vm.run(f"rm -f {path}; donglectl init --id 0525:a4a2 --write --config {path}", 60)
        proposal = self.vm.get(path).decode()
        self.daemon.start(proposal)
        sticks = {self.lab.path(id): id for id in [*self.lab.ids, 21]}
        places = {int(id): place for id, place in re.findall(r'- id: (\d+)\n\s*usb_path: "([^"]+)"', proposal)}
        self.assertEqual(sorted(places.values()), sorted(sticks))
        # It probes the real Internet's servers; the simulated one has their names.
        self.daemon.wait_online(sorted(places), 60)
        for id, place in places.items():
            self.assertEqual(self.fetch(id), self.rack.modem(sticks[place])["public_ip"], place)

    def test_02_swapped_sticks_are_reported(self):
        self.serve(11, 12)
        first, second = self.lab.ports[11], self.lab.ports[12]
        self.eventually(lambda: self.vm.get("/var/lib/dongle-supervisor/identities.json"), 20, "the identities are known")
        self.lab.yank(11)
        self.lab.yank(12)
        self.lab.plug(11, second)
        self.lab.plug(12, first)
        self.daemon.wait_online((11, 12), 30)
        self.eventually(lambda: "event=identity_changed" in self.daemon.journal(), 20, "identity_changed is logged")


if __name__ == "__main__":
    unittest.main()
