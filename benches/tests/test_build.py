import json
import tempfile
import unittest
from pathlib import Path

from benches import build


def page(folder, name, units):
    data = json.dumps(units)
    (folder / name).write_text(f"<script>\nconst UNIT_DATA = {data};\nconst CPU = [];\n</script>")


class BuildTest(unittest.TestCase):
    def test_the_call_that_compiled_tells_the_units_and_parts_of_one_are_added(self):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            one = {"name": "a", "target": "", "duration": 1.5}
            script = {"name": "a", "target": " build-script (run)", "duration": 2.0}
            page(folder, "cargo-timing-1.html", [one, one, script])
            page(folder, "cargo-timing-2.html", [])
            by_name, total = build.units(folder)
        self.assertEqual(by_name, {"a": 3.0, "a build-script (run)": 2.0})
        self.assertEqual(total, (5.0, 3))

    def test_units_stand_side_by_side_the_slowest_first(self):
        before = build.Times("1", units={"a": 1.0, "b": 9.0}, total=(10.0, 2))
        after = build.Times("2", units={"a": 2.0}, total=(2.0, 1))
        lines = build.slowest([before, after]).splitlines()
        self.assertEqual(lines[2:], ["| b | 9 |  |", "| a | 1 | 2 |", "| all units | 10 in 2 | 2 in 1 |"])

    def test_times_are_minutes_and_seconds_and_what_was_not_measured_is_empty(self):
        self.assertEqual([build.seconds(t) for t in (371.9, 9, None)], ["6:11", "0:09", ""])
