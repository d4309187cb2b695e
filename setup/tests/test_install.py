import os
import subprocess
from pathlib import Path

from .folder import FolderTest

SCRIPT = Path(__file__).resolve().parent.parent / "install.sh"
# In the place of the program: says what it was asked for, or writes a page.
PROGRAM = """#!/bin/sh
case $1 in
man) mkdir -p "$3" && touch "$3/regatta.1" ;;
*) echo "$@" ;;
esac
"""


class InstallTest(FolderTest):
    def setUp(self):
        super().setUp()
        Path("third_party/libtorch-1").mkdir(parents=True)
        Path("third_party/libtorch").symlink_to("libtorch-1")
        Path("regatta").write_text(PROGRAM)
        Path("regatta").chmod(0o755)

    def install(self, destination, prefix):
        command = ["sh", SCRIPT, "./regatta", destination, prefix]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def check(self, place):
        self.assertTrue(os.access(place / "bin/regatta", os.X_OK))
        self.assertEqual(
            (place / "lib/regatta/libtorch").readlink(), Path("third_party/libtorch-1").resolve()
        )
        completions = {
            "bash": "bash-completion/completions/regatta",
            "zsh": "zsh/site-functions/_regatta",
            "fish": "fish/vendor_completions.d/regatta.fish",
        }
        for shell, path in completions.items():
            self.assertEqual((place / "share" / path).read_text(), f"completions {shell}\n")
        self.assertTrue((place / "share/man/man1/regatta.1").exists())

    def test_all_is_put_under_the_prefix_and_again_over_what_is_there(self):
        prefix = Path.cwd() / "a prefix"
        self.install("", str(prefix))
        self.install("", str(prefix))
        self.check(prefix)

    def test_a_relative_prefix_is_taken_from_the_current_folder(self):
        self.assertIn(f"{Path.cwd()}/here/bin is not in PATH", self.install("", "here"))
        self.check(Path("here"))

    def test_destdir_stands_before_the_prefix(self):
        self.install(str(Path.cwd() / "stage"), "/usr")
        self.check(Path("stage/usr"))

    def test_the_message_broker_is_linked_where_it_was_fetched(self):
        link = Path("here/lib/regatta/nats-server")
        self.install("", "here")
        self.assertFalse(link.is_symlink())
        server = Path("third_party/nats-server/nats-server")
        server.parent.mkdir()
        server.write_text(PROGRAM)
        server.chmod(0o755)
        self.install("", "here")
        self.assertEqual(link.readlink(), server.resolve())
