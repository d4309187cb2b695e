"""The same clients in Flower's simulation engine, on Ray with one node and with two."""

import statistics

from benches import flower
from benches.cluster.figures import rates
from benches.cluster.processes import Hosts, Load, Program
from benches.tools import Failed, table

ROUNDS = 4
CLIENTS = 100
LANES = 2


def measure(started: Program, sizes: list[int]) -> tuple[str, list[str]]:
    """A table with a row for each engine and size, and what could not be measured."""
    rows, notes = [], []
    ways = {
        f"Regatta, {LANES} lanes of its own": lambda size: by_regatta(started, size, None),
        f"Regatta, {LANES} hosts over a broker": lambda size: by_regatta(started, size, started.broker()),
        f"Flower on Ray, {LANES} workers": lambda size: by_flower(size, nodes=1),
        f"Flower on Ray, {LANES} nodes of a worker": lambda size: by_flower(size, nodes=LANES),
    }
    for size in sizes:
        for engine, measured in ways.items():
            try:
                rows.append(row(engine, size, measured(size)))
            except Failed as failure:
                notes.append(f"{engine}, {size / 1e6:.1f} MB: could not be measured. {failure}")
    header = ["engine", "update, MB", "ms per client-round", "client-rounds a second", "range"]
    return f"{explanation()}\n\n{table(header, rows, left=1)}", notes


def explanation() -> str:
    versions = ", ".join(flower.PACKAGES)
    return (
        f"Beside Flower ({versions}): `benches/flower/app.py`, whose clients send back the values that "
        f"they got, and the server takes their mean. {CLIENTS} clients, {ROUNDS} rounds, all but the "
        f"first: medians, and the range of rounds."
    )


def row(engine: str, size: int, per_second: list[float]) -> list[str]:
    middle = statistics.median(per_second)
    spread = f"{min(per_second):,.0f} to {max(per_second):,.0f}"
    return [engine, f"{size / 1e6:.1f}", f"{1e3 / middle:.2f}", f"{middle:,.0f}", spread]


def by_regatta(started: Program, size: int, broker) -> list[float]:
    return rates(started.run(Load(CLIENTS, ROUNDS, size), Hosts(LANES), broker))


def by_flower(size: int, nodes: int) -> list[float]:
    """Client-rounds a second in each round but the first."""
    return [CLIENTS / taken for taken in flower.seconds_of_rounds(CLIENTS, ROUNDS, size, nodes)]
