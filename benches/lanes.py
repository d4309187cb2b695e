"""Throughput of one lane with all threads against a lane for each core."""

import statistics
from pathlib import Path

from benches.tools import regatta, table

REPEATS = 4
# The third round is timed: libtorch is warm, and nothing is read in it.
SETTINGS = (
    "scenarios/quickstart.toml --limit_train 256 --limit_eval 32 --rounds 3 --eval_every 3"
)


def measure(program: Path, cores: int) -> str:
    """A table with a row for each way to divide the cores."""
    ways = sorted({(1, cores), (cores, 1)})
    rates = {way: [] for way in ways}
    for _ in range(REPEATS):
        for lanes, threads in ways:
            run = regatta(program, [*SETTINGS.split(), "--lanes", lanes, "--threads_per_lane", threads])
            last = run.rounds[-1]
            examples = sum(client["examples"] for client in last["clients"])
            rates[lanes, threads].append(examples / last["seconds"]["train"])
    rows = [
        [str(lanes), str(threads), f"{statistics.median(all_):.1f}", f"{min(all_):.1f} to {max(all_):.1f}"]
        for (lanes, threads), all_ in rates.items()
    ]
    header = ["lanes", "threads each", "examples/s, median", "range"]
    return (
        f"`regatta run {SETTINGS}` with `--lanes` and `--threads_per_lane`, in turn, {REPEATS} times "
        "each: training examples per second in the last round.\n\n" + table(header, rows, left=0)
    )
