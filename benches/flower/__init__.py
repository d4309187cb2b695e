"""What a client costs that does nothing: Flower's simulation engine beside ours."""

import json
import os
import statistics
from pathlib import Path

from benches import machine
from benches.endurance import passes
from benches.tools import Failed, PROJECT, call, environment, last_lines, paragraphs, table

PACKAGES = ["flwr[simulation]==1.41.0", "ray==2.55.1"]
BYTES = 600_000
CLIENTS, MANY = 100, 10_000
ROUNDS = 4
# What a client sends: what it got, or an update that it wrote.
SAME, OWN = "same", "own"
# Clients, rounds, bytes and update of each row of ours.
OURS = [
    (CLIENTS, 1000, 0, SAME),
    (CLIENTS, 1000, BYTES, SAME),
    (CLIENTS, 200, BYTES, OWN),
    (MANY, 50, 0, SAME),
    (MANY, 50, BYTES, SAME),
    (MANY, 10, BYTES, OWN),
]


def measure(endurance: Path, lanes: int) -> str:
    """A table with a row for each engine, number of clients and size of what travels."""
    rows, notes = [], []
    try:
        rows.append(row("Flower", CLIENTS, BYTES, SAME, by_flower()))
    except Failed as failure:
        notes.append(f"Flower could not be measured: {failure}")
    for clients, rounds, size, client in OURS:
        # Their own updates wait for the end of the round.
        needed = int(1.2 * clients * size) if client == OWN else 0
        if needed > machine.memory():
            notes.append(f"{clients:,} clients need {needed / 2**30:.0f} GiB, which are not free here.")
            continue
        taken = passes(endurance, clients, rounds, lanes, size, client)
        # In the first, memory is asked for.
        micros = [one.micros for one in taken[1:]]
        rows.append(row("Regatta", clients, size, client, micros, f"{taken[-1].mebibytes:,.0f}"))
    header = ["engine", "update", "clients", "bytes", "µs per client and round", "range", "memory, MiB"]
    return paragraphs([explanation(lanes), table(header, rows, left=2), *notes])


def explanation(lanes: int) -> str:
    return (
        f"`benches/flower/app.py` in Flower's engine (Ray, {lanes} workers) and the example "
        f"`endurance` in ours ({lanes} lanes): clients that do nothing send back the `same` values "
        "that they got, and the server takes the mean of what all sent. With 0 bytes what is left "
        "is the machinery alone. In the rows `own`, clients do something: each writes an update, "
        "which is digested with BLAKE3 for the ledger and kept until the round is aggregated. Wanted: "
        "under 50 µs for clients that do nothing, and 10,000 of them in a round without strain. "
        "Medians without the first round of Flower's and the first tenth of ours, in which workers "
        "are started and memory is asked for."
    )


def row(
    engine: str, clients: int, size: int, update: str, micros: list[float], memory: str = ""
) -> list[str]:
    spread = f"{min(micros):,.0f} to {max(micros):,.0f}"
    middle = statistics.median(micros)
    return [engine, f"`{update}`", f"{clients:,}", f"{size:,}", f"{middle:,.1f}", spread, memory]


def by_flower() -> list[float]:
    """Microseconds per client in each round but the first."""
    return [1e6 * taken / CLIENTS for taken in seconds_of_rounds(CLIENTS, ROUNDS, BYTES)]


def seconds_of_rounds(clients: int, rounds: int, size: int, nodes: int = 1) -> list[float]:
    """Seconds of each of Flower's rounds but the first, with updates of so many bytes."""
    python = environment("flower-venv", PACKAGES)
    script = PROJECT / "benches" / "flower" / "app.py"
    silent = {**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    output = call([python, script, clients, rounds, size, nodes], env=silent, timeout=600)
    try:
        seconds = json.loads(output.splitlines()[-1])["seconds"]
    except (IndexError, ValueError) as error:
        raise Failed(f"it printed no times\n\n{last_lines(output)}") from error
    if len(seconds) != rounds:
        raise Failed(f"it did {len(seconds)} of {rounds} rounds")
    return seconds[1:]
