"""Rounds and scores beside the Python way: `python -m benches.upstream PROGRAM`.

PROGRAM is the release build of `regatta`. `--quick` takes one row of the rounds only.
"""

import argparse
from pathlib import Path

from benches import upstream


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benches.upstream", description=__doc__.splitlines()[0]
    )
    parser.add_argument("program", type=Path)
    parser.add_argument("--quick", action="store_true", help="one row of the rounds only")
    upstream.add_arguments(parser)
    arguments = parser.parse_args()
    print(upstream.measure(arguments.program.resolve(), arguments, arguments.quick))


if __name__ == "__main__":
    main()
