"""RESULTS.md: what is written by command, and what people wrote around it."""

import tempfile
import unittest
from pathlib import Path

from benches import results

TEXT = f"# Results\n\nBy hand.\n\n{results.BEGIN}\n\n{results.END}\n\n## Also by hand\n\nStays.\n"


class Results(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "RESULTS.md"
        self.path.write_text(TEXT, encoding="utf-8")

    def put(self, **sections):
        results.replace(self.path, sections, ["First", "Second"])
        return self.path.read_text(encoding="utf-8")

    def test_sections_come_in_their_order_and_what_is_around_them_stays(self):
        self.put(Second="two")
        text = self.put(First="one")
        marked = f"{results.BEGIN}\n\n## First\n\none\n\n## Second\n\ntwo\n\n{results.END}"
        self.assertEqual(text, TEXT.replace(f"{results.BEGIN}\n\n{results.END}", marked))

    def test_a_section_is_replaced_and_the_others_stay(self):
        self.put(First="one", Second="two")
        text = self.put(First="one again")
        self.assertIn("## First\n\none again\n\n## Second\n\ntwo\n\n", text)
        self.assertEqual(text.count("## First"), 1)

    def test_a_file_without_marks_is_refused_and_left_as_it_is(self):
        self.path.write_text("no marks", encoding="utf-8")
        with self.assertRaises(ValueError):
            self.put(First="one")
        self.assertEqual(self.path.read_text(encoding="utf-8"), "no marks")


if __name__ == "__main__":
    unittest.main()
