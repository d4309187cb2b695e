"""All benchmarks: `python -m benches [PART…]` measures, prints, and writes benches/RESULTS.md.

Without PART, all of them but build, in about an hour and three quarters on two cores. A part that
cannot be measured says so in its section, and the others continue. What people wrote in RESULTS.md
stays. Needs the files of `make setup`; `make bench` sees to them. The parts:
"""

import argparse
import datetime
import functools
import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benches import bases, build, cluster, decoders, endurance, flower, fused, lanes, machine, results, scale, upstream
from benches.tools import CARGO, PROJECT, TARGET, Failed, call, paragraphs

RESULTS = PROJECT / "benches" / "RESULTS.md"


@functools.cache
def release() -> Path:
    """The folder of the release build, with all that is measured.

    The program and the benches are built in one call, so that the library is compiled once: apart
    from the benches, it would be compiled with fewer features of the packages that they need too.
    """
    benches = ["--bench", "limit", "--bench", "aggregation"]
    call([*CARGO, "build", "--release", "--bin", "regatta", *benches])
    call([*CARGO, "build", "--release", "--package", "regatta-actors", "--example", "endurance"])
    return TARGET / "release"


def regatta() -> Path:
    """The program."""
    return release() / "regatta"


def endurance_example() -> Path:
    """The example `endurance`."""
    return release() / "examples" / "endurance"


def noop_example() -> Path:
    """The example `noop`, which needs no libtorch."""
    call([*CARGO, "build", "--release", "--package", "regatta-cluster", "--example", "noop"])
    return TARGET / "release" / "examples" / "noop"


def cargo_bench(name: str, *arguments: object) -> str:
    """The table that a bench of cargo's prints."""
    release()
    # What the program sets for itself: threads that wait soon sleep.
    own = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "30000"}
    command = [*CARGO, "bench", "--bench", name, "--", *arguments]
    printed = call(command, env={**os.environ, **own})
    shown = " ".join([*(f"{name}={value}" for name, value in own.items()), *map(str, command)])
    return f"`{shown}`\n\n{printed}"


def limit(_: argparse.Namespace) -> str:
    wanted = (
        "16 examples of 64 tokens: a training step against the matrix products of the step alone, "
        "timed in turn, medians; `encoder` is MiniLM, decoders are drawn. Wanted: in float32 at most "
        "1.2, and SORF-VeRA with r 128 at most 1.1 times LoRA with r 128; in "
        "bfloat16 at most 1.6."
    )
    precisions = ["float32", "bfloat16"] if machine.has_bfloat16() else ["float32"]
    sizes = ("--rows", 16, "--threads", machine.cores())
    tables = [cargo_bench("limit", *sizes, "--precision", precision) for precision in precisions]
    return paragraphs([wanted, *tables])


def aggregation(_: argparse.Namespace) -> str:
    wanted = (
        "RoBERTa-base's 24 adapted layers. Wanted: 100 clients of `fedex` with r 4 in under a "
        "second, and of `sorf_vera` with r 128 too."
    )
    return f"{wanted} {cargo_bench('aggregation', '--threads', machine.cores())}"


@dataclass
class Part:
    """A section of RESULTS.md."""

    title: str
    measure: Callable[[argparse.Namespace], str]


# Measured when it is named: it takes as long as the others together, and depends on the network.
BUILD = "build"

PARTS = {
    BUILD: Part(
        "From nothing to a first round",
        lambda given: build.measure(PROJECT, machine.commit(), given),
    ),
    "upstream": Part(
        "Rounds, against transformers and peft",
        lambda given: upstream.measure(regatta(), given),
    ),
    "decoders": Part(
        "Decoders, against transformers and peft",
        lambda given: decoders.training(regatta(), upstream.interpreter(given.venv), given),
    ),
    "generation": Part(
        "Texts and memory of decoders, against transformers",
        lambda given: decoders.generation(regatta(), upstream.interpreter(given.venv), given),
    ),
    "bases": Part("What a base in fewer bits takes", lambda _: bases.measure(regatta())),
    "flower": Part(
        "What a client costs, against Flower",
        lambda _: flower.measure(endurance_example(), machine.cores()),
    ),
    "cluster": Part("What a cluster costs", lambda _: cluster.measure(noop_example())),
    "limit": Part("A training step, against its matrix products", limit),
    "aggregation": Part("Aggregation, against dense formulas", aggregation),
    "scale": Part("Many clients", lambda _: scale.measure(regatta(), machine.cores())),
    "fused": Part("Clients that are trained together", lambda _: fused.measure(regatta())),
    "lanes": Part("Lanes", lambda _: lanes.measure(regatta(), machine.cores())),
    "endurance": Part(
        "Many rounds", lambda _: endurance.measure(endurance_example(), machine.cores())
    ),
}


def section(name: str, arguments: argparse.Namespace, commit: str) -> tuple[str, bool]:
    """A part's section, and whether it could be measured."""
    begin = time.monotonic()
    try:
        text, measured = PARTS[name].measure(arguments).strip(), True
    except Failed as failure:
        text, measured = f"Could not be measured. {failure}", False
    except Exception as error:  # The other parts are not to be lost.
        traceback.print_exc()
        text, measured = f"Could not be measured. {type(error).__name__}: {error}", False
    seconds = time.monotonic() - begin
    flags = {
        "upstream": upstream.flags,
        "decoders": decoders.flags,
        "generation": decoders.flags,
        BUILD: build.flags,
    }
    words = [name, *flags.get(name, lambda _: [])(arguments)]
    facts = [
        f"`make bench ARGS={shlex.quote(' '.join(words))}`, {datetime.date.today()}, commit {commit}",
        f"{machine.describe()}; {machine.rustc()}, {machine.torch()}; took {seconds:.0f} s.",
    ]
    return f"{text}\n\n{': '.join(facts)}", measured


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benches",
        description=__doc__.partition("\n\n")[2],
        epilog="\n".join(f"  {name:<12} {part.title}" for name, part in PARTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="what to measure [all but build]")
    upstream.add_arguments(parser)
    decoders.add_arguments(parser)
    build.add_arguments(parser)
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return arguments


def main() -> None:
    arguments = parse()
    # Before time is spent on what could not be written.
    results.split(RESULTS.read_text(encoding="utf-8"))
    commit = machine.commit()
    titles = [part.title for part in PARTS.values()]
    failed = []
    for name in arguments.parts or [part for part in PARTS if part != BUILD]:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        text, measured = section(name, arguments, commit)
        print(f"## {PARTS[name].title}\n\n{text}\n", flush=True)
        # After each part, so that what is done is not lost with the rest.
        results.replace(RESULTS, {PARTS[name].title: text}, titles)
        if not measured:
            failed.append(name)
    if failed:
        sys.exit(f"could not be measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
