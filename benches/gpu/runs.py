"""Runs of the program, and what is seen of them: times, digests, memory, how busy the GPU is."""

import json
import re
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from benches.tools import Failed

MIB = 1 << 20


class Sampler(threading.Thread):
    """Asks nvidia-smi for the GPU's use and memory, five times a second, until it is stopped."""

    def __init__(self):
        super().__init__(daemon=True)
        self.samples: list[tuple[float, float, float]] = []
        fields = "--query-gpu=utilization.gpu,memory.used"
        command = ["nvidia-smi", fields, "--format=csv,noheader,nounits", "--id=0", "--loop-ms=200"]
        try:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError:
            self.process = None

    def run(self) -> None:
        for line in self.process.stdout if self.process else ():
            numbers = re.findall(r"[\d.]+", line)
            if len(numbers) == 2:
                self.samples.append((time.monotonic(), float(numbers[0]), float(numbers[1])))

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.join()


@dataclass
class Run:
    """What a run left."""

    rounds: list[dict]
    digests: list[str]
    # Bytes that libtorch held on the device at most; of the CPU, the process's.
    held: float | None
    # Share of the time between the first round's end and the last but one's that the GPU was busy.
    busy: float | None
    # MiB of the GPU that were in use at most.
    used: float | None
    wall: float
    said: list[str] = field(repr=False)

    def step(self) -> float:
        """Seconds of an optimiser step: of a client's job, after the first round."""
        jobs = [client for record in self.rounds[1:] for client in record["clients"]]
        return statistics.median(job["seconds"] / job["steps"] for job in jobs)

    def round(self) -> float:
        """Seconds of a round without evaluation, after the first one."""
        phases = [record["seconds"] for record in self.rounds[1:]]
        return statistics.median(phase["train"] + phase["aggregate"] for phase in phases)


def run(program: Path, arguments: list[str], environment: dict[str, str], seconds: float) -> Run:
    """Runs the program to its end, at most so long."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        listening = ["--metrics", "127.0.0.1:0", "--web", "off", "--quiet", "--out", str(out)]
        command = [str(program), "run", *map(str, arguments), *listening]
        sampler = Sampler()
        sampler.start()
        begin = time.monotonic()
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True)
        reader.start()
        watchdog = threading.Timer(max(seconds, 1), process.kill)
        watchdog.start()
        said = [(time.monotonic(), line.rstrip()) for line in process.stdout]
        status = process.wait()
        watchdog.cancel()
        reader.join()
        sampler.stop()
        if status != 0:
            why = "it took too long" if status == -9 else "".join(errors).strip()
            raise Failed(f"regatta {' '.join(map(str, arguments))}: {why}")
        lines = (out / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
        rounds = [json.loads(line) for line in lines]
        ends = [when for when, line in said if line.startswith("round ")]
        window = (ends[0], ends[-2]) if len(ends) > 2 else (begin, time.monotonic())
        use = [busy for when, busy, _ in sampler.samples if window[0] <= when <= window[1]]
        return Run(
            rounds=rounds,
            digests=[record["state_digest"] for record in rounds],
            held=held(out / "metrics.prom"),
            busy=statistics.mean(use) / 100 if use else None,
            used=max((used for _, _, used in sampler.samples), default=None),
            wall=time.monotonic() - begin,
            said=[line for _, line in said],
        )


def held(metrics: Path) -> float | None:
    """The greatest of the devices' peaks."""
    if not metrics.exists():
        return None
    found = re.findall(
        r"^regatta_device_memory_peak_bytes\S* (\S+)$", metrics.read_text(encoding="utf-8"), re.M
    )
    return max(map(float, found), default=None)
