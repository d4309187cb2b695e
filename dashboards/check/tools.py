"""The programs and packages that the checks need: found, or installed where that may be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SDK = "grafana-foundation-sdk==1769699379!11.6.0"


def prometheus() -> bool:
    """Whether `prometheus` and `promtool` are there; as root on Debian, they are installed."""
    if not _there() and os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing Debian's prometheus")
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "--yes", "--no-install-recommends", "prometheus"]
        if not _quietly(install, env):
            _quietly(["apt-get", "update"], env) and _quietly(install, env)
    return _there()


def sdk_python(folder: Path) -> Path | None:
    """A Python that has Grafana's SDK, in a virtual environment in `folder`."""
    python = folder / "bin" / "python"
    has_sdk = [python, "-c", "import grafana_foundation_sdk"]
    if python.exists() and _quietly(has_sdk):
        return python
    print("installing Grafana's SDK")
    made = _quietly([sys.executable, "-m", "venv", "--clear", folder])
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", SDK]
    return python if made and _quietly(install) else None


def _there() -> bool:
    return all(map(shutil.which, ("prometheus", "promtool")))


def _quietly(command, env=None) -> bool:
    result = subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True)
    if result.returncode != 0:
        last = (result.stderr or result.stdout).strip().splitlines()[-1:]
        print(f"  {command[0]}: {' '.join(last)}")
    return result.returncode == 0
