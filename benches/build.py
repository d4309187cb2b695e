"""From nothing to a first round, to a passed test run and to a changed line: how long each takes.

Measured in a clone of a commit, with its own cargo home, so that nothing is there before.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benches.tools import CARGO, Failed, call, last_lines, table

# As many of the units that took longest as are worth a look.
SLOWEST = 16
# What the terminal shows when a round is done.
FIRST_ROUND = re.compile(r"round +1/")
# The file that is changed: one that much of the crate imports.
CHANGED = "src/base/files.rs"
# Passes `--timings` to whatever builds.
WRAPPER = """#!/bin/sh
command=$1
shift
case $command in
build | run | test | clippy) exec {cargo} "$command" --timings "$@" ;;
*) exec {cargo} "$command" "$@" ;;
esac
"""


@dataclass
class Times:
    """What a commit took, in seconds."""

    commit: str
    downloads: float = 0.0
    first_round: float = 0.0
    tests: float | None = None
    change: float = 0.0
    # Seconds of the release build's units, by name.
    units: dict[str, float] = field(default_factory=dict)
    # Their sum, and how many there were.
    total: tuple[float, int] = (0.0, 0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this part."""
    group = parser.add_argument_group("build")
    group.add_argument(
        "--before", metavar="COMMIT", help="measure this commit too, first, but for its tests"
    )
    group.add_argument(
        "--no_tests", action="store_true", help="leave `make test` out, which takes longest"
    )


def flags(arguments: argparse.Namespace) -> list[str]:
    """The flags as they were given."""
    before = ["--before", arguments.before] if arguments.before else []
    return [*before, *(["--no_tests"] if arguments.no_tests else [])]


def measure(project: Path, commit: str, arguments: argparse.Namespace) -> str:
    """A table of the commands and one of the release build's slowest units."""
    measured = [of_commit(project, arguments.before, tests=False)] if arguments.before else []
    measured.append(of_commit(project, commit, tests=not arguments.no_tests))
    header = ["commit", "downloads", "`make run` to its first round", "`make test`", "`cargo build` after a change"]
    rows = [
        [m.commit, seconds(m.downloads), seconds(m.first_round), seconds(m.tests), seconds(m.change)]
        for m in measured
    ]
    explanation = (
        "In a clone with an empty cargo home and nothing built: downloads (`make setup`, `cargo "
        "fetch`), which the other columns do not contain; `make run` to the line of its first "
        f"round; `make test`, the target folder emptied; a debug build after a change in {CHANGED}. "
        "Wanted: the first round within 6:00 and the tests within 12:00, downloads included; the "
        "change within 0:40."
    )
    return f"{explanation}\n\n{table(header, rows)}\n{slowest(measured)}"


def slowest(measured: list[Times]) -> str:
    """The units that took longest in any of the builds, side by side."""
    names = {name for times in measured for name in times.units}
    longest = sorted(names, key=lambda name: -max(t.units.get(name, 0.0) for t in measured))
    rows = [
        [name, *(f"{t.units[name]:.0f}" if name in t.units else "" for t in measured)]
        for name in longest[:SLOWEST]
    ]
    count = [f"{t.total[0]:.0f} in {t.total[1]}" for t in measured]
    header = ["unit of the release build, seconds", *(t.commit for t in measured)]
    return table(header, [*rows, ["all units", *count]])


def of_commit(project: Path, commit: str, tests: bool) -> Times:
    """Measures one commit."""
    times = Times(commit)
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place) / "regatta"
        call(["git", "clone", "--quiet", "--no-checkout", project, clone])
        call(["git", "checkout", "--quiet", commit], cwd=clone)
        environment = surroundings(Path(place))
        times.downloads = timed(["make", "setup"], clone, environment)
        fetch = [*CARGO, "fetch", "--quiet", "--target", "host-tuple"]
        times.downloads += timed(fetch, clone, environment)
        times.first_round = first_round(clone, environment)
        times.units, times.total = units(clone / "target" / "cargo-timings")
        shutil.rmtree(clone / "target")
        if tests:
            times.tests = timed(["make", "test"], clone, environment)
        timed([*CARGO, "build"], clone, environment)
        with open(clone / CHANGED, "a", encoding="utf-8") as file:
            file.write("\n/// Nothing.\npub fn nothing() {}\n")
        times.change = timed([*CARGO, "build"], clone, environment)
    return times


def surroundings(place: Path) -> dict[str, str]:
    """An environment whose cargo has downloaded nothing, and that keeps its timings."""
    home = place / "cargo"
    home.mkdir()
    usual = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    for name in ("config.toml", "config"):
        if (usual / name).exists():
            shutil.copy(usual / name, home / name)
    wrapper = place / "cargo-with-timings"
    wrapper.write_text(WRAPPER.format(cargo=shlex.join(CARGO)), encoding="utf-8")
    wrapper.chmod(0o755)
    # What this very run was asked for, by its make, is not asked of the clone's.
    dropped = ("ARGS", "CARGO_TARGET_DIR", "LIBTORCH", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "CARGO_HOME": str(home), "CARGO": str(wrapper)}


def timed(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    """Seconds that a command takes."""
    begin = time.monotonic()
    call(command, cwd=folder, env=environment)
    return time.monotonic() - begin


def first_round(clone: Path, environment: dict[str, str]) -> float:
    """Seconds from `make run` to its first round; the run is interrupted then."""
    begin = time.monotonic()
    with open(clone / "errors", "w+", encoding="utf-8") as errors:
        run = subprocess.Popen(
            ["make", "run"],
            cwd=clone,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        try:
            if any(FIRST_ROUND.match(line) for line in run.stdout):
                return time.monotonic() - begin
            errors.seek(0)
            raise Failed(f"`make run` ended before its first round:\n\n{last_lines(errors.read())}")
        finally:
            for sign in (signal.SIGINT, signal.SIGKILL):
                try:
                    os.killpg(run.pid, sign)
                    run.wait(timeout=60)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    pass
            run.stdout.close()


def units(folder: Path) -> tuple[dict[str, float], tuple[float, int]]:
    """Seconds of each unit by cargo's own timings, by name; their sum and their number.

    Cargo writes a page a call; the one that compiled is the one with the most to tell.
    """
    by_name: dict[str, float] = {}
    most: tuple[float, int] = (0.0, 0)
    for page in folder.glob("cargo-timing-*.html"):
        text = page.read_text(encoding="utf-8")
        found = re.search(r"const UNIT_DATA = (\[.*?\]);\n", text, re.DOTALL)
        if not found:
            raise Failed(f"cargo's timings are of a form that is not known here: {page.name}")
        data = json.loads(found.group(1))
        total = sum(unit["duration"] for unit in data)
        if total > most[0]:
            most, by_name = (total, len(data)), {}
            for unit in data:
                name = f"{unit['name']}{unit['target']}"
                by_name[name] = by_name.get(name, 0.0) + unit["duration"]
    return by_name, most


def seconds(time_: float | None) -> str:
    """As minutes and seconds."""
    return "" if time_ is None else f"{int(time_) // 60}:{int(time_) % 60:02}"
