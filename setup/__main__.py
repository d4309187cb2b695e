"""`python3 -m setup`: everything that is missing. A second run finds nothing to do."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from . import libtorch, model, reviews, uplot
from .errors import SetupError

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Runs all steps, one set-up at a time."""
    os.chdir(ROOT)
    Path("third_party").mkdir(exist_ok=True)
    try:
        with open("third_party/.lock", "w", encoding="utf-8") as lock:
            wait_for(lock)
            for step in (libtorch.make, uplot.make, reviews.make, model.make):
                step()
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"setup: {error}. Set-up can be run again.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; `make setup` goes on from what is complete", file=sys.stderr)
        return 130
    return 0


def wait_for(lock) -> None:
    """Takes the lock; says so when another set-up holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("waiting for another set-up of this folder", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


if __name__ == "__main__":
    sys.exit(main())
