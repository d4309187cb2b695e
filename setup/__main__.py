"""`python3 -m setup [--model NAME] [--scenario FILE] [--nats] [COMMAND…]`: everything that is
missing, the model of that name or scenario, and the message broker. A second run finds nothing to
do.

COMMAND, a build, is run as soon as there is what compiles need; the rest is fetched beside it.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from . import libtorch, model, nats_server, on_request, reviews, uplot
from .errors import SetupError

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> int:
    """Runs all steps, one set-up at a time, and the command; its exit status, if all else went well."""
    asked = parse(arguments)
    command = asked.command
    os.chdir(ROOT)
    Path("third_party").mkdir(exist_ok=True)
    build = None
    try:
        on_request.check(asked.model)
        with open("third_party/.lock", "w", encoding="utf-8") as lock:
            wait_for(lock)
            with crates(command):
                libtorch.make()
                uplot.make()
            build = subprocess.Popen(command) if command else None
            reviews.make()
            model.make()
            on_request.make(asked.model, asked.scenario)
            if asked.nats:
                nats_server.make()
    except SetupError as error:
        return failed(build, f"{error}")
    except OSError as error:
        return failed(build, f"{error}. Set-up can be run again.")
    except KeyboardInterrupt:
        print("setup: interrupted; `make setup` continues from what is complete", file=sys.stderr)
        return 130
    return build.wait() if build else 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python3 -m setup", allow_abbrev=False)
    parser.add_argument("--model", metavar="NAME", help="also fetch this model")
    parser.add_argument("--scenario", type=Path, help="also fetch the model of this scenario")
    parser.add_argument("--nats", action="store_true", help="also fetch the message broker NATS")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="a build to run")
    return parser.parse_args(arguments)


def crates(command: list[str]) -> AbstractContextManager:
    """Lets cargo download, beside what else is done, the crates that a command is to compile."""
    if not command:
        return nullcontext()
    cargo = shlex.split(os.environ.get("CARGO") or "cargo")
    # Not those of other systems. Where this fails the build does, which says why.
    fetch = [*cargo, "fetch", "--quiet", "--target", "host-tuple"]
    return subprocess.Popen(fetch, stderr=subprocess.DEVNULL)


def failed(build: subprocess.Popen | None, message: str) -> int:
    """Says why set-up failed, at the end: a build that was begun is not to be lost."""
    if build:
        build.wait()
    print(f"setup: {message}", file=sys.stderr)
    return 1


def wait_for(lock) -> None:
    """Takes the lock; says so when another set-up holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("waiting for another set-up of this folder", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
