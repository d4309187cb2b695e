import os
from pathlib import Path

from setup import tree

from .folder import FolderTest

TARGET = Path("models/small")


def fill_with(text):
    return lambda into: (into / "file").write_text(text)


def fail_half_way(into):
    (into / "file").write_text("half")
    raise KeyboardInterrupt


class TreeTest(FolderTest):
    def test_a_finished_folder_is_current_for_its_key_alone(self):
        tree.build(TARGET, "key 1", fill_with("whole"))
        self.assertTrue(tree.is_current(TARGET, "key 1"))
        self.assertFalse(tree.is_current(TARGET, "key 2"))
        self.assertEqual((TARGET / "file").read_text(), "whole")

    def test_an_interrupted_build_leaves_no_folder(self):
        with self.assertRaises(KeyboardInterrupt):
            tree.build(TARGET, "key", fail_half_way)
        self.assertFalse(TARGET.exists())
        tree.build(TARGET, "key", lambda into: (into / "other").touch())
        self.assertEqual(sorted(os.listdir(TARGET)), [tree.STAMP, "other"])

    def test_an_interrupted_rebuild_leaves_the_old_folder(self):
        tree.build(TARGET, "key 1", fill_with("old"))
        with self.assertRaises(KeyboardInterrupt):
            tree.build(TARGET, "key 2", fail_half_way)
        self.assertTrue(tree.is_current(TARGET, "key 1"))
        self.assertEqual((TARGET / "file").read_text(), "old")

    def test_a_rebuild_replaces_the_old_folder(self):
        tree.build(TARGET, "key 1", fill_with("old"))
        tree.build(TARGET, "key 2", fill_with("new"))
        self.assertEqual((TARGET / "file").read_text(), "new")
        self.assertEqual(os.listdir(TARGET.parent), [TARGET.name])

    def test_a_folder_of_the_user_is_foreign(self):
        self.assertFalse(tree.is_foreign(TARGET))
        TARGET.mkdir(parents=True)
        self.assertFalse(tree.is_foreign(TARGET))
        (TARGET / "file").touch()
        self.assertTrue(tree.is_foreign(TARGET))

    def test_a_link_is_replaced(self):
        link = Path("third_party/libtorch")
        for to in ("first", "second"):
            tree.link(link, Path(to))
            self.assertEqual(os.readlink(link), to)
        self.assertEqual(os.listdir("third_party"), ["libtorch"])
