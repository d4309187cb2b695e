"""Two real runs to look at: a small model, a small task, and metrics on separate ports."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

MODEL = Path("tests/golden/model/roberta-2")
TOKENIZER = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": None,
    "model": {
        "type": "WordLevel",
        "unk_token": "<unk>",
        "vocab": {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "boat": 5},
    },
}
FAULTS = Path("dashboards/check/faults.toml").resolve()
# The first has a series for each client, the second is too large for that.
RUNS = {
    "check-few": [FAULTS, "--num_clients", "3", "--lanes", "2", "--agg_type", "fedex"],
    "check-many": ["--num_clients", "4", "--client_series", "2", "--agg_type", "fedit"],
}
SETTINGS = [
    "--task", "rte", "--model", "model", "--data", "data", "--rounds", "1000000", "--cpu",
    "--local_epochs", "1", "--batch_size", "4", "--max_seq_length", "32",
    "--metrics", "127.0.0.1:0", "--web", "off",
]  # fmt: skip


class Run:
    """A run that continues until it is ended; `url` is what it prints after `announcement`."""

    def __init__(self, place: Path | None, log: Path, announcement: str, **environment: str):
        """Starts nothing yet; a command is started in `place` and writes to `log`."""
        self.place, self.log, self.announcement = place, log, announcement
        self.environment = {**os.environ, **environment}

    def start(self, command: list) -> None:
        """Starts a command, and waits for its announcement."""
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=self.place, env=self.environment, stdout=log, stderr=log
            )
        self.url = self._url()

    def _url(self) -> str:
        while self.process.poll() is None:
            for line in self.log.read_text().splitlines(keepends=True):
                if line.startswith(self.announcement) and line.endswith("\n"):
                    return line.removeprefix(self.announcement).strip()
            time.sleep(0.05)
        raise SystemExit(f"error: the run did not start:\n{self.log.read_text()}")

    @property
    def address(self) -> str:
        """Host and port of the URL."""
        return self.url.split("/")[2]

    def end(self) -> None:
        """Ends the run after its round, as Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=120)


def start(program: Path, place: Path) -> dict[str, Run]:
    """Makes model and data in `place` and starts the runs there."""
    furnish(place, examples=24)
    started = {}
    for name, flags in RUNS.items():
        command = [program, "run", *flags, *SETTINGS, "--name", name, "--out", name]
        run = Run(place, place / f"{name}.log", "metrics at ")
        run.start(command)
        started[name] = run
    return started


def furnish(place: Path, examples: int) -> None:
    """Makes a small model in `place/model`, and the task RTE with N examples in `place/data`."""
    model, task = place / "model", place / "data" / "RTE"
    model.mkdir()
    task.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(MODEL / name, model)
    (model / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    labels = ("entailment", "not_entailment")
    lines = [f"{i}\ta boat\ta boat {i}\t{labels[i % 2]}\n" for i in range(examples)]
    for split in ("train", "dev"):
        text = "index\tsentence1\tsentence2\tlabel\n" + "".join(lines)
        (task / f"{split}.tsv").write_text(text)
