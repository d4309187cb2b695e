"""What figures depend on: the machine, the versions, the commit."""

import os
import platform
import subprocess
from pathlib import Path

from benches.methods import PROJECT, commit

__all__ = ["commit", "cores", "describe", "memory", "packages", "rustc", "torch"]


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> int:
    """Bytes of memory that are free to use."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(found[0][1]) * 1024


def describe() -> str:
    """Processor, cores and memory."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{processor()}, {cores()} cores, {total / 2**30:.0f} GiB, {platform.system()}"


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def rustc() -> str:
    done = subprocess.run(["rustc", "--version"], cwd=PROJECT, capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split()[:2]) or "rustc unknown"


def torch() -> str:
    """The version of the libtorch that the program is linked with."""
    place = Path(os.environ.get("LIBTORCH") or PROJECT / "third_party/libtorch")
    try:
        return f"libtorch {(place / 'build-version').read_text(encoding='ascii').strip()}"
    except FileNotFoundError:
        return "libtorch unknown"


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself; one that does not takes minutes for a step."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16"})


def packages(python: Path, names: list[str]) -> str:
    """Versions of packages in a virtual environment."""
    script = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    done = subprocess.run([python, "-c", script, *names], capture_output=True, text=True, check=True)
    found = zip(names, done.stdout.split())
    return ", ".join(f"{name} {version}" for name, version in found)
