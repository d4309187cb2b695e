"""What the NVIDIA driver's tools say of one GPU, which is named by its UUID: their numbers are not CUDA's."""

import csv
import io
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

from benches.tools import Failed, call


def uuid_of(doctor: str) -> str | None:
    """The UUID of CUDA's first GPU, in what `regatta doctor` prints."""
    found = re.search(r"^cuda +0: .*?((?:GPU|MIG)-[0-9a-f-]+)$", doctor, re.M)
    return found.group(1) if found else None


class Sampler(threading.Thread):
    """Asks nvidia-smi for a GPU's memory, five times a second, until it is stopped."""

    def __init__(self, uuid: str | None):
        super().__init__(daemon=True)
        self.samples: list[tuple[float, float]] = []
        self.process = None
        if uuid is None:
            return
        fields = ["--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        command = ["nvidia-smi", *fields, f"--id={uuid}", "--loop-ms=200"]
        try:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError:
            pass

    def run(self) -> None:
        for line in self.process.stdout if self.process else ():
            # "[N/A]" for a slice.
            if re.fullmatch(r"\d+", line.strip()):
                self.samples.append((time.monotonic(), float(line)))

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.join()


def kernel_seconds(table: str) -> float:
    """The time of all kernels in a table of `nsys stats --report cuda_gpu_kern_sum --format csv`."""
    lines = table.splitlines()
    first = next((at for at, line in enumerate(lines) if "Total Time (ns)" in line), None)
    if first is None:
        raise Failed("nsys printed no table of kernels")
    rows = csv.DictReader(io.StringIO("\n".join(lines[first:])))
    return sum(float(row["Total Time (ns)"]) for row in rows if row["Total Time (ns)"]) / 1e9


def profiled(command: list[str], report: Path) -> list[str]:
    """The command under nsys, which writes what kernels took into a report."""
    if shutil.which("nsys") is None:
        raise Failed("nsys (Nsight Systems), which knows what kernels took, is not installed")
    output = ["--force-overwrite=true", f"--output={report}"]
    return ["nsys", "profile", "--trace=cuda", "--sample=none", "--cpuctxsw=none", *output, *command]


def kernels_of(report: Path, timeout: float) -> float:
    """Seconds of kernels in a report of nsys."""
    asked = ["--report", "cuda_gpu_kern_sum", "--format", "csv", "--force-export=true"]
    return kernel_seconds(call(["nsys", "stats", *asked, f"{report}.nsys-rep"], timeout=timeout))
