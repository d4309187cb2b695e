"""Runs the scripts of `scenarios/slurm` with a real Slurm of two nodes on this machine, disturbs them,
and compares what the runs come to with a run of one process that nobody disturbed.

    python3 tests/slurm.py [REGATTA]

Slurm's daemons run as the caller, in a temporary folder; Debian's packages are installed if they are
missing and the caller is root. Needs the small model and data set of `make setup`, and the server of
`make setup NATS=1`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from cluster_parts import (
    PROJECT,
    SCENARIO,
    Coordinator,
    Part,
    compare,
    free_port,
    start_broker,
    undisturbed,
    wait_for,
)

PACKAGES = ["slurmctld", "slurmd", "slurm-client", "munge"]
PROGRAMS = ["slurmctld", "slurmd", "munged", "sbatch", "srun", "scontrol", "squeue", "scancel", "sinfo"]
NODES = ["n1", "n2"]
# States of a job that is over.
ENDED = ["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL"]
# Seconds after which a run that does not end has failed.
PATIENCE = 150.0

# As a cluster has it, but for two things: a job that is put back in the queue is eligible again when
# its credential has expired (`cred_expire`, usually two minutes), and a node that is silent counts as
# lost after seconds (`SlurmdTimeout`).
CONFIGURATION = """\
ClusterName=regatta
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmctldPort={port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,batch_sched_delay=1
ReturnToService=2
MpiDefault=none
SlurmctldTimeout=30
SlurmdTimeout=5
InactiveLimit=0
KillWait=5
{nodes}
PartitionName=test Nodes={names} Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 State=UNKNOWN"


class Slurm:
    """Slurm's daemons, in a folder, and what they run."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.configuration = folder / "slurm.conf"
        folder.mkdir(mode=0o711)
        # Whatever is started from here has this in its environment, and is found by it.
        os.environ["SLURM_CONF"] = str(self.configuration)
        os.environ["PATH"] += ":/usr/sbin:/sbin"
        for name in ["state", *(f"spool-{node}" for node in NODES)]:
            (folder / name).mkdir()
        key = folder / "munge.key-file"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        host, user = socket.gethostname(), pwd.getpwuid(os.geteuid()).pw_name
        nodes = [NODE.format(name=name, host=host, port=free_port()) for name in NODES]
        text = CONFIGURATION.format(
            host=host,
            user=user,
            folder=folder,
            port=free_port(),
            nodes="\n".join(nodes),
            names=",".join(NODES),
        )
        self.configuration.write_text(text)
        log = folder / "daemons.log"
        files = ["key-file", "pid-file", "log-file", "seed-file"]
        flags = [f"--socket={folder}/munge.socket", *(f"--{file}={folder}/munge.{file}" for file in files)]
        self.munge = Part("munged", log, "munged", "--foreground", *flags)
        self.controller = Part("slurmctld", log, "slurmctld", "-D")
        self.nodes = {name: Part(name, log, "slurmd", "-D", "-N", name) for name in NODES}

    def start(self) -> None:
        self.munge.start()
        wait_for("munge's socket", (self.folder / "munge.socket").exists)
        for part in [self.controller, *self.nodes.values()]:
            part.start()
        idle = ["sinfo", "--noheader", "--Node", "--states=idle", "--format=%N"]
        wait_for("two idle nodes", lambda: asked(*idle).split() == NODES)

    def end(self) -> None:
        """Ends all of it, whatever is left of it."""
        with suppress(OSError, subprocess.SubprocessError):
            user = str(os.geteuid())
            subprocess.run(["scancel", f"--user={user}"], timeout=10, stderr=subprocess.DEVNULL)
        for part in [*self.nodes.values(), self.controller, self.munge]:
            with suppress(subprocess.TimeoutExpired):
                part.end()
        end_all(self.processes())

    def processes(self, node: str | None = None) -> list[int]:
        """What was started from here and still runs, or what a node's jobs consist of."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (place / "environ").read_bytes().split(b"\0")
                if f"SLURM_CONF={self.configuration}".encode() not in words or int(place.name) == os.getpid():
                    continue
                if node is None or f"SLURMD_NODENAME={node}".encode() in words:
                    found.append(int(place.name))
        # `slurmstepd` writes its title over its environment.
        above = {parent_of(process) for process in found} - set(found)
        return found + [process for process in above if name_of(process) == "slurmstepd"]

    def is_down(self, node: str) -> bool:
        return "down" in asked("sinfo", "--noheader", f"--nodes={node}", "--format=%T")

    def lose(self, node: str) -> None:
        """Kills a node's daemon and all that it runs, as if it had lost its power."""
        self.nodes[node].kill()
        end_all(self.processes(node))


def end_all(processes: list[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def name_of(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/comm").read_text().strip()
    return ""


def parent_of(process: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("PPid:"):
                return int(line.split()[1])
    return 0


def asked(*command: object) -> str:
    """What a command says, or nothing if it fails."""
    done = subprocess.run([str(word) for word in command], cwd=PROJECT, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


def told(*command: object) -> str:
    """Runs a command that must succeed."""
    done = subprocess.run([str(word) for word in command], cwd=PROJECT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr or done.stdout}")
    return done.stdout.strip()


def states(job: str) -> dict[str, tuple[str, str]]:
    """State and node of a job, or of each element of an array that is in the queue, by its name."""
    listed = asked("squeue", "--noheader", "--array", "--states=all", f"--jobs={job}", "--format=%i %T %N")
    rows = [(line.split() + ["", ""])[:3] for line in listed.splitlines()]
    return {name: (state, node) for name, state, node in rows}


def state_of(job: str, name: str) -> str:
    return states(job).get(name, ("", ""))[0]


def running(job: str, name: str) -> bool:
    return state_of(job, name) == "RUNNING"


def rounds(run: Path) -> int:
    with suppress(OSError):
        return (run / "rounds.jsonl").read_bytes().count(b"\n")
    return 0


def say(text: str) -> None:
    print(text, flush=True)


def array_of_workers(regatta: Path, slurm: Slurm, place: Path) -> None:
    """Broker and coordinator outside, workers as a job array that loses a worker and a node."""
    folder, run = place / "broker", place / "array"
    broker = start_broker(regatta, folder)
    job = ""
    coordinator = Coordinator(regatta, SCENARIO, run, folder / "cluster.toml", place / "array.log")

    def wait_for_element(number: int) -> None:
        name = f"{job}_{number}"
        wait_for(f"element {number} back", lambda: running(job, name) or finished(coordinator), 60)
        back = "runs again" if running(job, name) else "was not back before the run's end"
        say(f"after round {rounds(run)}: element {number} {back}")

    try:
        coordinator.start()
        output = f"--output={place}/worker-%a.log"
        script = ["scenarios/slurm/worker.sh", folder / "worker.toml", "--lanes", 1]
        job = told("sbatch", "--parsable", "--array=0-1", "--cpus-per-task=1", output, *script)
        first, second = f"{job}_0", f"{job}_1"
        wait_for("both workers", lambda: running(job, first) and running(job, second))
        lost = states(job)[second][1]

        wait_for("round 2", lambda: rounds(run) >= 2, PATIENCE)
        told("scontrol", "requeue", first)
        say(f"in round {rounds(run) + 1}: element 0 put back in the queue")
        wait_for("round 4", lambda: rounds(run) >= 4, PATIENCE)
        slurm.lose(lost)
        say(f"in round {rounds(run) + 1}: node {lost} killed with element 1")
        wait_for_element(0)
        wait_for("Slurm misses the node", lambda: slurm.is_down(lost), 60)
        slurm.nodes[lost].start()
        say(f"in round {rounds(run) + 1}: node {lost} missed by Slurm, and started again")
        wait_for_element(1)
        wait_for("the end of the run", lambda: finished(coordinator), PATIENCE)
        if coordinator.process.returncode != 0:
            sys.exit(f"the run failed:\n{coordinator.said()}")
        # Each leaves by itself, but for one that came too late and waits for another run.
        wait_for("a worker leaves", lambda: not (running(job, first) and running(job, second)))
    finally:
        coordinator.end()
        broker.end()
        job and asked("scancel", job)
    compare(place / "whole", run)


def finished(part: Part) -> bool:
    return part.process.poll() is not None


def one_allocation(slurm: Slurm, place: Path) -> None:
    """Everything in one job of both nodes, which loses a worker and comes to its time limit."""
    run, log = place / "allocation", place / "allocation-job.log"
    os.environ["REGATTA_OUT"] = str(run)
    os.environ["REGATTA_WORKER"] = "--lanes 1"
    quiet = ["--metrics", "off", "--web", "off"]
    size = ["--nodes=2", "--cpus-per-task=1", f"--output={log}"]
    job = told("sbatch", "--parsable", *size, "scenarios/slurm/run.sh", SCENARIO, *quiet)

    def over() -> bool:
        return state_of(job, job) in ENDED

    wait_for("round 2", lambda: rounds(run) >= 2 or over(), PATIENCE)
    victims = [process for process in slurm.processes("n2") if name_of(process) == "regatta"]
    end_all(victims)
    say(f"in round {rounds(run) + 1}: the worker of n2 killed")
    wait_for("round 4", lambda: rounds(run) >= 4 or over(), PATIENCE)
    # As Slurm does before the time limit.
    told("scancel", "--batch", "--signal=USR1", job)
    say(f"in round {rounds(run) + 1}: the job told that its time is up")
    wait_for("the job back in the queue", lambda: state_of(job, job) == "PENDING" or over(), PATIENCE)
    say(f"after round {rounds(run)}: the job back in the queue")
    wait_for("the end of the job", over, PATIENCE)
    state = state_of(job, job)
    if state != "COMPLETED":
        sys.exit(f"the job ended as {state}:\n{log.read_text(errors='replace')[-3000:]}")
    compare(place / "whole", run)


def has_slurm() -> bool:
    """Whether Slurm is there; as root on Debian, it is installed."""
    if missing() and os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing Debian's {', '.join(PACKAGES)}")
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
        for command in (install, ["apt-get", "update"], install):
            subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if not missing():
                break
    return not missing()


def missing() -> list[str]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [name for name in PROGRAMS if not shutil.which(name, path=path)]


def main() -> None:
    if not has_slurm():
        print(f"skipped: there is no {', '.join(missing())}, so nothing was run with Slurm")
        return
    regatta = PROJECT / (sys.argv[1] if len(sys.argv) > 1 else "target/release/regatta")
    os.environ["REGATTA"] = str(regatta)
    # `finally` is to see these too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    with tempfile.TemporaryDirectory(prefix="regatta-slurm-") as temporary:
        place = Path(temporary)
        place.chmod(0o711)
        os.environ["TMPDIR"] = str(place)
        began = time.monotonic()
        slurm = Slurm(place / "slurm")
        try:
            slurm.start()
            say(f"Slurm of {len(NODES)} nodes: {time.monotonic() - began:.0f} s")
            undisturbed(regatta, place / "whole")
            say(f"one process: {time.monotonic() - began:.0f} s")
            array_of_workers(regatta, slurm, place)
            say(f"a job array of two workers: {time.monotonic() - began:.0f} s")
            one_allocation(slurm, place)
            say(f"all in one allocation: {time.monotonic() - began:.0f} s")
        except BaseException:
            keep_logs(place)
            raise
        finally:
            slurm.end()


def keep_logs(place: Path) -> None:
    """Copies the logs to where they can be read after a failure."""
    kept = Path(tempfile.mkdtemp(prefix="regatta-slurm-logs-"))
    for log in place.rglob("*.log"):
        shutil.copy(log, kept)
    print(f"logs: {kept}", file=sys.stderr)


if __name__ == "__main__":
    main()
