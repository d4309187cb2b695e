"""Real runs whose page is looked at."""

import os
import signal
import subprocess
import time
from pathlib import Path

from dashboards.check.runs import furnish

# What `make setup` fetched, with little of the data.
QUICKSTART = [
    "scenarios/quickstart.toml", "--limit_train", "96", "--limit_eval", "32", "--rounds", "5",
    "--batch_size", "8", "--max_seq_length", "32", "--cpu",
    # However quick it is, it is there until it has been looked at.
    "--metrics_linger", "1 h",
]  # fmt: skip
# What has to be known to steer a run.
TOKEN = "a secret"
# Like scenarios/thousand_clients.toml, with a model so small that rounds take a moment.
THOUSAND = """
task = "rte"
data = "data"
model = "model"
num_clients = 1000
rounds = 1000000
local_epochs = 1
batch_size = 1
max_seq_length = 32
eval_every = 10
cpu = true

[sampling]
number = 32

[policy]
kind = "over_select"
factor = 1.25

[clients.phones]
speed = 10
latency = "80 ms"

[clients.desktops]
share = 0.2
speed = 60

[[faults]]
kind = "drop"
probability = 0.05
at = 0.5

[[faults]]
kind = "crash"
probability = 0.03

[[faults]]
kind = "straggle"
probability = 0.1
slowdown = "log_normal(3, 0.5)"
"""


class Run:
    """A run with a page; `url` is where."""

    def __init__(self, program: Path, log: Path, *arguments: str, cwd: Path | None = None):
        self.program, self.log, self.cwd = program, log, cwd
        self._start("run", *arguments, "--metrics", "off")

    def _start(self, *arguments: str) -> None:
        with self.log.open("w") as log:
            command = [self.program, *arguments]
            env = {**os.environ, "REGATTA_CONTROL_TOKEN": TOKEN}
            self.process = subprocess.Popen(command, cwd=self.cwd, env=env, stdout=log, stderr=log)
        self.url = self._url()

    def _url(self) -> str:
        while self.process.poll() is None:
            for line in self.log.read_text().splitlines(keepends=True):
                if line.startswith("watch at ") and line.endswith("\n"):
                    return line.split()[-1]
            time.sleep(0.05)
        raise SystemExit(f"error: the run did not start:\n{self.log.read_text()}")

    def kill(self) -> None:
        """Kills it as a power cut would."""
        self.process.kill()
        self.process.wait(timeout=60)

    def resume(self, folder: str) -> None:
        """Resumes it, at the same address."""
        address = self.url.split("/")[2]
        self._start("resume", folder, "--web", address)

    def end(self) -> None:
        """Ends the run after its round, as Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=120)


def quickstart(program: Path, place: Path, *flags: str) -> Run:
    out = str(place / "quickstart")
    arguments = [*QUICKSTART, "--out", out, "--web", "127.0.0.1:0", *flags]
    return Run(program, place / "quickstart.log", *arguments)


def thousand(program: Path, place: Path) -> Run:
    furnish(place, examples=1200)
    (place / "thousand.toml").write_text(THOUSAND)
    flags = ("--out", "thousand", "--web", "127.0.0.1:0", "--control", "127.0.0.1:0")
    return Run(program, place / "thousand.log", "thousand.toml", *flags, cwd=place)
