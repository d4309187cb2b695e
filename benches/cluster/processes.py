"""The processes of a cluster on this machine: the example `noop` as broker, host and coordinator."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benches.cluster.figures import Timed
from benches.tools import PROJECT, Failed, last_lines

# Lanes of this process rather than of hosts.
LOCAL = "local"
# Seconds that a run may take to begin, and to end.
PATIENCE = 120


@dataclass
class Load:
    """What a run's clients do, and how many of them."""

    clients: int
    rounds: int
    size: int
    # Milliseconds that a client sleeps.
    sleep: int = 0


@dataclass
class Broker:
    """A broker that runs, with its server."""

    process: subprocess.Popen
    server: int
    coordinator_file: str
    worker_file: str

    def kill_server(self) -> float:
        """Kills the server, which the broker then starts again. Gives when."""
        os.kill(self.server, signal.SIGKILL)
        return time.time()

    def peak_bytes(self) -> int:
        """The largest resident size that the server's first process has had."""
        try:
            status = Path(f"/proc/{self.server}/status").read_text(encoding="ascii")
        except OSError as error:
            raise Failed(f"the system does not tell it: {error}") from error
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


@dataclass
class Hosts:
    """As many hosts with as many lanes each."""

    hosts: int
    lanes: int = 1


@dataclass
class Program:
    """The example, and what it started."""

    path: Path
    place: Path
    started: list[subprocess.Popen] = field(default_factory=list)

    def start(self, *words: object, **further) -> subprocess.Popen:
        command = [str(word) for word in (self.path, *words)]
        errors = open(self.place / f"errors-{len(self.started)}", "w", encoding="utf-8")
        with errors:
            process = subprocess.Popen(command, cwd=PROJECT, stderr=errors, **further)
        self.started.append(process)
        return process

    def broker(self, tls: bool = False) -> Broker:
        """Starts a broker, and waits until it is there."""
        folder = self.place / f"broker-{len(self.started)}"
        words = ["broker", folder, *(["tls"] if tls else [])]
        process = self.start(*words, stdout=subprocess.PIPE, text=True)
        line = process.stdout.readline()
        process.stdout.close()
        if not line:
            raise self.failure(process)
        return Broker(process, *json.loads(line))

    def failure(self, process: subprocess.Popen) -> Failed:
        """What is to be said of a process that ended."""
        errors = self.place / f"errors-{self.started.index(process)}"
        return Failed(f"`noop` failed:\n\n{last_lines(errors.read_text(encoding='utf-8'))}")

    def run(self, load: Load, hosts: Hosts, broker: Broker | None = None, disturb=None) -> list[Timed]:
        """A run's events. `disturb` is called with the hosts' processes when the run has begun."""
        words = [load.size, load.sleep]
        workers = []
        if broker:
            files = [broker.worker_file] * hosts.hosts
            names = [f"host-{number}" for number in range(hosts.hosts)]
            for file, name in zip(files, names):
                workers.append(self.start("worker", file, name, hosts.lanes, *words))
        place = broker.coordinator_file if broker else LOCAL
        printed = self.place / f"events-{len(self.started)}"
        with open(printed, "w", encoding="utf-8") as file:
            run = ["run", place, load.clients, load.rounds, hosts.hosts * hosts.lanes, *words]
            process = self.start(*run, stdout=file)
        if disturb:
            self.await_begin(process, printed)
            disturb(workers)
        if wait(process) != 0:
            raise self.failure(process)
        for worker in workers:
            wait(worker)
        lines = printed.read_text(encoding="utf-8").splitlines()
        return [Timed(*json.loads(line)) for line in lines]

    def await_begin(self, process: subprocess.Popen, printed: Path) -> None:
        end = time.monotonic() + PATIENCE
        while "run_started" not in printed.read_text(encoding="utf-8"):
            if process.poll() is not None:
                raise self.failure(process)
            if time.monotonic() > end:
                raise Failed(f"a run of `noop` did not begin in {PATIENCE} s")
            time.sleep(0.02)

    def end(self) -> None:
        """Ends whatever still runs."""
        for process in self.started:
            if process.poll() is None:
                process.terminate()
        for process in self.started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=15)
            if process.poll() is None:
                process.kill()
                process.wait()


def wait(process: subprocess.Popen) -> int:
    try:
        return process.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"`noop` was not done after {PATIENCE} s") from error


@contextlib.contextmanager
def program(path: Path):
    """The example; what it started ends with this."""
    with tempfile.TemporaryDirectory() as place:
        started = Program(path, Path(place))
        try:
            yield started
        finally:
            started.end()
