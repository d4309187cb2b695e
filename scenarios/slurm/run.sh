#!/bin/bash
# A run inside one allocation: broker and coordinator on its first node, a worker on every node.
#
#     sbatch --nodes=4 scenarios/slurm/run.sh SCENARIO [arguments of `regatta run`]
#
# A job that is put back in the queue resumes its run. Submit it in a folder that all nodes share.
# What can be set in the environment:
#
#     REGATTA          the program; otherwise the `regatta` of PATH, or target/release/regatta
#     REGATTA_OUT      the run's folder, otherwise runs/slurm-JOB
#     REGATTA_WORKER   arguments of each `regatta worker`, such as "--lanes 4"
#     REGATTA_HOST     the first node's name for the others, otherwise what `hostname` says
#     REGATTA_PORT     the broker's port there, otherwise one made of the job's number
#
#SBATCH --job-name=regatta
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
# A worker uses all GPUs of its node, with a lane for each. For four on each node, remove one `#`:
##SBATCH --gres=gpu:4
#SBATCH --time=04:00:00
#SBATCH --output=regatta-%j.log
#SBATCH --open-mode=append
# The run goes on when a node is lost; with the first node the job is put back in the queue.
#SBATCH --no-kill
#SBATCH --requeue
# Three minutes before the time limit USR1 comes to this script: time to finish a round. TERM would
# not tell the limit from `scancel`.
#SBATCH --signal=B:USR1@180
set -u

if [ $# -eq 0 ]; then
    echo "usage: sbatch run.sh SCENARIO [arguments of \`regatta run\`]" >&2
    exit 2
fi
regatta=${REGATTA:-$(command -v regatta || echo target/release/regatta)}
out=${REGATTA_OUT:-runs/slurm-$SLURM_JOB_ID}
host=${REGATTA_HOST:-$(hostname)}
# Below the ports that systems give to outgoing connections.
port=${REGATTA_PORT:-$((10000 + SLURM_JOB_ID % 20000))}
# The broker's files belong on a local disk; what workers need of them, where all nodes see it.
local_folder=${TMPDIR:-/tmp}/regatta-$SLURM_JOB_ID
invitation=$out.worker.toml
# Made by a worker that left because there was no more to do.
over=$out.over

alive() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null; }

# A second in which signals are heard.
pause() {
    sleep 1 &
    wait $!
}

fail() {
    echo "run.sh: $1" >&2
    exit 1
}

start_broker() {
    "$regatta" broker --folder "$local_folder" --listen "0.0.0.0:$port" --name "$host" &
    broker=$!
}

# Broker and coordinator are no steps of their own: a signal to `srun` kills what it runs, whereas
# the coordinator is to finish its round.
broker=
workers=
coordinator=
# shellcheck disable=SC2317 # Called by the trap.
leave() {
    for process in "$coordinator" "$workers" "$broker"; do
        alive "$process" && kill -TERM "$process"
    done
    wait
    rm -rf "$local_folder" "$invitation" "$over"
}
trap leave EXIT

stopping=
at_limit=
# shellcheck disable=SC2317 # Called by the traps.
stop() {
    stopping=1
    at_limit=$1
    alive "$coordinator" || exit 1
    kill -TERM "$coordinator"
}
trap 'stop 1' USR1
trap 'stop ""' TERM INT

mkdir -p "$(dirname "$out")" || exit
(umask 077 && mkdir -p "$local_folder") || exit
[ -O "$local_folder" ] || fail "$local_folder is another user's"
rm -f "$invitation" "$over" "$local_folder/worker.toml"
start_broker
until [ -e "$local_folder/worker.toml" ]; do
    alive "$broker" || fail "there is no broker; if the port is taken, set REGATTA_PORT"
    pause
done
cp -p "$local_folder/worker.toml" "$invitation" || exit

# One worker per node. One that was killed, or that heard no coordinator (75), is started again; one
# that was refused is not, and the others stay.
# shellcheck disable=SC2016,SC2086 # Expanded on each node; several words.
srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
    ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} --cpu-bind=none \
    --overlap --no-kill --kill-on-bad-exit=0 --wait=0 \
    bash -c 'over=$1
    shift
    while :; do
        "$0" worker --name "$SLURMD_NODENAME" "$@"
        status=$?
        [ "$status" -ne 0 ] || : >"$over"
        [ "$status" -eq 75 ] || [ "$status" -gt 128 ] || exit "$status"
        echo "$SLURMD_NODENAME: the worker ended with status $status and is started again"
        sleep 5
    done' "$regatta" "$over" --cluster "$invitation" ${REGATTA_WORKER:-} &
workers=$!

# Whatever had begun is resumed; the scenario is in the run's folder by then.
if [ -e "$out/events.jsonl" ] || [ -e "$out/checkpoints" ]; then
    "$regatta" resume "$out" --cluster "$local_folder/cluster.toml" --quiet=true &
else
    "$regatta" run "$@" --out "$out" --cluster "$local_folder/cluster.toml" --quiet &
fi
coordinator=$!

while alive "$coordinator"; do
    [ -n "$stopping" ] || alive "$broker" || start_broker
    # When the run is over workers leave, and the coordinator may still be writing. When Slurm ends
    # the job they are gone too, and the round cannot be finished: its last checkpoint counts.
    if ! alive "$workers" && [ ! -e "$over" ]; then
        kill -KILL "$coordinator"
        fail "no worker is left"
    fi
    pause
done
wait "$coordinator"
status=$?

if [ -n "$at_limit" ] && [ "$status" -eq 0 ]; then
    echo "the time limit is near: back to the queue"
    scontrol requeue "$SLURM_JOB_ID" && sleep 60
fi
exit "$status"
