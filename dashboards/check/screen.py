"""Looks at a dashboard as `grafatui`, a Grafana of terminals, draws it from a Prometheus.

    python screen.py GRAFATUI PROMETHEUS DASHBOARD RUN SECONDS SCREENS TITLE ...

Run it with a Python that has `pyte`. It asks for the last SECONDS, writes what was on the screen to
the file SCREENS, and fails unless the panels of these titles were there, with data and without an
error.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pyte

# Grafana's grid has 24 columns; each gets eight characters. Of its rows, each three lines high, 22
# are on the screen, and a page down moves by ten: each panel is wholly on some screen.
COLUMNS, LINES = 196, 72
PAGE, PAGE_DOWN = 10, b"\x1b[6~"
# For the answers to all queries, and for a key.
LOAD_SECONDS, KEY_SECONDS = 20, 0.5
COMPLAINTS = ("ERROR", "⚠", "No data", "No visible series", "Invalid data range")


class Terminal:
    """A program on its own screen."""

    def __init__(self, command: list[str]):
        self.screen = pyte.Screen(COLUMNS, LINES)
        self.stream = pyte.ByteStream(self.screen)
        self.side, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        env = {**os.environ, "TERM": "xterm-256color"}
        # What it says beside the screen is not to be written across it.
        self.process = subprocess.Popen(
            command, stdin=inside, stdout=inside, stderr=subprocess.PIPE, text=True, env=env
        )
        os.close(inside)

    def look(self, seconds: float) -> list[str]:
        """The screen's lines after a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.side], [], [], left)[0]:
                try:
                    self.stream.feed(os.read(self.side, 1 << 16))
                except OSError:
                    raise SystemExit(f"error: it ended: {self.process.communicate()[1]}") from None
        return list(self.screen.display)

    def type(self, keys: bytes) -> None:
        os.write(self.side, keys)

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)
        os.close(self.side)


def boxes(lines: list[str]):
    """Heading and inside of each box that is wholly on the screen."""
    for top, line in enumerate(lines):
        for left in (at for at, character in enumerate(line) if character == "┌"):
            right = line.find("┐", left)
            below = lines[top + 1 :]
            bottom = next((n for n, each in enumerate(below) if each[left] == "└"), None)
            if right >= 0 and bottom is not None:
                inside = "\n".join(each[left + 1 : right] for each in below[:bottom])
                yield line[left + 1 : right].rstrip("─"), inside


def fault(kind: str, heading: str, inside: str) -> str | None:
    """What is wrong with a panel that shows this."""
    if complaint := next((each for each in COMPLAINTS if each in heading + inside), None):
        return f"says {complaint!r}"
    # An empty chart has axes with numbers at them, but no curve.
    no_curve = kind == "timeseries" and not any("\u2800" < each <= "\u28ff" for each in inside)
    return "is empty" if no_curve or not inside.strip() else None


def loaded(lines: list[str]) -> bool:
    text = "\n".join(lines)
    return any(boxes(lines)) and not any(each in text for each in COMPLAINTS)


def screens(terminal: Terminal, height: int):
    """Screen after screen of a dashboard that is N Grafana rows high."""
    end = time.monotonic() + LOAD_SECONDS
    while not loaded(terminal.look(KEY_SECONDS)) and time.monotonic() < end:
        pass
    # The lines of its grid look like curves.
    terminal.type(b"g")
    for _ in range(0, height, PAGE):
        yield terminal.look(KEY_SECONDS)
        terminal.type(PAGE_DOWN)


def faults(seen: list[list[str]], kinds: dict[str, str]) -> dict[str, str]:
    """What is wrong with which of the panels; `kinds` has their types by title."""
    wrong = dict.fromkeys(kinds, "is not there")
    for heading, inside in (box for lines in seen for box in boxes(lines)):
        title = heading.split(" ⚠")[0].removesuffix(" — ERROR")
        # A panel may be on several screens, and on some of them only in part.
        if title in wrong:
            wrong[title] = fault(kinds[title], heading, inside)
            if wrong[title] is None:
                del wrong[title]
    return wrong


def main() -> int:
    program, prometheus, dashboard, run, seconds, file, *titles = sys.argv[1:]
    panels = json.loads(Path(dashboard).read_text())["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    command = [
        program, "--grafana-json", dashboard, "--prometheus-url", prometheus, "--var", f"run={run}",
        "--range", f"{seconds}s", "--step", "1s", "--scrape-interval", "2s",
        # The screen is to stay as it is.
        "--refresh-rate", "3600000",
    ]  # fmt: skip
    terminal = Terminal(command)
    try:
        seen = list(screens(terminal, height))
    finally:
        terminal.end()
    Path(file).write_text("\n".join(line.rstrip() for lines in seen for line in lines))
    wrong = faults(seen, {p["title"]: p["type"] for p in panels if p["title"] in titles})
    for title, what in wrong.items():
        print(f"error: panel {title!r} {what}", file=sys.stderr)
    return min(len(wrong), 1)


if __name__ == "__main__":
    sys.exit(main())
