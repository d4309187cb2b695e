"""Real runs to look at: small models, small tasks, and metrics on separate ports."""

import json
import os
import re
import shutil
import signal
import socket
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
LABELS = ["--task", "rte", "--model", "model", "--data", "data", "--max_seq_length", "32"]
DECODER = {
    "model_type": "gpt2", "n_positions": 128, "n_embd": 16, "n_layer": 2, "n_head": 2,
}  # fmt: skip
RESTAURANTS = Path("data/restaurants").resolve()
# A model that writes texts after each round, from weights that the seed decides.
TEXTS = [
    "--task", "e2e", "--data", RESTAURANTS, "--model", "random:decoder/config.json",
    "--tokenizer", "decoder/tokenizer.json", "--target_modules", "c_attn", "--max_seq_length", "96",
    "--limit_train", "40", "--limit_eval", "24", "--limit_test", "2", "--generate_every", "1",
    "--limit_generate", "8", "--num_beams", "2", "--max_new_tokens", "12",
]  # fmt: skip
# The first has a series for each client, the second is too large for that, the third writes texts.
RUNS = {
    "check-few": [FAULTS, *LABELS, "--num_clients", "3", "--lanes", "2", "--agg_type", "fedex"],
    "check-many": [*LABELS, "--num_clients", "4", "--client_series", "2", "--agg_type", "fedit"],
    "check-texts": ["--num_clients", "2", *TEXTS],
}
# One that a worker trains for, where there is a broker to be had.
ON_HOSTS = "check-hosts"
NATS = Path("third_party/nats-server")
SETTINGS = [
    "--rounds", "1000000", "--cpu", "--local_epochs", "1", "--batch_size", "4",
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


class RunOnHosts(Run):
    """A run that a worker trains for, over a broker on this machine."""

    def start(self, command: list) -> None:
        program, folder = command[0], self.place / "broker"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            listen = "127.0.0.1:%d" % free.getsockname()[1]
        log = self.place / "broker.log"
        self.broker = Run(None, log, "runs:    regatta run SCENARIO --cluster ")
        self.broker.start([program, "broker", "--folder", folder, "--listen", listen])
        super().start([*command, "--cluster", self.broker.url])
        self.worker = Run(self.place, self.place / "worker.log", "invited: ")
        self.worker.start([program, "worker", "--cluster", folder / "worker.toml", "--lanes", "1"])

    def end(self) -> None:
        for part in (super(), self.worker, self.broker):
            part.end()


def start(program: Path, place: Path) -> dict[str, Run]:
    """Makes model and data in `place` and starts the runs there."""
    furnish(place, examples=24)
    furnish_decoder(place)
    started = {}
    for name, flags in RUNS.items():
        command = [program, "run", *flags, *SETTINGS, "--name", name, "--out", name]
        run = Run(place, place / f"{name}.log", "metrics at ")
        run.start(command)
        started[name] = run
    if NATS.exists():
        run = RunOnHosts(place, place / f"{ON_HOSTS}.log", "metrics at ")
        flags = [*LABELS, "--num_clients", "2", *SETTINGS, "--name", ON_HOSTS, "--out", ON_HOSTS]
        run.start([program, "run", *flags])
        started[ON_HOSTS] = run
    else:
        print("skipped: no broker here (make setup NATS=1), so no run on other hosts was watched")
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


def furnish_decoder(place: Path) -> None:
    """Makes the shape of a decoder in `place/decoder`, and a tokenizer that has the restaurants'
    words and signs."""
    folder = place / "decoder"
    folder.mkdir()
    texts = [path.read_text() for path in sorted(RESTAURANTS.glob("*.csv"))]
    words = sorted(set(re.findall(r"\w+|[^\w\s]+", " ".join(texts))) | {"->"})
    ids = {word: i for i, word in enumerate(["<|endoftext|>", "<unk>", *words])}
    model = {**TOKENIZER["model"], "vocab": ids}
    (folder / "tokenizer.json").write_text(json.dumps({**TOKENIZER, "model": model}))
    special = {"bos_token_id": 0, "eos_token_id": 0}
    config = {**DECODER, "vocab_size": len(ids), **special}
    (folder / "config.json").write_text(json.dumps(config))
