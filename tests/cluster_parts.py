"""The processes of a run on a cluster, for the checks that disturb them, and the comparison of what
the run comes to with a run of one process that nobody disturbed.
"""

from __future__ import annotations

import filecmp
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SCENARIO = "tests/survive.toml"
# What a run leaves behind that has no trace of time; `best` unless the last round was the best.
LASTING = ["events.jsonl", "base_delta.safetensors", "adapter", "best"]


class Part:
    """A process that is started again when it was killed."""

    def __init__(self, name: str, log: Path, *command: object, **environment: str):
        self.name, self.log = name, log
        self.command = [str(word) for word in command]
        # Of `env`, which gives its place to the program.
        self.environment = ["env", *(f"{name}={value}" for name, value in environment.items())]
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        with open(self.log, "ab") as log:
            command = [*self.environment, *self.command]
            self.process = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log)

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        """As if the machine had lost its power."""
        self.send(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """Asks it to end, and waits."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]


class Coordinator(Part):
    """The run, which is resumed once its folder has its settings, before its ledger is begun."""

    def __init__(
        self,
        regatta: Path,
        scenario: str,
        out: Path,
        cluster: Path,
        log: Path,
        *flags: object,
        **environment: str,
    ):
        super().__init__("coordinator", log, **environment)
        self.out = out
        quiet = ["--metrics", "off", "--quiet"]
        place = ["--out", out, "--cluster", cluster]
        self.begin = [regatta, "run", scenario, *place, "--web", "off", *quiet, *flags]
        self.resume = [regatta, "resume", out, "--cluster", cluster, "--metrics", "off", "--quiet=true"]

    def start(self) -> None:
        resumes = (self.out / "scenario.toml").exists()
        self.command = [str(word) for word in (self.resume if resumes else self.begin)]
        super().start()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what: str, ready, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            sys.exit(f"never: {what}")
        time.sleep(0.05)


def undisturbed(regatta: Path, out: Path, *flags: object) -> None:
    """The run in one process, which the others are compared with."""
    whole = [regatta, "run", SCENARIO, "--metrics", "off", "--web", "off", "--quiet", "--out", out]
    command = [str(word) for word in (*whole, *flags)]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"the undisturbed run failed:\n{done.stderr}")


def start_broker(regatta: Path, folder: Path) -> Part:
    """A broker on this machine alone that has written its files."""
    listen = f"127.0.0.1:{free_port()}"
    log = folder.with_suffix(".log")
    broker = Part("broker", log, regatta, "broker", "--folder", folder, "--listen", listen)
    broker.start()
    wait_for("the broker's files", (folder / "worker.toml").exists)
    return broker


def compare(whole: Path, run: Path) -> None:
    """Refuses any difference in what has no trace of time."""
    wrong = [name for name in LASTING if not same(whole / name, run / name)]
    if wrong:
        sys.exit(f"not as in the run that nobody disturbed: {', '.join(wrong)}")


def same(one: Path, other: Path) -> bool:
    if not one.exists() or not other.exists():
        return one.exists() == other.exists()
    if not one.is_dir():
        return filecmp.cmp(one, other, shallow=False)
    names = sorted(path.name for path in one.iterdir())
    if names != sorted(path.name for path in other.iterdir()):
        return False
    return all(same(one / name, other / name) for name in names)
