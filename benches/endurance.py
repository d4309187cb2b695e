"""What the machinery itself costs, and whether it grows."""

import re
from dataclasses import dataclass
from pathlib import Path

from benches.tools import Failed, call, table

CLIENTS, ROUNDS = 100, 2000

LINE = re.compile(r"round +(\d+): +([\d.]+) µs per client and round, resident (\d+) KiB")


@dataclass
class Pass:
    """A tenth of a run's rounds."""

    round: int
    micros: float
    mebibytes: float


def passes(
    program: Path, clients: int, rounds: int, lanes: int, size: int = 0, update: str = "own"
) -> list[Pass]:
    """The tenths of a run in which N bytes travel, returned or rewritten."""
    output = call([program, clients, rounds, lanes, size, update])
    found = [Pass(int(n), float(micros), int(kib) / 1024) for n, micros, kib in LINE.findall(output)]
    if not found:
        raise Failed(f"`endurance` printed nothing that can be read: {output!r}")
    return found


def measure(program: Path, lanes: int) -> str:
    """A table with a row for each tenth."""
    rows = [
        [f"{one.round:,}", f"{one.micros:.1f}", f"{one.mebibytes:.1f}"]
        for one in passes(program, CLIENTS, ROUNDS, lanes)
    ]
    header = ["after round", "µs per client and round", "resident memory, MiB"]
    return (
        f"{ROUNDS:,} rounds of {CLIENTS} clients with a workload that does nothing, on {lanes} lanes "
        f"(`endurance {CLIENTS} {ROUNDS} {lanes}`). Wanted: memory that does not grow.\n\n"
        + table(header, rows, left=0)
    )
