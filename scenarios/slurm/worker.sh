#!/bin/bash
# Workers as a job array, one per element, for a run whose broker and coordinator are elsewhere:
#
#     sbatch --array=0-15 scenarios/slurm/worker.sh path/to/worker.toml [arguments of `regatta worker`]
#
# Elements may start, end and die at any time; the run is the same to the bit. The program is
# $REGATTA, or the `regatta` of PATH, or target/release/regatta where the job was submitted.
#
#SBATCH --job-name=regatta-worker
#SBATCH --array=0-3
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
# One worker uses all GPUs of its element, with a lane for each. For four, remove one `#`:
##SBATCH --gres=gpu:4
#SBATCH --time=04:00:00
#SBATCH --output=regatta-worker-%A_%a.log
#SBATCH --open-mode=append
# Preempted, or with its node lost, an element is put back in the queue. So it is at its time limit,
# by this script: a minute before it, USR1 comes here. TERM would not tell the limit from `scancel`.
#SBATCH --requeue
#SBATCH --signal=B:USR1@60
set -u

# A worker that heard no coordinator is put back in the queue until the job was started so many times.
readonly MOST_STARTS=4
# How `regatta worker` says that it heard none.
readonly TRY_AGAIN=75

if [ $# -eq 0 ]; then
    echo "usage: sbatch worker.sh path/to/worker.toml [arguments of \`regatta worker\`]" >&2
    exit 2
fi
cluster=$1
shift
regatta=${REGATTA:-$(command -v regatta || echo target/release/regatta)}

"$regatta" worker --cluster "$cluster" --name "${SLURMD_NODENAME:-$(hostname)}" "$@" &
worker=$!

# Told to end, the worker gives its jobs back and leaves within a second.
at_limit=
trap 'at_limit=1; kill -TERM "$worker" 2>/dev/null' USR1
trap 'at_limit=; kill -TERM "$worker" 2>/dev/null' TERM INT
# A signal interrupts `wait`, whose status is then not the worker's.
while kill -0 "$worker" 2>/dev/null; do
    wait "$worker"
done
wait "$worker"
status=$?

again() {
    echo "$1: back to the queue"
    # The element's own number: SLURM_ARRAY_JOB_ID would be all of them.
    scontrol requeue "$SLURM_JOB_ID" && sleep 60
}

if [ -n "$at_limit" ]; then
    again "the time limit is near"
elif [ "$status" -eq "$TRY_AGAIN" ] && [ $((${SLURM_RESTART_COUNT:-0} + 1)) -lt "$MOST_STARTS" ]; then
    again "no coordinator was heard"
fi
exit "$status"
