"""Which stick is where: a config for what is plugged in, and sticks that change places."""
import unittest

import labtest


class IdentityTest(labtest.TestCase):
    def test_01_init_serves_every_stick_unedited(self):
        self.daemon.stop()
        self.lab.plug_huawei(21)
        after = len(self.vm.uevents)
        path = "/tmp/proposed.yaml"
        self.eventually(lambda: self.lab.interface(21), 10, "stick 21 has its interface")
        self.vm.run(f"rm -f {path}; donglectl init --id 0525:a4a2 --write --config {path}", 60)
        self.daemon.start(self.vm.get(path).decode())
        document = self.daemon.status()
        self.assertEqual(len(document), len(self.lab.ids) + 1, sorted(document))
        # The proposal asks the real Internet's servers; the simulated one has their names.
        self.daemon.wait_online(sorted(document), 60)
        for id in document:
            self.assert_serves(id)

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
