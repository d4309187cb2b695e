"""Real runs whose page is looked at."""

from pathlib import Path

from dashboards.check.runs import TEXTS, Run, furnish, furnish_decoder

# What `make setup` fetched, with little of the data.
QUICKSTART = [
    "scenarios/quickstart.toml", "--limit_train", "96", "--limit_eval", "32", "--rounds", "5",
    "--batch_size", "8", "--max_seq_length", "32", "--cpu",
    # However quick it is, it is there until it has been looked at.
    "--metrics_linger", "1 h",
]  # fmt: skip
# What has to be known to steer a run.
TOKEN = "a secret"
# Like scenarios/thousand_clients.toml, with a model so small that rounds take a moment.
THOUSAND = """
task = "rte"
data = "data"
model = "model"
num_clients = 1000
rounds = 1000000
local_epochs = 1
batch_size = 1
max_seq_length = 32
eval_every = 10
cpu = true

[sampling]
number = 32

[policy]
kind = "over_select"
factor = 1.25

[clients.phones]
speed = 10
latency = "80 ms"

[clients.desktops]
share = 0.2
speed = 60

[[faults]]
kind = "drop"
probability = 0.05
at = 0.5

[[faults]]
kind = "crash"
probability = 0.03

[[faults]]
kind = "straggle"
probability = 0.1
slowdown = "log_normal(3, 0.5)"
"""


class PageRun(Run):
    """A run with a page; `url` is where."""

    def __init__(self, program: Path, log: Path, *arguments: str, cwd: Path | None = None):
        super().__init__(cwd, log, "watch at ", REGATTA_CONTROL_TOKEN=TOKEN)
        self.program = program
        self.start([program, "run", *arguments, "--metrics", "off"])

    def kill(self) -> None:
        """Kills it as a power cut would."""
        self.process.kill()
        self.process.wait(timeout=60)

    def resume(self, folder: str) -> None:
        """Resumes it, at the same address."""
        self.start([self.program, "resume", folder, "--web", self.address])


def quickstart(program: Path, place: Path, *flags: str) -> PageRun:
    out = str(place / "quickstart")
    arguments = [*QUICKSTART, "--out", out, "--web", "127.0.0.1:0", *flags]
    return PageRun(program, place / "quickstart.log", *arguments)


def texts(program: Path, place: Path) -> PageRun:
    furnish_decoder(place)
    flags = (
        "--num_clients", "4", "--partition", "natural:name", "--rounds", "12", "--cpu",
        "--local_epochs", "2", "--batch_size", "4", "--lr", "0.05", "--out", "texts",
        "--web", "127.0.0.1:0", "--control", "127.0.0.1:0", "--metrics_linger", "1 h",
    )  # fmt: skip
    return PageRun(program, place / "texts.log", *map(str, TEXTS), *flags, cwd=place)


def thousand(program: Path, place: Path) -> PageRun:
    furnish(place, examples=1200)
    (place / "thousand.toml").write_text(THOUSAND)
    flags = ("--out", "thousand", "--web", "127.0.0.1:0", "--control", "127.0.0.1:0")
    return PageRun(program, place / "thousand.log", "thousand.toml", *flags, cwd=place)
