"""Rounds timed side by side with the Python way: `python -m benches.upstream PROGRAM`.

PROGRAM is the release build of `regatta`. Both train the same model on the same examples with the
same batches, threads and method; the Python side is client.py, in a virtual environment of its
own, made on first use. Prints a table; `--quick` takes one row only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ["torch==2.11.0", "transformers==4.46.2", "peft==0.12.0"]
LR = 1e-3

# Task, method, rank, and training examples of a round on the Python side: its steps are costly,
# those of SORF-VeRA at rank 128 take minutes each.
CASES = [
    ("rte", "ours", 4, 192),
    ("cola", "ours", 4, 192),
    ("mrpc", "ours", 4, 192),
    ("rte", "ours_vera", 128, 192),
    ("cola", "ours_vera", 128, 192),
    ("mrpc", "ours_vera", 128, 192),
    ("rte", "sorf_vera", 32, 96),
    ("rte", "sorf_vera", 128, 12),
]
# Without GLUE's files: the quickstart's sentences, which have its layout.
WITHOUT_GLUE = [("sst2", method, r, count) for task, method, r, count in CASES if task == "rte"]
HEADER = (
    "| task | method | r | examples | Python, s | Regatta, s | ratio |\n"
    "|---|---|--:|--:|--:|--:|--:|\n"
)


def python(folder: Path) -> Path:
    """The environment's interpreter; made when it is not there."""
    program = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print("installing transformers and peft", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([program, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "complete").touch()
    return program


def by_python(program: Path, arguments: list[str], environment: dict[str, str]) -> float:
    script = PROJECT / "benches" / "upstream" / "client.py"
    done = subprocess.run(
        [program, script, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode != 0:
        sys.exit(f"the Python side failed\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])["seconds"][-1]


def by_regatta(program: Path, arguments: list[str]) -> float:
    """Seconds of a second round, without its evaluation: nothing is read or built in it."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        more = ["--rounds", "2", "--eval_every", "2", "--metrics", "off", "--web", "off", "--quiet", "--out", str(out)]
        done = subprocess.run(
            [program, "run", *arguments, *more], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            sys.exit(f"regatta failed\n{done.stderr}")
        seconds = json.loads((out / "rounds.jsonl").read_text().splitlines()[-1])["seconds"]
        return seconds["train"] + seconds["aggregate"]


def row(case: tuple[str, str, int, int], arguments: argparse.Namespace, interpreter: Path) -> str:
    task, method, r, count = case
    data = arguments.data if task != "sst2" else PROJECT / "data" / "reviews"
    common = [
        *("--data", str(data), "--model", str(arguments.model), "--task", task),
        *("--r", str(r), "--lr", str(LR), "--limit_train", str(count), "--limit_eval", "32"),
        *("--batch_size", "32", "--seed", "1"),
    ]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    theirs = by_python(interpreter, ["--method", method, *common], offline)
    ours = by_regatta(
        arguments.program,
        ["--agg_type", method, "--num_clients", "3", "--local_epochs", "1", "--max_seq_length", "128", *common],
    )
    return f"| {task} | `{method}` | {r} | {count} | {theirs:.2f} | {ours:.2f} | {theirs / ours:.1f} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.upstream", description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("REGATTA_DATA", PROJECT / "data/glue")))
    parser.add_argument("--model", type=Path, default=PROJECT / "models/minilm")
    parser.add_argument("--venv", type=Path, default=PROJECT / "target" / "upstream-venv")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    arguments.program = arguments.program.resolve()
    interpreter = python(arguments.venv)
    cases = CASES if (arguments.data / "RTE").is_dir() else WITHOUT_GLUE
    print(HEADER, end="")
    for case in cases[:1] if arguments.quick else cases:
        print(row(case, arguments, interpreter), end="", flush=True)


if __name__ == "__main__":
    main()
