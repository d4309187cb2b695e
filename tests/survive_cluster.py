"""Kills a broker, a coordinator and workers at random while a run goes on, and compares what it comes
to with a run of one process that nobody disturbed: the ledger, and the model, byte for byte.

    python3 tests/survive_cluster.py [REGATTA [KILLS]]

Needs the small model and data set of `make setup`, and the server of `make setup NATS=1`.
"""

from __future__ import annotations

import filecmp
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SCENARIO = "tests/survive.toml"
WORKERS = 3
# Seconds between two kills, at most.
PAUSE = 2.0
# Seconds after which a run that does not end has failed.
PATIENCE = 300.0
# What a run leaves behind that has no trace of time.
LASTING = ["events.jsonl", "base_delta.safetensors", "adapter", "best"]


class Part:
    """A process that is started again when it was killed."""

    def __init__(self, name: str, log: Path, *command: object):
        self.name, self.log = name, log
        self.command = [str(word) for word in command]
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, cwd=PROJECT, stdout=log, stderr=log)

    def kill(self) -> None:
        """As if the machine had lost its power."""
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """Asks it to end, and waits."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]


class Coordinator(Part):
    """The run, which is resumed once it has a ledger."""

    def __init__(self, regatta: Path, out: Path, cluster: Path, log: Path):
        super().__init__("coordinator", log)
        self.out = out
        quiet = ["--metrics", "off", "--quiet"]
        self.begin = [regatta, "run", SCENARIO, "--out", out, "--cluster", cluster, "--web", "off", *quiet]
        self.resume = [regatta, "resume", out, "--cluster", cluster, "--metrics", "off", "--quiet=true"]

    def start(self) -> None:
        resumes = (self.out / "events.jsonl").exists()
        self.command = [str(word) for word in (self.resume if resumes else self.begin)]
        super().start()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what: str, ready) -> None:
    until = time.monotonic() + 30
    while not ready():
        if time.monotonic() > until:
            sys.exit(f"never: {what}")
        time.sleep(0.05)


def survive(regatta: Path, kills: int, place: Path) -> None:
    whole = [regatta, "run", SCENARIO, "--metrics", "off", "--web", "off", "--quiet", "--out", place / "whole"]
    subprocess.run([str(word) for word in whole], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    folder = place / "broker"
    listen = f"127.0.0.1:{free_port()}"
    broker = Part("broker", place / "broker.log", regatta, "broker", "--folder", folder, "--listen", listen)
    broker.start()
    wait_for("the broker's files", (folder / "worker.toml").exists)
    worker = [regatta, "worker", "--cluster", folder / "worker.toml", "--lanes", 1]
    workers = [
        Part(f"worker {number}", place / f"worker-{number}.log", *worker, "--name", f"host-{number}")
        for number in range(WORKERS)
    ]
    run = Coordinator(regatta, place / "run", folder / "cluster.toml", place / "run.log")
    parts = [broker, run, *workers]
    try:
        for part in parts[1:]:
            part.start()
        endure(parts, run, kills)
    finally:
        for part in reversed(parts):
            part.end()
    compare(place / "whole", place / "run")


def endure(parts: list[Part], run: Part, kills: int) -> None:
    """Kills a part now and then, and starts whatever has ended before its time."""
    draw = random.Random()
    until = time.monotonic() + PATIENCE
    killed: dict[str, int] = {}
    next_kill = time.monotonic() + draw.uniform(0, PAUSE)
    while run.process.poll() != 0:
        if time.monotonic() > until:
            sys.exit(f"the run does not end:\n{run.said()}")
        for part in parts:
            if part.process.poll() not in (None, 0):
                part.start()
        if sum(killed.values()) < kills and time.monotonic() >= next_kill:
            victim = draw.choice(parts)
            victim.kill()
            killed[victim.name] = killed.get(victim.name, 0) + 1
            victim.start()
            next_kill = time.monotonic() + draw.uniform(0, PAUSE)
        time.sleep(0.05)
    told = ", ".join(f"{name} {count}" for name, count in sorted(killed.items()))
    print(f"killed: {told}")


def compare(whole: Path, run: Path) -> None:
    """Refuses any difference in what has no trace of time."""
    wrong = [name for name in LASTING if not same(whole / name, run / name)]
    if wrong:
        sys.exit(f"not as in the run that nobody disturbed: {', '.join(wrong)}")
    print(f"the same, byte for byte: {', '.join(LASTING)}")


def same(one: Path, other: Path) -> bool:
    if not one.is_dir():
        return filecmp.cmp(one, other, shallow=False)
    names = sorted(path.name for path in one.iterdir())
    if names != sorted(path.name for path in other.iterdir()):
        return False
    return all(same(one / name, other / name) for name in names)


def main() -> None:
    regatta = PROJECT / (sys.argv[1] if len(sys.argv) > 1 else "target/release/regatta")
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    with tempfile.TemporaryDirectory() as place:
        began = time.monotonic()
        survive(regatta, kills, Path(place))
        print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
