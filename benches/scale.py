"""Memory and time by the number of clients, each size a process of its own."""

from pathlib import Path

from benches.tools import regatta, table

CLIENTS = [10, 100, 1000, 10000]
# One short example a client, so that what is not training shows.
SETTINGS = (
    "--task sst2 --data data/reviews --model models/minilm --r 8 --lora_alpha 16 --agg_type ours "
    "--max_seq_length 32 --batch_size 1 --local_epochs 1 --limit_eval 32 --rounds 2 --eval_every 2"
)


def measure(program: Path, lanes: int) -> str:
    """A table with a row for each number of clients."""
    rows, least = [], None
    for clients in CLIENTS:
        arguments = ["--num_clients", clients, "--limit_train", clients, "--lanes", lanes]
        run = regatta(program, [*SETTINGS.split(), *arguments])
        last = run.rounds[-1]
        adapter = last["clients"][0]["bytes_up"]
        least = least or (clients, run.peak_bytes)
        working = sum(client["seconds"] for client in last["clients"])
        train, aggregate = last["seconds"]["train"], last["seconds"]["aggregate"]
        idle = max(0.0, train * lanes - working) / clients
        further = clients - least[0]
        extra = (run.peak_bytes - least[1]) / further / adapter if further else None
        rows.append(
            [
                f"{clients:,}",
                f"{run.peak_bytes / 2**20:,.0f}",
                "" if extra is None else f"{extra:.2f}",
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
    return (
        f"`regatta run {SETTINGS}` with as many clients and training examples as the row says, "
        f"{lanes} lanes. A client's update has {adapter / 1000:,.0f} kB. Memory is the largest "
        "resident size of the whole process; what it grows by for each client more than "
        f"{CLIENTS[0]} is told as a multiple of the update. Wanted: at most 1.2, and the time per "
        "client flat.\n\n" + table(header, rows, left=0)
    )
