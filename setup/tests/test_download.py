import hashlib
from pathlib import Path
from unittest import mock

from setup import download
from setup.errors import SetupError
from setup.lock import Archive, pins

from .folder import FolderTest

GOOD = b"the archive"
ARCHIVE = Archive("thing", "1.0", "thing-1.0.tar.gz", hashlib.sha256(GOOD).hexdigest())
FOLDER = Path("downloads")


class Pip:
    """In pip's place: each call gives the next of `contents`, `None` being a failure."""

    def __init__(self, *contents):
        self.contents = list(contents)

    def __call__(self, archive, into):
        content = self.contents.pop(0)
        (into / archive.file).write_bytes(content or b"the arch")
        return content is not None


class DownloadTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.patch("time.sleep")

    def patch(self, *args):
        patcher = mock.patch(*args)
        patcher.start()
        self.addCleanup(patcher.stop)

    def fetch(self, pip):
        self.patch("setup.download._download", pip)
        return download.fetch(ARCHIVE, FOLDER)

    def test_a_failed_download_is_tried_again(self):
        pip = Pip(None, None, GOOD)
        self.assertEqual(self.fetch(pip).read_bytes(), GOOD)
        self.assertEqual(pip.contents, [])

    def test_after_the_last_try_nothing_looks_complete(self):
        with self.assertRaisesRegex(SetupError, "thing==1.0"):
            self.fetch(Pip(*[None] * download.TRIES))
        self.assertFalse((FOLDER / ARCHIVE.file).exists())

    def test_what_is_complete_is_not_downloaded_again(self):
        self.fetch(Pip(GOOD))
        self.assertEqual(self.fetch(Pip()).read_bytes(), GOOD)

    def test_a_damaged_archive_is_downloaded_again(self):
        FOLDER.mkdir()
        (FOLDER / ARCHIVE.file).write_bytes(b"damaged")
        self.assertEqual(self.fetch(Pip(GOOD)).read_bytes(), GOOD)

    def test_another_content_than_the_locked_is_downloaded_again(self):
        self.assertEqual(self.fetch(Pip(b"something else", GOOD)).read_bytes(), GOOD)

    def test_another_content_than_the_locked_is_refused_and_thrown_away(self):
        with self.assertRaisesRegex(SetupError, "SHA-256"):
            self.fetch(Pip(*[b"something else"] * download.TRIES))
        self.assertEqual([path for path in FOLDER.rglob("*") if path.is_file()], [])

    def test_an_interrupted_download_leaves_no_file(self):
        def interrupted(archive, into):
            (into / archive.file).write_bytes(b"the arch")
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            self.fetch(interrupted)
        self.assertEqual([path for path in FOLDER.rglob("*") if path.is_file()], [])

    def test_a_wheel_is_asked_for_by_its_own_tags(self):
        command = download.command(pins()["torch"], FOLDER, Path("requirement.txt"))
        for flag in ("--platform=manylinux_2_28_x86_64", "--abi=cp311", "--only-binary=:all:"):
            self.assertIn(flag, command)


class LockTest(FolderTest):
    def test_every_pin_is_consistent(self):
        for pin in pins().values():
            name = pin.project.replace("-", "_").lower()
            self.assertTrue(pin.file.lower().startswith(f"{name}-{pin.version}"), pin.file)
            self.assertRegex(pin.sha256, "^[0-9a-f]{64}$")
