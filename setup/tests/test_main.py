import contextlib
import io
from pathlib import Path
from unittest import mock

from setup import __main__ as program
from setup.errors import SetupError

from .folder import FolderTest

# The steps of every set-up.
ALWAYS = ["libtorch", "uplot", "reviews", "model"]
STEPS = [*ALWAYS, "smollm2", "nats_server"]
# Says which steps were done before it, and ends with its own status.
BUILD = ["sh", "-c", "cat steps >seen; exit 7"]


class MainTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.fails = None
        stand_ins = {
            "setup.__main__.ROOT": Path.cwd(),
            "setup.__main__.crates": mock.MagicMock(),
            **{f"setup.{name}.make": self.step(name) for name in STEPS},
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

    def done(self):
        return Path("steps").read_text().split()

    def test_without_a_command_all_is_fetched(self):
        self.assertEqual(program.main([]), 0)
        self.assertEqual(self.done(), ALWAYS)

    def test_a_language_model_is_fetched_when_it_is_named_or_the_scenarios(self):
        Path("s.toml").write_text('rounds = 2\nmodel = "models/smollm2"\n')
        for asked in (["--model", "smollm2"], ["--scenario", "s.toml"]):
            Path("steps").unlink(missing_ok=True)
            self.assertEqual(program.main([*asked, "true"]), 0)
            self.assertEqual(self.done(), [*ALWAYS, "smollm2"])

    def test_the_message_broker_is_fetched_when_it_is_asked_for(self):
        self.assertEqual(program.main(["--nats", "true"]), 0)
        self.assertEqual(self.done(), [*ALWAYS, "nats_server"])

    def test_a_scenario_with_another_model_or_none_that_can_be_read_fetches_no_more(self):
        Path("s.toml").write_text('model = "models/minilm"\n# model = "models/smollm2"\n')
        for scenario in ("s.toml", "nowhere.toml", "."):
            Path("steps").unlink(missing_ok=True)
            self.assertEqual(program.main(["--scenario", scenario]), 0)
            self.assertEqual(self.done(), ALWAYS)

    def test_an_unknown_model_is_refused_before_anything_is_fetched(self):
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            self.assertEqual(program.main(["--model", "gpt5"]), 1)
        self.assertIn("MODEL=gpt5: the models that can be asked for are smollm2", errors.getvalue())
        self.assertFalse(Path("steps").exists())

    def test_a_command_finds_what_it_compiles_with_and_its_status_is_passed_on(self):
        self.assertEqual(program.main(BUILD), 7)
        self.assertEqual(Path("seen").read_text().split()[:2], ["libtorch", "uplot"])
        self.assertIn("model", self.done())

    def test_a_command_is_not_run_without_what_it_compiles_with(self):
        self.fails = "libtorch"
        self.assertEqual(program.main(BUILD), 1)
        self.assertFalse(Path("seen").exists())

    def test_a_command_ends_although_a_later_step_fails_and_the_failure_counts(self):
        self.fails = "model"
        self.assertEqual(program.main(["sh", "-c", "sleep 0.1; touch built"]), 1)
        self.assertTrue(Path("built").exists())
