"""The fleet's dashboard in a terminal, as `grafatui` draws it."""

from __future__ import annotations

import time
from pathlib import Path

from . import panels, tools
from .server import DASHBOARDS, Prometheus

FLEET = DASHBOARDS / "fleet.json"
SCREEN = DASHBOARDS / "check" / "screen.py"
# Types of panel that it leaves out.
UNKNOWN = ("row", "state-timeline")


class Client:
    """`grafatui`, and a Python that can read its screen; both in `folder`."""

    def __init__(self, program: Path, python: Path, folder: Path):
        self.program, self.python, self.folder = program, python, folder

    def look(self, prometheus: Prometheus, run: str, span: tuple[float, float]) -> list[str]:
        """What is wrong with the panels that have data to show; the screens stay in the folder."""
        titles = panels.with_data(prometheus, FLEET, run, span, without=UNKNOWN)
        line = [
            self.python, SCREEN, self.program, f"http://{prometheus.address}", FLEET, run,
            round(time.time() - span[0]) + 10, self.folder / f"{run}.txt", *titles,
        ]  # fmt: skip
        what = f"a terminal shows {len(titles)} panels of {run} with data"
        # Where a busy machine has just missed a scrape, panels are empty for a second.
        return tools.command(line, what) and tools.command(line, what)


def client(folder: Path) -> Client | None:
    """The client in a folder, where it is installed if it can be."""
    python = tools.python_with("pyte==0.8.2", "pyte", folder / "python")
    program = tools.grafatui(folder) if python else None
    return Client(program, python, folder) if program else None
