#!/bin/sh
# Kills a run with SIGKILL at random moments, resumes it each time, and compares what it comes to
# with a run that nobody disturbed: the digest of each round's state, and the whole ledger, which
# has no trace of a kill.
#
#   tests/survive.sh [REGATTA [KILLS [RUN'S ARGUMENTS ...]]]
#
# Without arguments of the run, it is tests/survive.toml, in which every kind of fault strikes.
# Needs the small model and data set of `make setup`.
set -eu
regatta=${1:-target/release/regatta}
kills=${2:-20}
if [ $# -gt 2 ]; then
    shift 2
else
    set -- tests/survive.toml
fi
folder=$(mktemp -d)
running=
trap '[ -z "$running" ] || kill -9 "$running" 2>/dev/null || true; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM

# Hundredths of a second since the machine was started.
now() { awk '{ print int($1 * 100) }' /proc/uptime; }

digests() { sed 's/.*"state_digest":"\([0-9a-f]*\)".*/\1/' "$1/rounds.jsonl"; }

begin=$(now)
"$regatta" run "$@" --metrics off --quiet --out "$folder/whole" >/dev/null
whole=$(($(now) - begin))
echo "undisturbed: $(wc -l <"$folder/whole/rounds.jsonl") rounds, $((whole / 100)) s"

killed=0
runs=0
while [ "$killed" -lt "$kills" ]; do
    run="$folder/killed-$runs"
    runs=$((runs + 1))
    # A third of the kills each, so that they fall on early and late rounds.
    enough=$((killed + (kills + 2) / 3))
    at=
    while :; do
        # A ledger is begun before anything else happens; without one, the run starts again.
        if [ -e "$run/events.jsonl" ]; then
            "$regatta" resume "$run" --metrics off --quiet=true >/dev/null 2>"$folder/said" &
        else
            rm -rf "$run"
            "$regatta" run "$@" --metrics off --quiet --out "$run" >/dev/null 2>"$folder/said" &
        fi
        running=$!
        if [ "$killed" -lt "$kills" ] && [ "$killed" -lt "$enough" ]; then
            # A moment within a third of the time that a whole run takes, so that a run is killed
            # several times, also while it starts.
            random=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
            moment=$((random % (whole / 3 + 1)))
            sleep "$((moment / 100)).$(printf %02d $((moment % 100)))"
            kill -9 "$running" 2>/dev/null || true
        fi
        status=0
        wait "$running" 2>/dev/null || status=$?
        running=
        case $status in
        0) break ;;
        137)
            killed=$((killed + 1))
            at="$at $(cat "$run/rounds.jsonl" 2>/dev/null | wc -l)"
            ;;
        *)
            cat "$folder/said" >&2
            exit 1
            ;;
        esac
    done
    echo "killed with this many rounds written:$at"
    digests "$folder/whole" >"$folder/expected"
    digests "$run" >"$folder/found"
    cmp "$folder/expected" "$folder/found"
    cmp "$folder/whole/events.jsonl" "$run/events.jsonl"
    rm -rf "$run"
done
echo "$killed kills in $runs runs: all state digests and all ledgers are those of the undisturbed run"
