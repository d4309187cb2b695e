"""The programs and packages that the checks need: found, or installed where that may be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SDK = "grafana-foundation-sdk==1769699379!11.6.0"
GRAFATUI = "0.1.18"


def prometheus() -> bool:
    """Whether `prometheus` and `promtool` are there; as root on Debian, they are installed."""
    return program("prometheus", "prometheus") and program("promtool", "prometheus")


def program(name: str, package: str) -> bool:
    """Whether a program is there; as root on Debian, its package is installed."""
    if not shutil.which(name) and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing Debian's {package}")
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "--yes", "--no-install-recommends", package]
        if not _quietly(install, env):
            _quietly(["apt-get", "update"], env) and _quietly(install, env)
    return shutil.which(name) is not None


def sdk_python(folder: Path) -> Path | None:
    """A Python that has Grafana's SDK, in a virtual environment in `folder`."""
    return python_with(SDK, "grafana_foundation_sdk", folder)


def python_with(requirement: str, module: str, folder: Path) -> Path | None:
    """A Python that has a package's module, in a virtual environment in `folder`."""
    python = folder / "bin" / "python"
    if python.exists() and _quietly([python, "-c", f"import {module}"]):
        return python
    print(f"installing {requirement}")
    made = _quietly([sys.executable, "-m", "venv", "--clear", folder])
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return python if made and _quietly([*install, requirement]) else None


def grafatui(folder: Path) -> Path | None:
    """A Grafana of terminals, built in `folder` from crates.io."""
    program = folder / "bin" / "grafatui"
    wanted = f'"grafatui {GRAFATUI} '
    installed = folder / ".crates.toml"
    if installed.exists() and wanted in installed.read_text():
        return program
    print(f"building grafatui {GRAFATUI}, which takes some minutes", flush=True)
    build = folder / "build"
    install = [
        os.environ.get("CARGO", "cargo"), "install", "--quiet", "--locked", "--debug",
        "--version", GRAFATUI, "--root", folder, "--target-dir", build, "grafatui",
    ]  # fmt: skip
    done = _quietly(install)
    shutil.rmtree(build, ignore_errors=True)
    return program if done else None


def command(line: list, what: str, stdin: bytes | None = None) -> list[str]:
    """Runs a program; what it says is wrong."""
    result = subprocess.run(list(map(str, line)), input=stdin, capture_output=True)
    said = (result.stdout + result.stderr).decode()
    if result.returncode == 0:
        print(f"ok: {what}")
        return []
    return [f"not so: {what}\n{said}"]


def _quietly(command, env=None) -> bool:
    result = subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True)
    if result.returncode != 0:
        last = (result.stderr or result.stdout).strip().splitlines()[-1:]
        print(f"  {command[0]}: {' '.join(last)}")
    return result.returncode == 0
