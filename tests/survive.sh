#!/bin/sh
# Kills a run at twenty random moments, resumes it each time, and compares what it ends with to a
# run that nobody disturbed.
#
#   tests/survive.sh [SCENARIO] [REGATTA] [KILLS]
set -eu
scenario=${1:-scenarios/flaky_fleet.toml}
regatta=${2:-target/release/regatta}
kills=${3:-20}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

echo "a run that nobody disturbs"
start=$(date +%s)
"$regatta" run "$scenario" --metrics off --quiet --out "$folder/whole" >/dev/null
seconds=$(($(date +%s) - start))

killed=0
while [ "$killed" -lt "$kills" ]; do
    run="$folder/killed-$killed"
    set -- run "$scenario" --metrics off --quiet --out "$run"
    while :; do
        "$regatta" "$@" >/dev/null 2>&1 &
        pid=$!
        # A moment between now and the time a whole run takes, from the kernel's random numbers.
        wait=$(($(od -An -N2 -tu2 /dev/urandom) % (seconds + 1)))
        sleep "$wait"
        if ! kill -9 "$pid" 2>/dev/null; then
            wait "$pid" && break
        fi
        wait "$pid" 2>/dev/null || true
        killed=$((killed + 1))
        echo "kill $killed, $wait s after its start"
        # Without a ledger it had not begun: it begins anew.
        if [ -e "$run/events.jsonl" ]; then
            set -- resume "$run" --metrics off --quiet=true
        else
            rm -rf "$run"
        fi
    done
    cmp "$folder/whole/events.jsonl" "$run/events.jsonl"
    rm -rf "$run"
done
echo "the ledgers are the same after $killed kills"
