"""Kills a broker, a coordinator and workers at random while a run goes on, and compares what it comes
to with a run of one process that nobody disturbed: the ledger, and the model, byte for byte.

    python3 tests/survive_cluster.py [REGATTA [KILLS]]

Needs the small model and data set of `make setup`, and the server of `make setup NATS=1`.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from cluster_parts import LASTING, PROJECT, SCENARIO, Coordinator, Part, compare, start_broker, undisturbed

WORKERS = 3
# Seconds between two kills, at most.
PAUSE = 2.0
# Seconds after which a run that does not end has failed.
PATIENCE = 300.0
# Of the five clients of a round, two groups are trained together and one client alone.
TOGETHER = ("--clients_per_step", 2)


def survive(regatta: Path, kills: int, place: Path) -> None:
    undisturbed(regatta, place / "whole", *TOGETHER)
    folder = place / "broker"
    broker = start_broker(regatta, folder)
    worker = [regatta, "worker", "--cluster", folder / "worker.toml", "--lanes", 1]
    workers = [
        Part(f"worker {number}", place / f"worker-{number}.log", *worker, "--name", f"host-{number}")
        for number in range(WORKERS)
    ]
    out, log = place / "run", place / "run.log"
    run = Coordinator(regatta, SCENARIO, out, folder / "cluster.toml", log, *TOGETHER)
    parts = [broker, run, *workers]
    try:
        for part in parts[1:]:
            part.start()
        endure(parts, run, kills)
    finally:
        for part in reversed(parts):
            part.end()
    compare(place / "whole", place / "run")
    print(f"the same, byte for byte: {', '.join(LASTING)}")


def endure(parts: list[Part], run: Part, kills: int) -> None:
    """Kills a part now and then, and starts whatever has ended before its time."""
    draw = random.Random()
    until = time.monotonic() + PATIENCE
    killed: dict[str, int] = {}
    next_kill = time.monotonic() + draw.uniform(0, PAUSE)
    while run.process.poll() != 0:
        if time.monotonic() > until:
            said = "\n".join(f"{part.name}:\n{part.said()[-600:]}" for part in parts)
            sys.exit(f"the run does not end\n{said}")
        for part in parts:
            if part.process.poll() not in (None, 0):
                part.start()
        if sum(killed.values()) < kills and time.monotonic() >= next_kill:
            victim = draw.choice(parts)
            victim.kill()
            killed[victim.name] = killed.get(victim.name, 0) + 1
            victim.start()
            next_kill = time.monotonic() + draw.uniform(0, PAUSE)
        time.sleep(0.05)
    told = ", ".join(f"{name} {count}" for name, count in sorted(killed.items()))
    print(f"killed: {told}")


def main() -> None:
    regatta = PROJECT / (sys.argv[1] if len(sys.argv) > 1 else "target/release/regatta")
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    with tempfile.TemporaryDirectory() as place:
        began = time.monotonic()
        survive(regatta, kills, Path(place))
        print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
