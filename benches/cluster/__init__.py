"""What a cluster costs: clients that do nothing, on lanes of hosts over a broker on this machine."""

import os
import statistics
import time
from pathlib import Path

from benches.cluster import rivals
from benches.cluster.figures import Timed, again, flowing, gaps, percentile, rates
from benches.cluster.processes import Broker, Hosts, Load, Program, program
from benches.tools import Failed, paragraphs, table

SMALL, LARGE = 300_000, 3_500_000
REPEATS = 3
# Clients and rounds whose updates are timed, REPEATS times over.
TIMED = {SMALL: (100, 8), LARGE: (40, 4)}
ONE_LANE = Hosts(1)
SOME_LANES = Hosts(2, lanes=2)
# Hosts that die, and as many that do not.
DEATHS = 3
RESTARTS = 3
MANY = 1000


def measure(path: Path) -> str:
    """Tables of the added time, of what else was wanted, and of Flower beside it."""
    load = os.getloadavg()[0]
    with program(path) as started:
        added = added_time(started)
        wanted = others(started)
        beside, notes = rivals.measure(started, [SMALL, LARGE])
    return paragraphs([explanation(load), added, wanted, beside, *notes])


def explanation(load: float) -> str:
    return (
        "Broker, coordinator and hosts are processes on this machine (the example `noop`), lanes on "
        "CPU. A client does nothing but write the update that it sends back, which is digested; the "
        "state that it starts from is as large, and another in each round. The broker is as "
        "`regatta broker` has it, without TLS since it listens on this machine alone, but for the "
        f"rows that say so. The machine's load was {load:.1f} when this began.\n\n"
        f"First, time per client-round: of one lane, from one update's arrival to the next, a "
        f"round's first from its start (with the state's way to the host), all but the first round "
        f"of {REPEATS} runs in turn. Updates may come in bursts, which lowers a median: the mean is what a "
        "client-round takes of a round. Wanted: with 0.3 MB at most 2 ms more than with a lane of the "
        "run's own process in the median and 10 ms at p99, with 3.5 MB at most 15 ms in the median."
    )


def added_time(started: Program) -> str:
    """A table of the time per client-round, with local lanes and with a host's."""
    brokers = {"of the run": None, "of a host": started.broker(), "of a host, TLS": started.broker(True)}
    rows = []
    for size, (clients, rounds) in TIMED.items():
        found: dict[str, list[float]] = {lane: [] for lane in brokers}
        for _ in range(REPEATS):
            for lane, broker in brokers.items():
                events = started.run(Load(clients, rounds, size), ONE_LANE, broker)
                found[lane] += gaps(events)
        own = next(iter(found.values()))
        rows += [row(size, lane, times, own) for lane, times in found.items()]
    header = ["update, MB", "lane", "p50, ms", "p99, ms", "mean, ms", "added, p50", "added, p99", "added, mean"]
    return table(header, rows, left=2)


def row(size: int, lane: str, times: list[float], own: list[float]) -> list[str]:
    of, base = summary(times), summary(own)
    more = [f"{mine - theirs:.2f}" for mine, theirs in zip(of, base)] if times is not own else [""] * 3
    return [f"{size / 1e6:.1f}", lane, *(f"{value:.2f}" for value in of), *more]


def summary(times: list[float]) -> tuple[float, float, float]:
    """Median, p99 and mean, in milliseconds."""
    values = percentile(times, 50), percentile(times, 99), statistics.mean(times)
    return tuple(1e3 * value for value in values)


def others(started: Program) -> str:
    """A table of rate, failures and memory."""
    rows = []
    for what, wanted, figure in [
        ("client-rounds a second through one broker, 0.3 MB, 2 hosts with 2 lanes", "at least 200", rate),
        ("seconds until the job of a host that was killed runs elsewhere", "at most 12", deaths),
        ("seconds from the broker's death until jobs flow again", "at most 2", restarts),
        (f"the broker's memory at most, MB, {MANY:,} clients of 0.3 MB", "under 500", memory),
    ]:
        try:
            measured = figure(started)
        except (Failed, ValueError) as failure:
            measured = f"could not be measured: {' '.join(str(failure).split())}"
        rows.append([what, measured, wanted])
    return table(["what", "measured", "wanted"], rows, left=3)


def rate(started: Program) -> str:
    found = rates(started.run(Load(200, 8, SMALL), SOME_LANES, started.broker()))
    return f"{statistics.median(found):.0f} ({min(found):.0f} to {max(found):.0f} a round)"


def deaths(started: Program) -> str:
    """Half of the hosts are killed while each of them has a job of a second."""
    killed: dict[str, float] = {}

    def disturb(workers: list) -> None:
        time.sleep(2.5)
        for number in range(DEATHS):
            workers[number].kill()
            killed[f"host-{number}"] = time.time()
            time.sleep(0.3)

    events = started.run(Load(60, 1, SMALL, sleep=1000), Hosts(2 * DEATHS), started.broker(), disturb)
    return listed(again(events, host, at) for host, at in killed.items())


def restarts(started: Program) -> str:
    """The server is killed with -9 while jobs of 20 ms are done; another broker each time."""
    found = []
    for _ in range(RESTARTS):
        broker = started.broker()
        found.append(flowing(*killed_once(started, broker)))
    return listed(found)


def killed_once(started: Program, broker: Broker) -> tuple[list[Timed], float]:
    killed = []

    def disturb(_: list) -> None:
        time.sleep(1)
        killed.append(broker.kill_server())

    events = started.run(Load(600, 1, SMALL, sleep=20), SOME_LANES, broker, disturb)
    return events, killed[0]


def memory(started: Program) -> str:
    broker = started.broker()
    started.run(Load(MANY, 3, SMALL), SOME_LANES, broker)
    return f"{broker.peak_bytes() / 1e6:.0f}"


def listed(seconds) -> str:
    return ", ".join(f"{value:.1f}" for value in seconds)
