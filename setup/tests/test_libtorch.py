import os
from pathlib import Path
from unittest import mock

from setup import libtorch, torch_wheels, tree
from setup.errors import SetupError

from .folder import FolderTest


def fake_libtorch(folder, version=None, cuda=False):
    """A folder that looks like libtorch of a version (default: the right one)."""
    names = ["libtorch.so", "libtorch_cpu.so", "libc10.so", *["libtorch_cuda.so"] * cuda]
    for name in names:
        (folder / "lib").mkdir(parents=True, exist_ok=True)
        (folder / "lib" / name).touch()
    header = folder / "include/torch/headeronly/version.h"
    header.parent.mkdir(parents=True)
    numbers = zip(("MAJOR", "MINOR", "PATCH"), (version or torch_wheels.version()).split("."))
    header.write_text("".join(f"#define TORCH_VERSION_{part} {n}\n" for part, n in numbers))
    return folder


def fake_download(cuda):
    """In the place of the download: the folder that it would leave."""
    def fill(into):
        fake_libtorch(into / "torch" if cuda else into, cuda=cuda)

    tree.build(torch_wheels.folder(cuda), torch_wheels.key(cuda), fill)


class LibtorchTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.driver = False
        self.installed = None
        stand_ins = {
            "setup.torch_wheels.make": mock.Mock(side_effect=fake_download),
            "setup.libtorch.has_driver": lambda: self.driver,
            "setup.libtorch.installed_pytorch": lambda asked: self.installed,
        }
        for name, stand_in in stand_ins.items():
            patcher = mock.patch(name, stand_in)
            patcher.start()
            self.addCleanup(patcher.stop)

    def make(self, **variables):
        """Runs the step with these environment variables; returns what the link leads to."""
        clean = {k: v for k, v in os.environ.items() if k not in ("LIBTORCH", "CUDA")}
        with mock.patch.dict(os.environ, {**clean, **variables}, clear=True):
            libtorch.make()
        return libtorch.LINK.resolve()

    def downloads(self):
        return [call.args[0] for call in torch_wheels.make.call_args_list]

    def test_the_one_named_by_the_user_is_linked_and_stays(self):
        mine = fake_libtorch(Path("mine")).resolve()
        self.assertEqual(self.make(LIBTORCH="mine"), mine)
        self.assertEqual(self.make(), mine)
        self.assertEqual(self.downloads(), [])

    def test_an_unfit_one_named_by_the_user_is_refused(self):
        fake_libtorch(Path("old"), "2.1.0")
        with self.assertRaisesRegex(SetupError, "LIBTORCH=old.*2.1.0"):
            self.make(LIBTORCH="old")
        with self.assertRaisesRegex(SetupError, "no lib/libtorch.so"):
            self.make(LIBTORCH="nowhere")
        self.assertFalse(libtorch.LINK.exists())

    def test_an_installed_pytorch_is_used_instead_of_a_download(self):
        self.installed = fake_libtorch(Path("site-packages/torch")).resolve()
        self.assertEqual(self.make(), self.installed)
        self.assertEqual(self.downloads(), [])

    def test_a_driver_decides_unless_the_user_does(self):
        self.driver = True
        self.assertTrue(libtorch.has_cuda(self.make()))
        self.assertFalse(libtorch.has_cuda(self.make(CUDA="0")))
        self.driver = False
        self.assertTrue(libtorch.has_cuda(self.make(CUDA="1")))
        self.assertEqual(self.downloads(), [True, False, True])

    def test_a_second_run_has_nothing_to_do(self):
        first = self.make()
        self.assertEqual(self.make(), first)
        self.assertEqual(self.downloads(), [False])

    def test_a_removed_libtorch_is_had_again(self):
        mine = fake_libtorch(Path("mine"))
        self.make(LIBTORCH="mine")
        mine.rename("gone")
        self.assertEqual(self.make(), torch_wheels.folder(False).resolve())

    def test_an_outdated_unpacked_set_is_rebuilt(self):
        self.make()
        (libtorch.LINK / tree.STAMP).write_text("another version")
        self.make()
        self.assertEqual(self.downloads(), [False, False])

    def test_a_folder_in_the_link_s_place_is_left_alone(self):
        fake_libtorch(libtorch.LINK)
        self.make()
        self.assertFalse(libtorch.LINK.is_symlink())
        (libtorch.LINK / "lib/libc10.so").unlink()
        with self.assertRaisesRegex(SetupError, "in the way"):
            self.make()

    def test_a_wrong_value_of_cuda_is_named(self):
        with self.assertRaisesRegex(SetupError, "CUDA=yes"):
            self.make(CUDA="yes")

    def test_an_old_driver_does_not_count(self):
        modules = ("NVIDIA UNIX x86_64 Kernel Module", "NVIDIA UNIX Open Kernel Module for x86_64")
        for module in modules:
            for release, wanted in ((570, False), (580, True)):
                line = f"NVRM version: {module}  {release}.65.06  Sun Jan  1 12:00:00 UTC 2025\n"
                Path("version").write_text(line)
                with mock.patch("setup.libtorch.DRIVER", Path("version")):
                    self.assertEqual(self.real_has_driver(), wanted)

    def test_gpus_without_kernels_do_not_count(self):
        for capabilities, too_old in (
            ([], False),
            ([(7, 0)], True),
            ([(6, 1), (5, 2)], True),
            ([(7, 0), (9, 0)], False),
            ([(7, 5)], False),
            ([(12, 0)], False),
        ):
            self.assertEqual(libtorch.all_too_old(capabilities), too_old, capabilities)

    def test_compute_capabilities_are_those_that_nvidia_smi_says(self):
        def said(stdout, returncode=0):
            done = mock.Mock(stdout=stdout, returncode=returncode)
            with mock.patch("setup.libtorch.subprocess.run", return_value=done):
                return libtorch.compute_capabilities()

        self.assertEqual(said("7.0\n12.0 \n"), [(7, 0), (12, 0)])
        self.assertEqual(said("[N/A]\n"), [])
        self.assertEqual(said("NVIDIA-SMI has failed\n", 9), [])
        with mock.patch("setup.libtorch.subprocess.run", side_effect=FileNotFoundError):
            self.assertEqual(libtorch.compute_capabilities(), [])

    real_has_driver = staticmethod(libtorch.has_driver)
