"""What the parts share: programs, runs of them, virtual environments, tables."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benches.methods import PROJECT

TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or PROJECT / "target")
CARGO = shlex.split(os.environ.get("CARGO") or "cargo")


class Failed(Exception):
    """A part could not be measured; says why."""


def call(command: list, **further) -> str:
    """What a command prints, its diagnostics being kept for the case that it fails."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, **{"cwd": PROJECT, **further}
        )
    except OSError as error:
        raise Failed(f"`{command[0]}` cannot be run: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"`{shorten(command)}` was not done after {error.timeout:.0f} s") from error
    if done.returncode != 0:
        raise Failed(f"`{shorten(command)}` failed:\n\n{last_lines(done.stderr)}")
    return done.stdout


def shorten(command: list[str]) -> str:
    """A command as it would be typed in the project's folder."""
    return " ".join(command).replace(f"{PROJECT}/", "")


def last_lines(text: str) -> str:
    """The end of a program's diagnostics, as a block of Markdown."""
    lines = text.replace(f"{PROJECT}/", "").strip().splitlines()[-8:]
    return "\n".join(f"    {line}" for line in lines)


def environment(name: str, packages: list[str]) -> Path:
    """The interpreter of a virtual environment with these packages; made when it is not there."""
    folder = PROJECT / "target" / name
    program, complete = folder / "bin" / "python", folder / "complete"
    wanted = "\n".join(packages)
    if not complete.exists() or complete.read_text(encoding="utf-8") != wanted:
        print(f"installing {', '.join(packages)}", file=sys.stderr, flush=True)
        call([sys.executable, "-m", "venv", "--clear", folder])
        call([program, "-m", "pip", "install", "--quiet", *packages])
        complete.write_text(wanted, encoding="utf-8")
    return program


@dataclass
class Run:
    """A run of the program: its folder's records, and what it took."""

    rounds: list[dict]
    peak_bytes: int


def regatta(program: Path, arguments: list) -> Run:
    """Runs the program, whose folder is read and removed. Nothing listens beside it."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        quiet = ["--metrics", "off", "--web", "off", "--quiet", "--out", out]
        command = [str(part) for part in [program, "run", *arguments, *quiet]]
        errors = Path(place) / "errors"
        with open(errors, "w", encoding="utf-8") as file:
            child = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=file)
            _, status, usage = os.wait4(child.pid, 0)
        # The object must not wait for a process that has been waited for.
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise Failed(f"`{shorten(command)}` failed:\n\n{last_lines(errors.read_text(encoding='utf-8'))}")
        lines = (out / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Run([json.loads(line) for line in lines], usage.ru_maxrss * unit)


def table(header: list[str], rows: list[list[str]], left: int = 1) -> str:
    """A table in Markdown, its first columns to the left."""
    rule = ["---"] * left + ["--:"] * (len(header) - left)
    lines = [header, rule, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def paragraphs(parts: list[str]) -> str:
    """Pieces of text with an empty line between them."""
    return "\n\n".join(part.strip() for part in parts)
