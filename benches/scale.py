"""Memory and time by the number of clients, each size a process of its own."""

from pathlib import Path

from benches import machine
from benches.tools import paragraphs, regatta, table

CLIENTS = [10, 100, 1000, 10000]
# One short example a client, so that what is not training shows.
SETTINGS = (
    "--task sst2 --data data/reviews --model models/minilm --r 8 --lora_alpha 16 --agg_type fedex "
    "--max_seq_length 8 --batch_size 1 --local_epochs 1 --limit_eval 32"
)


def sizes(clients: int, lanes: int) -> list:
    """As many examples as clients; a round to warm up where it costs little and matters."""
    rounds = 1 if clients > 1000 else 2
    sizes = ["--num_clients", clients, "--limit_train", clients, "--lanes", lanes]
    return [*sizes, "--rounds", rounds, "--eval_every", rounds]


def measure(program: Path, lanes: int) -> str:
    """A table with a row for each number of clients."""
    rows, notes, least, each = [], [], None, 0
    for clients in CLIENTS:
        needed = each * clients
        if needed > machine.memory():
            notes.append(f"{clients:,} clients would take {needed / 2**30:.0f} GiB, which are not free here.")
            continue
        run = regatta(program, [*SETTINGS.split(), *sizes(clients, lanes)])
        last = run.rounds[-1]
        adapter = last["clients"][0]["bytes_up"]
        least = least or (clients, run.peak_bytes)
        working = sum(client["seconds"] for client in last["clients"])
        train, aggregate = last["seconds"]["train"], last["seconds"]["aggregate"]
        idle = max(0.0, train * lanes - working) / clients
        further = clients - least[0]
        each = (run.peak_bytes - least[1]) / further if further else 0
        rows.append(
            [
                f"{clients:,}",
                f"{run.peak_bytes / 2**20:,.0f}",
                f"{each / adapter:.2f}" if further else "",
                f"{train * lanes / clients * 1e3:.1f}",
                f"{idle * 1e6:.0f}",
                f"{aggregate / clients * 1e6:,.0f}",
            ]
        )
    header = [
        "clients",
        "peak memory, MiB",
        "per further client / adapter",
        "lane's time per client, ms",
        "of it not training, µs",
        "aggregation per client, µs",
    ]
    explanation = (
        f"`regatta run {SETTINGS}` with as many clients and training examples as the row says, "
        f"{lanes} lanes; the second round, of more than 1,000 clients the first. A client's update "
        f"has {adapter / 1000:,.0f} kB. Memory is the largest resident size of the whole process; "
        f"what it grows by for each client more than {CLIENTS[0]} is given as a multiple of the "
        "update. Wanted: at most 1.2, and the time per client flat."
    )
    return paragraphs([explanation, table(header, rows, left=0), *notes])
