"""Rounds and scores side by side with the Python way of doing them, by transformers and peft.

Both sides train the same model on the same examples with the same batches, threads and method.
The Python side is client.py, in its own virtual environment, made on first use.
"""

import argparse
import json
import os
import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from benches import machine
from benches.tools import PROJECT, Failed, Run, call, environment, paragraphs, regatta, table

PACKAGES = ["torch==2.11.0", "transformers==4.46.2", "peft==0.12.0"]
REVIEWS = PROJECT / "data" / "reviews"
MINILM = PROJECT / "models" / "minilm"


@dataclass
class Case:
    """One row of the rounds."""

    task: str
    method: str
    r: int
    # Examples of a round.
    examples: int
    wanted: str = ""
    # Of these, what the Python side trains, to be multiplied up: a step of SORF-VeRA takes it
    # seconds to minutes, and all steps take as long, for all are padded to one length.
    trained: Optional[int] = None
    # Whether the Python side adapts one block only, to be multiplied up: at rank 128 SORF-VeRA's
    # chains take twenty seconds and a gigabyte for each layer and step.
    one_block: bool = False


CASES = [
    Case("rte", "ours", 4, 768, "4"),
    Case("cola", "ours", 4, 768, "10"),
    Case("mrpc", "ours", 4, 768),
    Case("rte", "ours_vera", 128, 384),
    Case("cola", "ours_vera", 128, 384),
    Case("mrpc", "ours_vera", 128, 384),
    Case("rte", "sorf_vera", 32, 768, trained=96),
    Case("rte", "sorf_vera", 128, 768, "150", trained=96, one_block=True),
]
# Without GLUE's files: the quickstart's sentences, which have its layout.
WITHOUT_GLUE = [replace(case, task="sst2", wanted="") for case in CASES if case.task == "rte"]
FOLDERS = {"rte": "RTE", "cola": "CoLA", "mrpc": "MRPC", "sst2": "SST-2"}
ROUND = ["--lr", "1e-3", "--batch_size", "32", "--seed", "1", "--limit_eval", "32"]
# Rounds of ours that are timed, after one that is not.
ROUNDS = 2

SEEDS = [1, 2, 3]
# What both sides take; on the quickstart's sentences, where a few minutes show something.
SCORED = Case("sst2", "ours", 8, 640)
SCORES = (
    f"--task {SCORED.task} --r {SCORED.r} --lora_alpha 16 --lr 5e-3 --batch_size 4 --rounds 4 "
    f"--limit_train {SCORED.examples} --limit_eval 1921"
)


def default_data() -> Path:
    return Path(os.environ.get("REGATTA_DATA") or PROJECT / "data/glue")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which data, model and packages."""
    parser.add_argument("--data", type=Path, default=default_data(), help="GLUE's folder, if there is one")
    parser.add_argument("--model", type=Path, default=MINILM, help="what the rounds train")
    parser.add_argument("--venv", type=Path, help="a virtual environment that has transformers and peft")


def flags(arguments: argparse.Namespace) -> list[str]:
    """What of data and model was given, without the folders that they lie in."""
    given = [("--data", arguments.data, default_data()), ("--model", arguments.model, MINILM)]
    return [word for flag, path, default in given if path != default for word in (flag, path.name)]


def measure(program: Path, arguments: argparse.Namespace, quick: bool = False) -> str:
    """The table of rounds, and that of scores."""
    python = interpreter(arguments.venv)
    data, model = arguments.data.resolve(), arguments.model.resolve()
    cases = CASES if (data / "RTE/train.tsv").is_file() else WITHOUT_GLUE
    rows, notes = [], []
    for case in cases[:1] if quick else cases:
        with tempfile.TemporaryDirectory() as place:
            link(REVIEWS if case.task == "sst2" else data, Path(place), FOLDERS[case.task])
            try:
                rows += rounds(case, program, python, Path(place), model)
            except Failed as failure:
                notes.append(f"{case.task}, `{case.method}`, r {case.r}: {failure}")
    header = ["task", "method", "r", "examples", "Python, s", "Regatta, s", "precision", "ratio", "wanted"]
    parts = [explanation(model, python), table(header, rows, left=2), *notes]
    return paragraphs(parts if quick else [*parts, scores(program, python)])


def interpreter(venv: Optional[Path]) -> Path:
    """Python with the packages: in an environment of the user's, or in one that is made."""
    if venv is None:
        return environment("upstream-venv", PACKAGES)
    program = venv.absolute() / "bin" / "python"
    if not program.exists():
        raise Failed(f"there is no {program}")
    return program


def link(data: Path, place: Path, folder: str) -> None:
    """A task's files without the test split, whose predictions would be written in the end."""
    (place / folder).mkdir()
    for split in ("train.tsv", "dev.tsv"):
        (place / folder / split).symlink_to(data / folder / split)


def explanation(model: Path, python: Path) -> str:
    return (
        f"Three clients, one epoch in batches of 32 on {machine.cores()} threads, model "
        f"{model.name}, {machine.packages(python, ['torch', 'transformers', 'peft'])}. "
        "`benches/upstream/client.py` does it as the Python project does: a model built for each "
        "client in each round, texts padded to 128 tokens, clients one after the other, dense "
        "products in aggregation; seconds of one round, without evaluation, after a step that "
        f"warms up. Ours: the mean of {ROUNDS} rounds after the first, training and aggregation, "
        "texts cut at 128 tokens and padded to their batch's longest. Python is in float32. With "
        "SORF-VeRA it trains 96 of the examples, in steps that all take as long, and with rank 128 "
        "it adapts one of the model's blocks: its steps are multiplied by what was left out, and "
        "what a block takes more than none by the number of blocks."
    )


def rounds(case: Case, program: Path, python: Path, data: Path, model: Path) -> list[list[str]]:
    """A row in float32; one in bfloat16 for LoRA, and where a ratio is wanted."""
    common = [
        *("--task", case.task, "--data", data, "--model", model, "--r", case.r, *ROUND),
        *(["--lora_alpha", 8] if case.method == "ours" else []),
    ]
    theirs = seconds(case, python, model, [*common, "--method", case.method])
    made = []
    for precision in ["float32", "bfloat16"] if case.method == "ours" or case.wanted else ["float32"]:
        more = ["--limit_train", case.examples, "--max_seq_length", 128]
        more += ["--rounds", ROUNDS + 1, "--eval_every", ROUNDS + 1]
        run = by_regatta(program, case, precision, [*common, *more])
        ours = statistics.mean(
            one["seconds"]["train"] + one["seconds"]["aggregate"] for one in run.rounds[1:]
        )
        wanted = case.wanted if precision == "float32" else ""
        sizes = [str(case.r), str(case.examples)]
        figures = [f"{theirs:.2f}", f"{ours:.2f}", precision, f"{theirs / ours:.1f}", wanted]
        made.append([case.task, f"`{case.method}`", *sizes, *figures])
    return made


def seconds(case: Case, python: Path, model: Path, arguments: list) -> float:
    """The Python side's round."""
    trained = case.trained or case.examples

    def taken(*more: object) -> float:
        found = by_python(python, [*arguments, "--limit_train", trained, *more])
        whole, steps = found["seconds"][-1], found["training"][-1]
        return whole - steps + steps * case.examples / trained

    if not case.one_block:
        return taken()
    blocks = json.loads((model / "config.json").read_text(encoding="utf-8"))["num_hidden_layers"]
    without, with_one = taken("--blocks", 0), taken("--blocks", 1)
    return without + blocks * (with_one - without)


def by_python(python: Path, arguments: list) -> dict:
    """What client.py prints."""
    script = PROJECT / "benches" / "upstream" / "client.py"
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    output = call([python, script, *arguments, "--threads", machine.cores()], env=offline)
    return json.loads(output.splitlines()[-1])


def by_regatta(program: Path, case: Case, precision: str, arguments: list) -> Run:
    """A run of three clients, one epoch a round."""
    own = ["--num_clients", 3, "--partition", "contiguous"]
    own += ["--agg_type", case.method, "--precision", precision]
    return regatta(program, [*own, "--local_epochs", 1, *arguments])


def scores(program: Path, python: Path) -> str:
    """A table of accuracies over seeds, for both sides."""
    common = [*SCORES.split(), "--data", REVIEWS, "--model", MINILM]
    found = {"Python, float32": [], "Regatta, float32": [], "Regatta, bfloat16": []}
    for seed in SEEDS:
        own = [*common, "--seed", seed]
        theirs = by_python(python, [*own, "--method", "ours", "--length", 32])
        found["Python, float32"].append(theirs["accuracy"])
        for precision in ("float32", "bfloat16"):
            more = ["--max_seq_length", 32, "--eval_every", 4]
            run = by_regatta(program, SCORED, precision, [*own, *more])
            found[f"Regatta, {precision}"].append(run.rounds[-1]["eval"]["accuracy"])
    rows = []
    for side, values in found.items():
        spread = f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"
        rows.append([side, *(f"{value:.3f}" for value in values), spread])
    header = ["side", *(f"seed {seed}" for seed in SEEDS), "mean ± standard deviation"]
    return (
        "Accuracy after the last round, on all validation sentences of data/reviews: MiniLM, "
        f"`ours`, `{SCORES}`, cut at 32 tokens, the same shards. What is drawn, each side draws for "
        "itself: the head, the adapter's start, the order and the dropout. Wanted: equal within the "
        "spread of seeds.\n\n"
        + table(header, rows)
    )
