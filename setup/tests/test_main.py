from pathlib import Path
from unittest import mock

from setup import __main__ as program
from setup.errors import SetupError

from .folder import FolderTest

# Says which steps were done before it, and ends with its own status.
BUILD = ["sh", "-c", "cat steps >seen; exit 7"]


class MainTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.fails = None
        stand_ins = {
            "setup.__main__.ROOT": Path.cwd(),
            "setup.__main__.crates": mock.MagicMock(),
            **{f"setup.{name}.make": self.step(name) for name in ("libtorch", "uplot", "reviews", "model")},
        }
        for name, value in stand_ins.items():
            patch = mock.patch(name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def step(self, name):
        def make():
            if name == self.fails:
                raise SetupError(f"no {name}")
            with open("steps", "a") as file:
                file.write(f"{name}\n")

        return make

    def test_without_a_command_all_is_fetched(self):
        self.assertEqual(program.main([]), 0)
        self.assertEqual(Path("steps").read_text().split(), ["libtorch", "uplot", "reviews", "model"])

    def test_a_command_finds_what_it_compiles_with_and_its_status_is_passed_on(self):
        self.assertEqual(program.main(BUILD), 7)
        self.assertEqual(Path("seen").read_text().split()[:2], ["libtorch", "uplot"])
        self.assertIn("model", Path("steps").read_text())

    def test_a_command_is_not_run_without_what_it_compiles_with(self):
        self.fails = "libtorch"
        self.assertEqual(program.main(BUILD), 1)
        self.assertFalse(Path("seen").exists())

    def test_a_command_ends_although_a_later_step_fails_and_the_failure_counts(self):
        self.fails = "model"
        self.assertEqual(program.main(["sh", "-c", "sleep 0.1; touch built"]), 1)
        self.assertTrue(Path("built").exists())
