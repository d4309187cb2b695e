import hashlib
import http.client
import io
import os
import tarfile
from pathlib import Path
from unittest import mock

from setup import npm, uplot
from setup.lock import Archive

from .folder import FolderTest

ARCHIVE = Archive("thing", "1.0", "thing-1.0.tgz", hashlib.sha256(b"").hexdigest(), "npm")


class NpmTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.environment = mock.patch.dict(os.environ, {"HOME": os.getcwd()})
        self.environment.start()
        self.addCleanup(self.environment.stop)
        for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
            os.environ.pop(name, None)

    def test_the_environment_goes_before_the_users_file_and_that_before_the_public_registry(self):
        self.assertEqual(npm.registry(), npm.PUBLIC)
        Path(".npmrc").write_text('fund=false\nregistry="http://mine.example/npm/"\n')
        self.assertEqual(npm.registry(), "http://mine.example/npm")
        os.environ["npm_config_registry"] = "http://theirs.example/"
        self.assertEqual(npm.registry(), "http://theirs.example")

    def test_without_npm_the_archive_is_asked_for_at_the_registry(self):
        os.environ["npm_config_registry"] = "http://mine.example"
        with (
            mock.patch("shutil.which", return_value=None),
            mock.patch("urllib.request.urlopen", return_value=io.BytesIO(b"it")) as urlopen,
        ):
            self.assertTrue(npm.download(ARCHIVE, Path(".")))
        self.assertEqual(urlopen.call_args.args[0], "http://mine.example/thing/-/thing-1.0.tgz")
        self.assertEqual(Path("thing-1.0.tgz").read_bytes(), b"it")

    def test_a_registry_that_does_not_answer_is_no_download(self):
        with (
            mock.patch("shutil.which", return_value=None),
            mock.patch("urllib.request.urlopen", side_effect=OSError("no answer")),
        ):
            self.assertFalse(npm.download(ARCHIVE, Path(".")))


    def test_an_answer_that_breaks_off_is_no_download(self):
        answer = mock.MagicMock()
        answer.__enter__.return_value.read.side_effect = http.client.IncompleteRead(b"i")
        with (
            mock.patch("shutil.which", return_value=None),
            mock.patch("urllib.request.urlopen", return_value=answer),
        ):
            self.assertFalse(npm.download(ARCHIVE, Path(".")))
        self.assertFalse(Path("thing-1.0.tgz").exists())


class UplotTest(FolderTest):
    def test_what_the_page_needs_is_taken_and_nothing_else(self):
        with tarfile.open("uplot.tgz", "w:gz") as archive:
            for name in [*uplot.FILES, "dist/uPlot.esm.js"]:
                member = tarfile.TarInfo(f"package/{name}")
                archive.addfile(member, io.BytesIO())
        Path("out").mkdir()
        uplot.unpack(Path("uplot.tgz"), Path("out"))
        self.assertEqual(
            sorted(os.listdir("out")), ["LICENSE", "uPlot.iife.min.js", "uPlot.min.css"]
        )
