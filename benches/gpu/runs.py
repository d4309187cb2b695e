"""Runs of the program, and what is seen of them: times, digests, memory, what they print."""

import json
import re
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from benches.gpu.driver import Sampler, kernels_of, profiled
from benches.tools import Failed

MIB = 1 << 20


@dataclass
class Run:
    """What a run left."""

    rounds: list[dict]
    digests: list[str]
    # Bytes that libtorch held on the device at most; of the CPU, the process's.
    held: float | None
    # MiB of the GPU that were in use at most.
    used: float | None
    # Seconds of the GPU's kernels, where they were asked for.
    kernels: float | None
    wall: float
    # Lines on standard error.
    errors: list[str] = field(repr=False)

    def step(self) -> float:
        """Seconds of an optimiser step: of a client's job, after the first round."""
        jobs = [client for record in self.rounds[1:] for client in record["clients"]]
        return statistics.median(job["seconds"] / job["steps"] for job in jobs)

    def round(self) -> float:
        """Seconds of a round without evaluation, after the first one."""
        phases = [record["seconds"] for record in self.rounds[1:]]
        return statistics.median(phase["train"] + phase["aggregate"] for phase in phases)

    def aggregation(self) -> float:
        """Seconds of an aggregation, after the first one."""
        return statistics.median(record["seconds"]["aggregate"] for record in self.rounds[1:])

    def evaluation(self) -> float:
        """Seconds of the last evaluation."""
        return self.rounds[-1]["seconds"]["evaluate"]


class Process:
    """A run of the program on its way."""

    def __init__(
        self,
        program: Path,
        arguments: list,
        environment: dict[str, str],
        uuid: str | None = None,
        profile: bool = False,
    ):
        self.place = tempfile.TemporaryDirectory()
        folder = Path(self.place.name)
        self.out, self.report = folder / "run", folder / "profile" if profile else None
        listening = ["--metrics", "127.0.0.1:0", "--web", "off", "--quiet", "--out", self.out]
        command = [str(part) for part in (program, "run", *arguments, *listening)]
        self.name = " ".join(command[1:])
        if self.report:
            command = profiled(command, self.report)
        self.sampler = Sampler(uuid)
        self.sampler.start()
        self.begin = time.monotonic()
        self.errors: list[str] = []
        with_pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=environment, **with_pipes)
        self.reader = threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def end(self, seconds: float) -> Run:
        """Waits for its end, at most so long."""
        try:
            status = self.process.wait(timeout=max(seconds, 1))
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
            self.errors = ["it took too long"]
        wall = time.monotonic() - self.begin
        self.reader.join()
        self.sampler.stop()
        with self.place:
            if status != 0:
                raise Failed(f"regatta {self.name}: {''.join(self.errors).strip()}")
            lines = (self.out / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
            rounds = [json.loads(line) for line in lines]
            return Run(
                rounds=rounds,
                digests=[record["state_digest"] for record in rounds],
                held=held(self.out / "metrics.prom"),
                used=max((used for _, used in self.sampler.samples), default=None),
                kernels=kernels_of(self.report, 120) if self.report else None,
                wall=wall,
                errors=[line.rstrip() for line in self.errors if line.strip()],
            )


def held(metrics: Path) -> float | None:
    """The greatest of the devices' peaks."""
    if not metrics.exists():
        return None
    found = re.findall(
        r"^regatta_device_memory_peak_bytes\S* (\S+)$", metrics.read_text(encoding="utf-8"), re.M
    )
    return max(map(float, found), default=None)
