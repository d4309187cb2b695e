"""What may go wrong in a run over many machines, once each: a run either goes on and comes to the
same ledger and model, byte for byte, as the run of one process; or it says what is wrong, and loses
nothing.

    python3 tests/cluster_failures.py [REGATTA [FAILURE...]]

Needs the small model and data set of `make setup`, and the server of `make setup NATS=1`. Two
failures need a user who may make network and mount namespaces, and are skipped for others.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from cluster_parts import PROJECT, Coordinator, Part, compare, free_port, wait_for

SCENARIO = "tests/cluster.toml"
# One client, whose job is always the next.
LONELY = ("--num_clients", 1, "--limit_train", 8, "--rounds", 2)
# Updates and states beyond a megabyte.
LARGE = ("--r", 64, "--rounds", 2, "--local_epochs", 1)
# Most of the time is spent waiting, so more are tried at once than there are cores.
AT_ONCE = 4
# Seconds within which a busy machine does what takes a few; a run ends within three times these.
SLOW = 60
# So that a run's log says what each lane does.
LOG = "info,regatta::live::log::events=trace"
TRAINS = re.compile(
    r"round: (\d+), client: ClientId\((\d+)\), state: Training, lane: Some\(LaneId\((\d+)"
)
PATIENCE = ("--patience", "1 s")


class Skipped(Exception):
    """It cannot be tried here; says why."""


class Runs:
    """Runs of one process, with which the others are compared; each is made once."""

    def __init__(self, regatta: Path, place: Path, pool: ThreadPoolExecutor):
        self.made: dict[tuple, Future] = {}
        for number, flags in enumerate([(), LONELY, LARGE]):
            self.made[flags] = pool.submit(self.make, regatta, place / f"whole-{number}", flags)

    @staticmethod
    def make(regatta: Path, out: Path, flags: tuple) -> Path:
        quiet = ["--metrics", "off", "--web", "off", "--quiet"]
        command = [regatta, "run", SCENARIO, *quiet, "--out", out, *flags]
        finish([str(word) for word in command])
        return out

    def of(self, flags: tuple) -> Path:
        return self.made[flags].result()


class Cluster:
    """A broker, the workers and the coordinators of one failure. They end with it."""

    def __init__(self, regatta: Path, place: Path, runs: Runs):
        self.regatta, self.place, self.runs = regatta, place, runs
        self.parts: list[Part] = []
        # Words before each command that say where it runs.
        self.within: list[object] = []
        place.mkdir()
        self.folder = place / "broker"

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        for part in reversed(self.parts):
            if part.process and part.process.poll() is None:
                if part.name.startswith("broker"):
                    part.end()
                else:
                    part.kill()

    def broker(self, listen: str = "", *flags: object, folder: str = "broker") -> Part:
        self.folder = self.place / folder
        listen = listen or f"127.0.0.1:{free_port()}"
        begin = [*self.within, self.regatta, "broker", "--folder", self.folder, "--listen", listen]
        broker = self.add(Part(f"broker in {folder}", self.place / f"{folder}.log", *begin, *flags))
        wait_for("the broker's files", lambda: "the broker listens" in text(broker))
        return broker

    def run(
        self, *flags: object, name: str = "run", cluster: Path | None = None, resumes: bool = False
    ) -> Coordinator:
        cluster = cluster or self.folder / "cluster.toml"
        out, log = self.place / name, self.place / f"{name}.log"
        run = Coordinator(self.regatta, SCENARIO, out, cluster, log, *flags, RUST_LOG=LOG)
        run.begin[:0] = run.resume[:0] = self.within
        if resumes:
            run.begin = run.resume
        self.add(run)
        return run

    def worker(
        self, name: str, *flags: object, cluster: Path | None = None, within=None, **environment: str
    ) -> Part:
        cluster = cluster or self.folder / "worker.toml"
        begin = [*(self.within if within is None else within), self.regatta, "worker", "-v"]
        begin += ["--cluster", cluster, "--lanes", 1, "--name", name, *flags]
        return self.add(Part(name, self.place / f"{name}.log", *begin, **environment))

    def add(self, part: Part) -> Part:
        self.parts.append(part)
        part.start()
        return part

    def server(self) -> int:
        """The number of the broker's server process."""
        return int((self.folder / "nats-server.pid").read_text(encoding="utf-8"))

    def ends_as_ever(self, run: Coordinator, *flags: object) -> None:
        ends(run, 0, "done: ", 3 * SLOW)
        compare(self.runs.of(flags), run.out)


class Nats:
    """As much of a NATS client as it takes to ask a server about its streams."""

    def __init__(self, cluster: Path):
        file = cluster.read_text(encoding="utf-8")
        found = dict(re.findall(r'^(user|password) = "(.*)"$', file, re.MULTILINE))
        port = re.search(r"nats://127\.0\.0\.1:(\d+)", file)
        assert port
        self.socket = socket.create_connection(("127.0.0.1", int(port[1])), timeout=10)
        self.lines = self.socket.makefile("rb")
        self.lines.readline()
        login = {"verbose": False, "user": found["user"], "pass": found["password"]}
        self.send(f"CONNECT {json.dumps(login)}\r\nSUB answer 1\r\n")

    def send(self, words: str) -> None:
        self.socket.sendall(words.encode())

    def streams(self) -> list[str]:
        return json.loads(self.ask("$JS.API.STREAM.NAMES"))["streams"] or []

    def delete(self, stream: str) -> bool:
        return json.loads(self.ask(f"$JS.API.STREAM.DELETE.{stream}"))["success"]

    def ask(self, subject: str, question: bytes = b"") -> bytes:
        self.send(f"PUB {subject} answer {len(question)}\r\n")
        self.socket.sendall(question + b"\r\n")
        while not (line := self.lines.readline()).startswith(b"MSG "):
            if line.startswith(b"-ERR") or not line:
                sys.exit(f"the server says {line!r}")
        content = self.lines.read(int(line.split()[-1]))
        self.lines.readline()
        return content

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


def finish(command: list[str]) -> None:
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"`{' '.join(command)}` failed:\n{done.stderr}")


def asked(command: list[str]) -> str:
    """What a command that succeeds says."""
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout


def text(part: Part) -> str:
    return part.log.read_text(encoding="utf-8", errors="replace")


def says(part: Part, words: str, seconds: float = SLOW, times: int = 1) -> None:
    """Waits until a part has said this so many times."""

    def said() -> bool:
        return len(re.findall(words, text(part))) >= times

    try:
        wait_for(words, said, seconds)
    except SystemExit as never:
        sys.exit(f"{part.name} says {never}\n{part.said()}")


def joins(run: Part, name: str, times: int = 1) -> None:
    """Waits until a host of this name has joined so many times."""
    says(run, rf"host {name}\.[0-9a-f-]+ joins", times=times)


def ends(part: Part, code: int, words: str, seconds: float = SLOW) -> None:
    """Waits until a part has ended with this code and these words."""
    try:
        found = part.process.wait(seconds)
    except subprocess.TimeoutExpired:
        sys.exit(f"{part.name} does not end\n{part.said()}")
    if found != code or not re.search(words, text(part)):
        sys.exit(f"{part.name} ends with {found}, not {code} and `{words}`:\n{part.said()}")


def trains(run: Part, known: int = 0, lane: int | None = None) -> tuple[int, int, int]:
    """Round, client and lane of the latest job, once one was begun that is not among the first
    `known`, on this lane if it matters."""
    found: list[tuple] = []

    def begun_now() -> bool:
        jobs = TRAINS.findall(text(run))[known:]
        found[:] = [job for job in jobs if lane is None or int(job[2]) == lane]
        return bool(found)

    wait_for("a job is begun", begun_now, SLOW)
    return tuple(int(number) for number in found[-1])


def begun(run: Part) -> int:
    return len(TRAINS.findall(text(run)))


# The failures, those that take longest first.


def killing_job(cluster: Cluster) -> str:
    """A job whose hosts are lost three times in a row."""
    cluster.broker()
    run = cluster.run(*LONELY)
    hosts = [cluster.worker("host-0")]
    joins(run, "host-0")
    known = begun(run)
    for number in range(3):
        round_number, _, lane = trains(run, known)
        hosts[lane].kill()
        known = begun(run)
        # Of the next host, so that lanes and hosts have the same numbers.
        if number < 2:
            hosts.append(cluster.worker(f"host-{number + 1}"))
            joins(run, f"host-{number + 1}")
    ends(run, 1, f"client 0 in round {round_number} seems to kill its hosts: three were lost")
    run.start()
    cluster.worker("host-3")
    cluster.ends_as_ever(run, *LONELY)
    return f"three hosts lost, the run names client 0 and round {round_number}; resumed, the same bytes"


def no_worker(cluster: Cluster) -> str:
    """A run that no worker joins for longer than it stays silent about that."""
    cluster.broker()
    run = cluster.run(*LONELY)
    says(run, "there is no lane, and")
    first = time.monotonic()
    says(run, "there is no lane, and", times=2)
    between = time.monotonic() - first
    if not 25 < between < 35:
        sys.exit(f"it says so after {between:.0f} s")
    cluster.worker("late")
    cluster.ends_as_ever(run, *LONELY)
    return f"it says so again after {between:.0f} s, and goes on when a worker comes; the same bytes"


def second_coordinator(cluster: Cluster) -> str:
    """Another `resume` of a folder in which a run waits for workers."""
    cluster.broker()
    run = cluster.run(*LONELY)
    says(run, "connected to the broker")
    again = cluster.add(Part("again", cluster.place / "again.log", *run.resume))
    ends(again, 1, "another process is using .* wait for it to end")
    cluster.worker("host")
    cluster.ends_as_ever(run, *LONELY)
    return "refused by the folder's lock; the same bytes"


def copied_folder(cluster: Cluster) -> str:
    """A `resume` of a copy of a folder in which a run waits: it is a run of its own."""
    cluster.broker()
    run = cluster.run(*LONELY)
    says(run, "connected to the broker")
    shutil.copytree(run.out, cluster.place / "copy")
    copy = cluster.run(*LONELY, name="copy")
    says(copy, "connected to the broker")
    first = cluster.worker("first")
    for part in (first, cluster.worker("second")):
        ends(part, 0, "the run is over")
    if run.process.poll() is None and copy.process.poll() is None:
        sys.exit("both runs wait")
    for one in (run, copy):
        if one.process.poll() is None:
            cluster.worker(f"for-{one.out.name}")
    cluster.ends_as_ever(run, *LONELY)
    cluster.ends_as_ever(copy, *LONELY)
    return "both runs come to the same bytes, each with its own workers"


def other_coordinator(cluster: Cluster) -> str:
    """A `resume` that sees a copy of the folder under its name, as where a file system has no locks:
    once while the run is at work, and once while it stands still."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        raise Skipped("this user may not mount")
    cluster.broker()
    run = cluster.run(*LONELY)
    says(run, "connected to the broker")
    copy = cluster.place / "copy"
    shutil.copytree(run.out, copy)
    mounted = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"']
    begin = [*mounted, copy, run.out, *run.resume]
    second = cluster.add(Part("second", cluster.place / "second.log", *begin, RUST_LOG=LOG))
    ends(second, 1, "the run has a coordinator already: cluster on ")
    run.send(signal.SIGSTOP)
    third = cluster.add(Part("third", cluster.place / "third.log", *begin, RUST_LOG=LOG))
    cluster.worker("host")
    joins(third, "host")
    run.send(signal.SIGCONT)
    ends(run, 1, "another coordinator has taken the run over: cluster on ")
    ends(third, 0, "done: ")
    compare(cluster.runs.of(LONELY), copy)
    return "refused while the first is there; takes over from one that stands still, which then ends"


def partition(cluster: Cluster) -> str:
    """A worker whose network is cut for twelve seconds, without a word to either side."""
    here, there = (f"regatta-{os.getpid()}-{side}" for side in ("here", "there"))
    if subprocess.run(["ip", "netns", "add", here], capture_output=True, check=False).returncode:
        raise Skipped("this user may not make network namespaces")
    try:
        # The broker's address is not the link's, so that the link's end does not concern who is here.
        inside = f"ip -n {here}"
        outside = f"ip -n {there}"
        for command in [
            f"ip netns add {there}",
            f"{inside} link add wire type veth peer name wire netns {there}",
            f"{inside} link set lo up",
            f"{inside} addr add 10.77.1.1/32 dev lo",
            f"{inside} addr add 10.77.2.1/24 dev wire",
            f"{inside} link set wire up",
            f"{outside} addr add 10.77.2.2/24 dev wire",
            f"{outside} link set wire up",
            f"{outside} route add 10.77.1.1 via 10.77.2.1",
        ]:
            finish(command.split())
        return cut(cluster, here, there)
    finally:
        for name in (here, there):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def cut(cluster: Cluster, here: str, there: str) -> str:
    cluster.within = ["ip", "netns", "exec", here]
    cluster.broker("10.77.1.1:4222")
    run = cluster.run()
    far = cluster.worker("far", within=["ip", "netns", "exec", there])
    joins(run, "far")
    near = cluster.worker("near")
    joins(run, "near")
    trains(run, begun(run), lane=0)
    link = ["ip", "-n", here, "link", "set", "wire"]
    finish([*link, "down"])
    began = time.monotonic()
    says(run, r"host far\.[0-9a-f-]+ is lost: silent for")
    says(run, "round [0-9] ended")
    # It would be done before the first comes back.
    near.send(signal.SIGSTOP)
    time.sleep(max(0.0, began + 12 - time.monotonic()))
    finish([*link, "up"])
    back = time.monotonic()
    says(far, "joined as far", times=2)
    back = time.monotonic() - back
    near.send(signal.SIGCONT)
    cluster.ends_as_ever(run)
    return f"over TLS; its job is done elsewhere, it joins again after {back:.1f} s; the same bytes"


def stopped_worker(cluster: Cluster) -> str:
    """A worker that stands still for fifteen seconds, and goes on with what it was doing."""
    cluster.broker()
    run = cluster.run()
    still = cluster.worker("still")
    joins(run, "still")
    other = cluster.worker("other")
    joins(run, "other")
    trains(run, begun(run), lane=0)
    still.send(signal.SIGSTOP)
    stopped = time.monotonic()
    says(run, r"host still\.[0-9a-f-]+ is lost: silent for")
    says(run, "round [0-9] ended")
    # It would be done before the first comes back.
    other.send(signal.SIGSTOP)
    time.sleep(max(0.0, stopped + 15 - time.monotonic()))
    still.send(signal.SIGCONT)
    says(still, "joined as still", times=2)
    other.send(signal.SIGCONT)
    cluster.ends_as_ever(run)
    if "computes wrongly" in text(run):
        sys.exit(f"two hosts differ:\n{run.said()}")
    return "its job is done elsewhere, it joins again; the same bytes"


def coordinator_killed(cluster: Cluster) -> str:
    """A coordinator that is killed, and resumed while its workers wait."""
    cluster.broker()
    run = cluster.run()
    worker = cluster.worker("waits")
    says(run, "round 2 ended")
    trains(run, begun(run))
    run.kill()
    # It ends its job, and finds nobody who takes the reply.
    time.sleep(3)
    run.start()
    joins(run, "waits", times=2)
    cluster.ends_as_ever(run)
    ends(worker, 0, "the run is over")
    return "the worker joins the resumed run; the same bytes"


def wiped_store(cluster: Cluster) -> str:
    """A broker whose store is deleted, and whose server is killed, while a job is done."""
    cluster.broker()
    run = cluster.run()
    cluster.worker("host")
    says(run, "round 1 ended")
    trains(run, begun(run))
    shutil.rmtree(cluster.folder / "jetstream")
    os.kill(cluster.server(), signal.SIGKILL)
    cluster.ends_as_ever(run)
    return "everything is asked for again; the same bytes"


def stalled_broker(cluster: Cluster) -> str:
    """A broker whose server stands still for longer than hosts may be silent."""
    cluster.broker()
    run = cluster.run()
    cluster.worker("host")
    says(run, "round 1 ended")
    trains(run, begun(run))
    server = cluster.server()
    os.kill(server, signal.SIGSTOP)
    time.sleep(12)
    os.kill(server, signal.SIGCONT)
    cluster.ends_as_ever(run)
    return "the run goes on when it does; the same bytes"


def deleted_streams(cluster: Cluster) -> str:
    """Somebody deletes every stream of a running run, twice."""
    cluster.broker()
    run = cluster.run()
    cluster.worker("host")
    deleted = 0
    for number in (1, 2):
        says(run, f"round {number} ended")
        trains(run, begun(run))
        nats = Nats(cluster.folder / "cluster.toml")
        deleted += sum(nats.delete(stream) for stream in nats.streams())
        nats.close()
    cluster.ends_as_ever(run)
    return f"{deleted} streams deleted; the same bytes"


def drained_worker(cluster: Cluster) -> str:
    """A worker that is told to end while it trains."""
    cluster.broker()
    run = cluster.run()
    leaves = cluster.worker("leaves")
    joins(run, "leaves")
    cluster.worker("stays")
    joins(run, "stays")
    job = trains(run, begun(run), lane=0)
    asked = time.monotonic()
    leaves.send(signal.SIGTERM)
    ends(leaves, 0, "left; what was being done is done elsewhere", 5)
    took = time.monotonic() - asked
    if took > 2:
        sys.exit(f"it takes {took:.1f} s")
    job = rf"round: {job[0]}, client: ClientId\({job[1]}\)"
    says(run, rf"{job}, state: Training, lane: Some\(LaneId\(1", 5)
    cluster.ends_as_ever(run)
    return f"it leaves within {took:.1f} s, its job is done elsewhere at once; the same bytes"


def drained_by_hand(cluster: Cluster) -> str:
    """A worker that `regatta ctl drain` sends away while it trains."""
    cluster.broker()
    control = f"127.0.0.1:{free_port()}"
    run = cluster.run("--control", control)
    leaves = cluster.worker("leaves")
    joins(run, "leaves")
    cluster.worker("stays")
    joins(run, "stays")
    trains(run, begun(run), lane=0)
    ctl = [str(cluster.regatta), "ctl", "--control", control]
    table = json.loads(asked([*ctl, "--format", "json", "workers"]))
    names = [worker["host"] for worker in table["workers"]]
    if names != ["leaves", "stays"] or table["lanes"][0]["client"] is None:
        sys.exit(f"the workers are {table}")
    unknown = subprocess.run([*ctl, "drain", "nobody"], capture_output=True, text=True, check=False)
    if unknown.returncode != 1 or "there are: leaves, stays" not in unknown.stderr:
        sys.exit(f"to drain nobody gives {unknown}")
    asked([*ctl, "drain", "leaves"])
    ends(leaves, 0, "drained: the jobs that were being done are done")
    says(run, "host leaves.* leaves: it was drained")
    cluster.ends_as_ever(run)
    if "is done once more" in text(run):
        sys.exit("a job was done twice")
    return "it ends its job and leaves, none is done twice; the same bytes"


def verified(cluster: Cluster) -> str:
    """Every job done by two hosts, whose results are compared."""
    cluster.broker()
    run = cluster.run("--verify", "100%", "--min_lanes", 2)
    for name in ("one", "other"):
        cluster.worker(name)
    cluster.ends_as_ever(run)
    hosts = json.loads((run.out / "hosts.json").read_text(encoding="utf-8"))["hosts"].values()
    counts = [host["verified"] for host in hosts]
    jobs = sum(host["done"] for host in hosts)
    if counts != [jobs, jobs] or any(host["wrong"] for host in hosts):
        sys.exit(f"of {jobs} jobs the hosts verified {counts}: {hosts}")
    return f"{jobs} jobs have the same result on both; the same bytes"


def stopped_in_vain(cluster: Cluster) -> str:
    """A run that is told to end while there is no lane, and while its broker stands still."""
    cluster.broker()
    run = cluster.run(*LONELY)
    says(run, "connected to the broker")
    slowest = told_to_end(run, "stopped before the end of a round; 0 rounds before it")
    run.start()
    cluster.worker("host")
    trains(run)
    os.kill(cluster.server(), signal.SIGSTOP)
    try:
        slowest = max(slowest, told_to_end(run, "stopped before the end of a round"))
    finally:
        os.kill(cluster.server(), signal.SIGCONT)
    run.start()
    cluster.ends_as_ever(run, *LONELY)
    return f"it ends within {slowest:.1f} s, and is resumed to the same bytes"


def told_to_end(run: Part, words: str) -> float:
    """Sends SIGTERM, and gives the seconds until the end."""
    asked_at = time.monotonic()
    run.send(signal.SIGTERM)
    ends(run, 0, words, 5)
    return time.monotonic() - asked_at


def sweep(cluster: Cluster) -> str:
    """A sweep whose runs are trained by two workers that stay, one of which is lost."""
    cluster.broker()
    swept = Sweep(cluster, 'agg_type = ["fedex", "fedit"]\nseed = [1, 2]')
    lost, stays = (cluster.worker(name, "--stay", "--patience", "10 s") for name in ("lost", "stays"))
    part = swept.begin("sweep")
    says(lost, "joined as lost", times=2)
    lost.kill()
    ends(part, 0, "wrote .*compare.html", 6 * SLOW)
    ends(stays, 0, "no further run came after [34] runs")
    swept.compare()
    return "four runs one after the other on the same workers; each with the bytes of the local sweep"


def sweep_run_killed(cluster: Cluster) -> str:
    """The process of a sweep's run is killed, and the sweep begun again, beside a worker that stays."""
    cluster.broker()
    swept = Sweep(cluster, "seed = [1, 2]")
    stays = cluster.worker("stays", "--stay", "--patience", "10 s")
    first = swept.begin("first")
    says(stays, "joined as stays")
    children = Path(f"/proc/{first.process.pid}/task/{first.process.pid}/children")
    os.kill(int(children.read_text(encoding="ascii").split()[0]), signal.SIGKILL)
    ends(first, 1, "1 of 2 runs", 6 * SLOW)
    ends(swept.begin("again"), 0, "wrote .*compare.html", 6 * SLOW)
    ends(stays, 0, "no further run came after 2 runs")
    swept.compare()
    return "the worker trains for the next run, then for the resumed one; the bytes of the local sweep"


class Sweep:
    """A sweep, carried out here without a cluster, and to be carried out over one."""

    def __init__(self, cluster: Cluster, grid: str):
        self.cluster, self.grid = cluster, grid
        finish(self.command("here"))

    def command(self, out: str) -> list[str]:
        place = self.cluster.place
        settings = "num_clients = 2\nlimit_train = 8\nrounds = 2\nmetrics = \"off\"\nweb = \"off\"\nquiet = true\n"
        text = f'scenario = "{SCENARIO}"\nout = "{place / out}"\n[settings]\n{settings}[grid]\n{self.grid}\n'
        file = place / f"{out}.toml"
        file.write_text(text, encoding="utf-8")
        return [str(self.cluster.regatta), "sweep", str(file)]

    def begin(self, name: str) -> Part:
        """Carries out what is missing of it over the cluster."""
        file = self.cluster.folder / "cluster.toml"
        over_there = [*self.command("there"), "--cluster", file, "--min_lanes", 1]
        return self.cluster.add(Part(name, self.cluster.place / f"{name}.log", *over_there))

    def compare(self) -> None:
        """Exits unless all runs came to the bytes of those here."""
        for run in sorted((self.cluster.place / "here").iterdir()):
            if (run / "events.jsonl").exists():
                compare(run, self.cluster.place / "there" / run.name)


def joins_in_round_3(cluster: Cluster) -> str:
    """A worker that comes while the third round goes on."""
    cluster.broker()
    run = cluster.run()
    first = cluster.worker("first")
    says(run, "round 2 ended")
    while trains(run)[0] != 3:
        time.sleep(0.05)
    # It would be done before the other has come.
    first.send(signal.SIGSTOP)
    cluster.worker("second")
    joins(run, "second")
    says(run, r"round: 3, .*, state: Training, lane: Some\(LaneId\(1")
    first.send(signal.SIGCONT)
    cluster.ends_as_ever(run)
    return "it trains in that round; the same bytes"


def small_messages(cluster: Cluster) -> str:
    """A server of somebody else's, which takes messages of a megabyte at most."""
    port = free_port()
    configuration = cluster.place / "nats.conf"
    store = json.dumps(str(cluster.place / "store"))
    configuration.write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: {store} }}\n')
    server = PROJECT / "third_party/nats-server/nats-server"
    cluster.add(Part("server", cluster.place / "server.log", server, "--config", configuration))
    says(cluster.parts[0], "Server is ready")
    file = cluster.place / "cluster.toml"
    private(file, f'urls = ["nats://127.0.0.1:{port}"]\n')
    run = cluster.run(*LARGE, cluster=file)
    for name in ("one", "two"):
        cluster.worker(name, cluster=file)
    cluster.ends_as_ever(run, *LARGE)
    state = (run.out / "adapter/adapter_model.safetensors").stat().st_size
    return f"adapters of {state / 1e6:.1f} MB; the same bytes"


def other_instructions(cluster: Cluster) -> str:
    """Workers whose processors compute other last bits."""
    cluster.broker()
    run = cluster.run(*LONELY)
    lowered = {
        "libtorch": {"ATEN_CPU_CAPABILITY": "default"},
        "onednn": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    }
    hosts = [cluster.worker(name, **environment) for name, environment in lowered.items()]
    for host in hosts:
        ends(host, 1, "the canary job gives [0-9a-f]{64} on .*, and [0-9a-f]{64} here")
        says(run, f"host {host.name} is refused: its last bits differ")
    cluster.worker("equal")
    cluster.ends_as_ever(run, *LONELY)
    return "both are refused with both digests; another worker gives the same bytes"


def other_files(cluster: Cluster) -> str:
    """Workers with another model, and with other data, under the same names."""
    cluster.broker()
    run = cluster.run(*LONELY)
    model, data = cluster.place / "model", cluster.place / "data"
    shutil.copytree(PROJECT / "models/minilm", model)
    weights = next(model.glob("*.safetensors"))
    weights.chmod(0o600)
    with open(weights, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    shutil.copytree(PROJECT / "data/reviews", data)
    train = data / "SST-2/train.tsv"
    train.chmod(0o600)
    lines = train.read_text(encoding="utf-8").split("\n")
    train.write_text("\n".join([lines[0], lines[2], lines[1], *lines[3:]]), encoding="utf-8")
    for what, folder in (("model", model), ("data", data)):
        host = cluster.worker(f"other-{what}", f"--{what}", folder)
        ends(host, 1, f"it has another {what}: [0-9a-f]{{64}}, where the run has [0-9a-f]{{64}}")
    cluster.worker("equal")
    cluster.ends_as_ever(run, *LONELY)
    return "both are refused with both values; another worker gives the same bytes"


def other_program(cluster: Cluster) -> str:
    """Programs whose messages are of another version, or which were built otherwise."""
    cluster.broker()
    run = cluster.run(*LONELY)
    says(run, "connected to the broker")
    nats = Nats(cluster.folder / "cluster.toml")
    number = nats.ask("rg.0.ask").decode()
    for version, words in ((99, b"its messages are of version 99, "), (1, b"its program is other, the ")):
        question = b"\x81\xa6Invite\x82\xa4wire" + bytes([version]) + b"\xa5build\xa5other"
        answer = nats.ask(f"rg.{number}.ask", question)
        if words not in answer:
            sys.exit(f"it is answered {answer!r}")
    nats.close()
    cluster.worker("equal")
    cluster.ends_as_ever(run, *LONELY)
    return "both are refused with both values; another worker gives the same bytes"


def wrong_password(cluster: Cluster) -> str:
    """Cluster files of a broker that has been given new secrets."""
    cluster.broker()
    old = {}
    for name in ("cluster", "worker"):
        old[name] = cluster.place / f"old-{name}.toml"
        file = (cluster.folder / f"{name}.toml").read_text(encoding="utf-8")
        private(old[name], re.sub('password = ".*"', 'password = "wrong"', file))
    words = "refuses user (coordinator|worker): the secret"
    return refused(cluster, old["cluster"], old["worker"], 1, words)


def wrong_authority(cluster: Cluster) -> str:
    """Cluster files with the certificate of another broker."""
    secure = ("--name", "127.0.0.1")
    cluster.broker(f"0.0.0.0:{free_port()}", *secure, folder="another")
    other = cluster.folder
    cluster.broker(f"0.0.0.0:{free_port()}", *secure)
    authority = re.compile(r'ca = """.*?"""', re.DOTALL)
    wrong = {}
    for name in ("cluster", "worker"):
        theirs = authority.search((other / f"{name}.toml").read_text(encoding="utf-8"))
        file = (cluster.folder / f"{name}.toml").read_text(encoding="utf-8")
        wrong[name] = cluster.place / f"wrong-{name}.toml"
        private(wrong[name], authority.sub(lambda _: theirs[0], file))
    words = "the certificate of the broker at .* is not trusted"
    return refused(cluster, wrong["cluster"], wrong["worker"], 1, words)


def readable_secrets(cluster: Cluster) -> str:
    """Cluster files that other users can read."""
    cluster.broker()
    files = [cluster.folder / f"{name}.toml" for name in ("cluster", "worker")]
    open_to_all = []
    for file in files:
        copy = cluster.place / file.name
        private(copy, file.read_text(encoding="utf-8"))
        copy.chmod(0o640)
        open_to_all.append(copy)
    return refused(cluster, *open_to_all, 1, "other users can read the secrets in it")


def no_broker(cluster: Cluster) -> str:
    """Nobody listens where the broker should be."""
    nowhere = cluster.place / "nowhere.toml"
    private(nowhere, f'urls = ["nats://127.0.0.1:{free_port()}"]\n')
    cluster.broker()
    return refused(cluster, nowhere, nowhere, 75, "no broker can be reached at")


def foreign_server(cluster: Cluster) -> str:
    """Another kind of server is where the broker should be: one that greets, and one that waits."""
    greets = socket.create_server(("127.0.0.1", 0))
    waits = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=greet, args=[greets], daemon=True).start()
    threading.Thread(target=waits.serve_forever, daemon=True).start()
    files = []
    for name, port in (("greets", greets.getsockname()[1]), ("waits", waits.server_port)):
        files.append(cluster.place / f"{name}.toml")
        private(files[-1], f'urls = ["nats://127.0.0.1:{port}"]\n')
    cluster.broker()
    try:
        refused(cluster, files[0], files[0], 1, "what answers at .* is not a NATS server", name="greeted")
        return refused(cluster, files[1], files[1], 75, "no NATS server answered within 5 seconds")
    finally:
        waits.shutdown()
        greets.close()


def greet(listener: socket.socket) -> None:
    """What a mail server says first."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"220 mail ESMTP\r\n")


def refused(
    cluster: Cluster, of_run: Path, of_worker: Path, code: int, words: str, name: str = "run"
) -> str:
    """A run and a worker that cannot use their cluster file say why. With the right one, the run is
    completed: from scratch, or in the folder that the first attempt left."""
    run = cluster.run(*LONELY, name=name, cluster=of_run)
    worker = cluster.worker(f"{name}-worker", *PATIENCE, cluster=of_worker)
    ends(run, 1, words)
    ends(worker, code, words)
    if (run.out / "rounds.jsonl").exists() and (run.out / "rounds.jsonl").stat().st_size:
        sys.exit("the run that was refused has rounds")
    run = cluster.run(*LONELY, name=name, resumes=(run.out / "scenario.toml").exists())
    cluster.worker(f"{name}-right")
    cluster.ends_as_ever(run, *LONELY)
    return "run and worker say so; with the right file, the folder comes to the same bytes"


def private(path: Path, content: str) -> None:
    """Writes a file that nobody else can read."""
    path.touch(0o600)
    path.write_text(content, encoding="utf-8")


FAILURES = [
    killing_job,
    no_worker,
    second_coordinator,
    copied_folder,
    other_coordinator,
    partition,
    stopped_worker,
    coordinator_killed,
    stalled_broker,
    wiped_store,
    deleted_streams,
    drained_worker,
    drained_by_hand,
    verified,
    stopped_in_vain,
    sweep,
    sweep_run_killed,
    joins_in_round_3,
    small_messages,
    other_instructions,
    other_files,
    other_program,
    wrong_password,
    wrong_authority,
    readable_secrets,
    no_broker,
    foreign_server,
]


def attempt(failure, regatta: Path, place: Path, runs: Runs) -> bool:
    """Tries one, and prints a line about it."""
    began = time.monotonic()
    try:
        with Cluster(regatta, place / failure.__name__, runs) as cluster:
            mark, told = "ok", failure(cluster)
    except Skipped as why:
        mark, told = "skipped", str(why)
    except (Exception, SystemExit) as wrong:  # pylint: disable=broad-except
        mark, told = "FAILED", f"{type(wrong).__name__}: {wrong}"
    print(f"{mark:8}{time.monotonic() - began:4.0f} s  {failure.__name__}: {told}", flush=True)
    return mark != "FAILED"


def main() -> None:
    regatta = PROJECT / (sys.argv[1] if len(sys.argv) > 1 else "target/release/regatta")
    chosen = [failure for failure in FAILURES if failure.__name__ in sys.argv[2:] or not sys.argv[2:]]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        place = Path(folder)
        runs = Runs(regatta, place, pool)
        done = list(pool.map(lambda failure: attempt(failure, regatta, place, runs), chosen))
    print(f"{sum(done)} of {len(done)}, {time.monotonic() - began:.0f} s")
    if not all(done):
        sys.exit(1)


if __name__ == "__main__":
    main()
