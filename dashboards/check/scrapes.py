"""How long scrapes take while every lane is busy: `python -m dashboards.check.scrapes PROGRAM`.

PROGRAM is a release build of `regatta`. It trains a thousand clients: once as it does by itself,
with quantiles and the worst clients, and once with a series for each client. Prints a table.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from .runs import Run

SCENARIO = "scenarios/thousand_clients.toml"
SCRAPES, PAUSE_SECONDS = 50, 0.1


def main() -> None:
    program = Path(sys.argv[1]).resolve()
    print("| series per client | bytes | median | longest |\n|---|--:|--:|--:|")
    for name, client_series in {"no": [], "yes": ["--client_series", "1000"]}.items():
        seconds, size = scrapes(program, client_series)
        median, longest = (1000 * each for each in (statistics.median(seconds), max(seconds)))
        print(f"| {name} | {size:,} | {median:.1f} ms | {longest:.1f} ms |", flush=True)


def scrapes(program: Path, flags: list[str]) -> tuple[list[float], int]:
    """How long each scrape took, and the last one's size."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        command = [
            program, "run", SCENARIO, "--rounds", "1000", "--metrics", "127.0.0.1:0",
            "--web", "off", "--out", out, *flags,
        ]  # fmt: skip
        run = Run(Path.cwd(), Path(place) / "log", "metrics at ")
        run.start(command)
        try:
            return scrape(f"http://{run.address}/metrics")
        finally:
            run.end()


def scrape(url: str) -> tuple[list[float], int]:
    """Those scrapes count at which, and at the one before, no lane was at rest."""
    seconds: list[float] = []
    busy_before = False
    while len(seconds) < SCRAPES:
        begin = time.monotonic()
        with urllib.request.urlopen(url, timeout=30) as answer:
            text = answer.read()
        took = time.monotonic() - begin
        busy = all_busy(text.decode())
        if busy and busy_before:
            seconds.append(took)
        busy_before = busy
        time.sleep(PAUSE_SECONDS)
    return seconds, len(text)


def all_busy(exposition: str) -> bool:
    """Whether as many clients train as there are lanes."""
    lines = exposition.splitlines()
    lanes = sum(line.startswith("regatta_lane_busy_ratio{") for line in lines)
    training = (
        float(line.split()[-1])
        for line in lines
        if line.startswith("regatta_clients{") and 'state="training"' in line
    )
    return next(training, 0) >= lanes > 0


if __name__ == "__main__":
    main()
