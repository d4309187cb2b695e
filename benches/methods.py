#!/usr/bin/env python3
"""Compares all aggregation methods on the quickstart's reviews; writes benches/METHODS.md.

    benches/methods.py [--seeds 1,2,3] [--only METHOD,…] [--table FILE] [--runs DIR] [-- FLAG…]

Eight clients share the four domains of data/reviews. Every method is run with every adapter and
seed below, one after the other; a run that is already in the runs' folder with the same flags is
not repeated, so an interrupted comparison continues where it stopped. What stands behind `--` goes
to every `regatta run`, such as `-- --limit_train 80` for a quick look.

Needs the release build and the files of `make setup`; `make methods` sees to both.
"""

import argparse
import csv
import datetime
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent

# About 25 s a run on two cores.
COMMON = {
    "task": "sst2",
    "data": "data/reviews",
    "partition": "natural:domain",
    "num_clients": 8,
    "model": "models/minilm",
    "max_seq_length": 32,
    "limit_train": 1280,
    "limit_eval": 500,
    "rounds": 5,
    "eval_every": 5,
    "local_epochs": 1,
    "batch_size": 4,
}

# Rates by one seed's trials. Where both of LoRA's matrices move in a round, larger ones are unsteady;
# one matrix alone, and the vectors of VeRA and SORF-VeRA, need larger ones to get anywhere.
LORA = {"adapter": "lora", "r": 8, "lora_alpha": 16, "lr": 2e-3}
LORA_IN_PART = {**LORA, "lr": 1e-2}
VERA = {"adapter": "vera", "r": 32, "d_initial": 1, "lr": 3e-2}
SORF = {"adapter": "sorf_vera", "r": 32, "lr": 3e-2}

METHODS = [
    ("fedit", LORA),
    ("fedex", LORA),
    ("flora", LORA),
    ("ffa", LORA_IN_PART),
    ("fedsvd", LORA_IN_PART),
    ("rolora", LORA_IN_PART),
    ("fedit", VERA),
    ("fedex_vera", VERA),
    ("sorf_vera", SORF),
    ("sorf_vera_exact", SORF),
]

TITLES = {"lora": "LoRA", "vera": "VeRA", "sorf_vera": "SORF-VeRA"}

HEADER = (
    "| method | adapter | exactness error, last round | worst round | accuracy "
    "| up per client and round | down |\n"
    "|---|---|--:|--:|--:|--:|--:|\n"
)


def flags(settings: dict) -> list[str]:
    return [part for key, value in settings.items() for part in (f"--{key}", str(value))]


def finished(folder: Path, arguments: list[str]) -> bool:
    """Whether the folder holds a complete run of these arguments."""
    try:
        made_by = json.loads((folder / "methods.json").read_text())
        summary = json.loads((folder / "summary.json").read_text())
    except FileNotFoundError:
        return False
    return made_by["arguments"] == arguments and summary["ending"] == "complete"


def run(binary: Path, folder: Path, arguments: list[str]) -> None:
    """Runs one method with one seed, unless that has been done."""
    if finished(folder, arguments):
        print(f"{folder.name}: done before", flush=True)
        return
    print(f"{folder.name}: ", end="", flush=True)
    # Only what this script made lies there: a run that was cut off, or one of other flags.
    shutil.rmtree(folder, ignore_errors=True)
    command = [str(binary), "run", *arguments, "--out", str(folder), "--quiet", "--metrics", "off"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"failed\n{' '.join(command)}\n{done.stderr}")
    note = {"arguments": arguments, "commit": commit()}
    (folder / "methods.json").write_text(json.dumps(note))
    summary = json.loads((folder / "summary.json").read_text())
    print(f"accuracy {summary['eval']['accuracy']:.3f}, {summary['seconds']:.0f} s", flush=True)


def commit() -> str:
    """The project's commit, marked where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def row(method: str, adapter: str, folders: list[Path]) -> str:
    """A method's line of the table, over its runs."""
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    clients = [
        client
        for folder in folders
        for line in (folder / "rounds.jsonl").read_text().splitlines()
        for client in json.loads(line)["clients"]
    ]
    last = max(summary["exactness_error"] for summary in summaries)
    worst = max(summary["worst_exactness_error"] for summary in summaries)
    accuracies = [summary["eval"]["accuracy"] for summary in summaries]
    accuracy = f"{statistics.mean(accuracies):.3f}"
    if len(accuracies) > 1:
        accuracy += f" ± {statistics.stdev(accuracies):.3f}"
    up, down = (
        kilobytes(statistics.mean(client[way] for client in clients))
        for way in ("bytes_up", "bytes_down")
    )
    cells = [f"`{method}`", TITLES[adapter], f"{last:.1e}", f"{worst:.1e}", accuracy, up, down]
    return f"| {' | '.join(cells)} |\n"


def kilobytes(count: float) -> str:
    return f"{count / 1000:,.0f} kB"


def commonest(limit: int) -> float:
    """The accuracy of always predicting the majority class of the validation examples."""
    with open(PROJECT / "data/reviews/SST-2/dev.tsv", encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        labels = [line["label"] for line in rows][:limit]
    return max(map(labels.count, set(labels))) / len(labels)


def page(table: str, arguments: argparse.Namespace, commits: set[str]) -> str:
    settings = {**COMMON, **given(arguments.further)}
    listed = ", ".join(f"{key} {value}" for key, value in settings.items())
    kinds = "; ".join(
        f"{TITLES[kind['adapter']]} with "
        + ", ".join(f"{key} {value}" for key, value in kind.items() if key != "adapter")
        for kind in (LORA, VERA, SORF)
    )
    kinds += f". LoRA's lr is {LORA_IN_PART['lr']} with ffa, fedsvd and rolora, which train one matrix a round"
    seeds = ", ".join(map(str, arguments.seeds))
    command = " ".join(["make methods", *([f"ARGS='{' '.join(sys.argv[1:])}'"] * bool(sys.argv[1:]))])
    return (
        "# Methods compared\n\n"
        f"Made by `{command}` on {datetime.date.today()} at commit {', '.join(sorted(commits))}.\n\n"
        f"{table}\n"
        "- *Exactness error*: ‖effective − ideal‖ / ‖Σ pᵢ s ΔWᵢ‖ over all adapted layers; the "
        "largest of the seeds. An exact method is left with float32's rounding.\n"
        "- *Accuracy* on validation after the last round: mean ± standard deviation over seeds "
        f"{seeds}. The majority class scores "
        f"{commonest(int(settings['limit_eval'])):.3f}.\n"
        "- *Up* and *down*: mean over clients and rounds, in the form that would be sent; of what "
        "goes up, the classification head is a part that is the same for all.\n\n"
        f"Settings: {listed}. {kinds}. All else by default.\n"
    )


def given(further: list[str]) -> dict:
    """Flags in the form `--key value` or `--key=value` as settings."""
    parts = [part for flag in further for part in flag.split("=", 1)]
    return {key.lstrip("-"): value for key, value in zip(parts[::2], parts[1::2])}


def words(text: str) -> list[str]:
    return text.split(",")


def integers(text: str) -> list[int]:
    return [int(word) for word in words(text)]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=integers, default=[1, 2, 3])
    parser.add_argument("--only", type=words, help="methods to run [all]")
    parser.add_argument("--table", type=Path, default=PROJECT / "benches/METHODS.md")
    parser.add_argument("--runs", type=Path, default=PROJECT / "runs/methods")
    parser.add_argument("--binary", type=Path, default=PROJECT / "target/release/regatta")
    parser.add_argument("further", nargs="*", metavar="FLAG", help="flags for every run, after --")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    binary, runs = arguments.binary.resolve(), arguments.runs.resolve()
    if not binary.is_file():
        sys.exit(f"{binary} is not there; `make methods` builds it, --binary names another")
    chosen = [
        (method, kind)
        for method, kind in METHODS
        if arguments.only is None or method in arguments.only
    ]
    rows, commits = [], set()
    for method, kind in chosen:
        folders = []
        for seed in arguments.seeds:
            folder = runs / f"{method}-{kind['adapter']}-{seed}"
            settings = {**COMMON, **kind, "agg_type": method, "seed": seed}
            settings.update(given(arguments.further))
            run(binary, folder, flags(settings))
            commits.add(json.loads((folder / "methods.json").read_text())["commit"])
            folders.append(folder)
        rows.append(row(method, kind["adapter"], folders))
    table = HEADER + "".join(rows)
    print(f"\n{table}")
    arguments.table.write_text(page(table, arguments, commits), encoding="utf-8")
    print(f"written to {arguments.table}")


if __name__ == "__main__":
    main()
