"""`python -m benches.gpu PROGRAM`: see gpu.sh, which calls it. Prints a report in Markdown.

What fails, or has no time left, is said so in its place; the status is then 1.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benches.gpu import files
from benches.gpu.driver import uuid_of
from benches.gpu.sizes import GPU, TINY
from benches.gpu.stages import Bench
from benches.tools import Failed, call


class Report:
    """Sections as they come, on standard output and in a file."""

    def __init__(self, path: Path, budget: float):
        self.path, self.end = path, time.monotonic() + budget
        self.sound = True
        path.write_text("", encoding="utf-8")

    def write(self, text: str) -> None:
        print(text, flush=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def left(self) -> float:
        return self.end - time.monotonic()

    def section(self, title: str, measure: Callable[[], str]) -> None:
        """A section, or why there is none."""
        self.write(f"\n## {title}\n")
        begin = time.monotonic()
        try:
            if self.left() < 5:
                raise Failed("no time left")
            self.write(measure().rstrip())
        except Failed as error:
            self.sound = False
            self.write(f"Not measured: {error}")
        self.write(f"\n({time.monotonic() - begin:.0f} s)")


def machine(bench: Bench, program: Path, environment: dict[str, str], device: str) -> str:
    """What the machine is; an error where the program cannot use its GPU."""
    said = call([program, "doctor"], env=environment, timeout=60)
    found = [line for line in said.splitlines() if not line.startswith(("data", "models"))]
    text = "```\n" + "\n".join(found).strip() + "\n```"
    bench.uuid = uuid_of(said) if device == "cuda" else None
    if device == "cuda" and "cuda      0:" not in said:
        raise Failed(f"the program sees no GPU; GPU_DEVICE=cpu tries the script out without\n\n{text}")
    driver = shutil.which("nvidia-smi")
    if driver and bench.uuid:
        query = "--query-gpu=name,driver_version,memory.total,clocks.max.sm"
        asked = [driver, query, "--format=csv,noheader", f"--id={bench.uuid}"]
        text += "\n\n" + call(asked, timeout=30).strip()
    return text


def tests(binaries: list[Path], environment: dict[str, str], left: float) -> str:
    """Runs the tests, which compare the GPU with the processor, one at a time."""
    if not binaries:
        raise Failed("no test binary was named")
    lines = []
    for binary in binaries:
        said = call([binary, "--test-threads", "1"], env=environment, timeout=min(left, 180))
        found = [line for line in said.splitlines() if line.startswith("test ")]
        if not found:
            raise Failed(f"{binary.name} has no tests")
        lines += [f"- {line}" for line in found]
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path, help="a release build of regatta")
    parser.add_argument("--tests", type=Path, action="append", default=[], help="a test binary")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: tiny sizes")
    parser.add_argument("--budget", type=float, default=570, help="seconds for all of it")
    parser.add_argument("--out", type=Path, default=Path("gpu.md"), help="file for the report")
    parser.add_argument("--quick", action="store_true", help="the parts that need no Python of the GPU's")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    report = Report(arguments.out, arguments.budget)
    report.write(f"# On {'a GPU' if arguments.device == 'cuda' else 'the processor, for a trial'}")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    sizes = GPU if arguments.device == "cuda" else TINY
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        environment["XDG_CACHE_HOME"] = environment["XDG_STATE_HOME"] = place
        files.write(folder, sizes)
        bench = Bench(arguments.program, folder, sizes, arguments.device, environment, report.left)
        program = arguments.program
        report.section("Machine", lambda: machine(bench, program, environment, arguments.device))
        if not report.sound:
            sys.exit(1)
        if arguments.tests or arguments.device == "cuda":
            report.section("Tests", lambda: tests(arguments.tests, environment, report.left()))
        report.section("The same again", bench.same_again)
        if not arguments.quick:
            report.section("A step", bench.steps)
            report.section("A round of three clients", bench.rounds)
        report.section("Texts, adapters, numbers, a decoder", bench.kinds)
        report.section("Clients side by side on one GPU", bench.busy)
        report.section("Processes side by side on one GPU", bench.side_by_side)
        report.section("Memory", bench.memory)
        report.section("Standard error", bench.silent)
    sys.exit(0 if report.sound else 1)


if __name__ == "__main__":
    main()
