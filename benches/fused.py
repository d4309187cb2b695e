"""Clients that are trained together against clients one by one, and the same with more lanes."""

import json
import statistics
import tempfile
from pathlib import Path

from benches.tools import Failed, Run, regatta, table

CLIENTS = 32
STEPS = 4
REPEATS = 3
# The second round is timed: libtorch is warm, and nothing is read in it.
COMMON = (
    f"--num_clients {CLIENTS} --rounds 2 --eval_every 2 --local_epochs 1 --limit_eval 8 --agg_type fedex"
)
MINILM = "--task sst2 --data data/reviews --model models/minilm --max_seq_length 48"
# MiniLM's sizes and tokens, so that nothing has to be fetched for it.
GPT2 = {
    "model_type": "gpt2",
    "vocab_size": 30522,
    "n_positions": 128,
    "n_embd": 384,
    "n_layer": 6,
    "n_head": 6,
    "eos_token_id": 102,
}


def measure(program: Path) -> str:
    """A table of seconds of training by how many clients take a step together, and digests by lanes."""
    with tempfile.TemporaryDirectory() as place:
        config = Path(place) / "gpt2.json"
        config.write_text(json.dumps(GPT2), encoding="utf-8")
        decoder = (
            f"--task e2e --data data/restaurants --model random:{config} --tokenizer "
            "models/minilm/tokenizer.json --r 8 --target_modules c_attn --limit_generate 1 --limit_test 1 "
            "--max_new_tokens 1 --num_beams 1"
        )
        models = {"MiniLM, LoRA on query and value": MINILM, "GPT-2 of MiniLM's sizes, LoRA on c_attn": decoder}
        rows = [
            compare(program, name, arguments, batch)
            for name, arguments in models.items()
            for batch in (1, 4)
        ]
        lanes = [1, 2, 4]
        digests = [digest(program, f"{MINILM} {COMMON} --batch_size 1 --limit_train {CLIENTS}", lane) for lane in lanes]
    if len(set(digests)) != 1:
        raise Failed(f"digests differ with {lanes} lanes: {digests}")
    header = ["model", "batch", "one by one, s", f"{CLIENTS} together, s", "ratio", "range", "MB one by one", "MB together"]
    return (
        f"{CLIENTS} clients, {STEPS} steps a round, one lane of one thread: seconds of training in the "
        f"second round with `--clients_per_step 1` and `{CLIENTS}`, in turn, {REPEATS} times each, medians; "
        "the ratio of each pair; the largest resident memory. Wanted: at least 2 at batch 1.\n\n"
        + table(header, rows)
        + f"\nThe digest of the state after two rounds is the same with {', '.join(map(str, lanes))} lanes: "
        f"`{digests[0][:16]}`."
    )


def trained(program: Path, arguments: str, together: int, lanes: int = 1) -> Run:
    fixed = ["--clients_per_step", together, "--lanes", lanes, "--threads_per_lane", 1]
    return regatta(program, [*arguments.split(), *fixed])


def compare(program: Path, name: str, arguments: str, batch: int) -> list[str]:
    arguments = f"{arguments} {COMMON} --batch_size {batch} --limit_train {CLIENTS * STEPS * batch}"
    pairs, memory = [], {1: 0, CLIENTS: 0}
    for _ in range(REPEATS):
        seconds = {}
        for together in memory:
            run = trained(program, arguments, together)
            seconds[together] = run.rounds[-1]["seconds"]["train"]
            memory[together] = max(memory[together], run.peak_bytes)
        pairs.append((seconds[1], seconds[CLIENTS]))
    ratios = [alone / together for alone, together in pairs]
    return [
        name,
        str(batch),
        f"{statistics.median(alone for alone, _ in pairs):.2f}",
        f"{statistics.median(together for _, together in pairs):.2f}",
        f"{statistics.median(ratios):.2f}",
        f"{min(ratios):.2f} to {max(ratios):.2f}",
        f"{memory[1] / 1e6:.0f}",
        f"{memory[CLIENTS] / 1e6:.0f}",
    ]


def digest(program: Path, arguments: str, lanes: int) -> str:
    return trained(program, arguments, CLIENTS // 4, lanes).rounds[-1]["state_digest"]
