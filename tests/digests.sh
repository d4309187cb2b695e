#!/bin/sh
# Compares two builds of the program on this machine: the digest of each round's state must be the
# same for every method, every adapter and every kind of round.
#
#   tests/digests.sh OLD NEW
#
# OLD and NEW are programs. Needs the small model and data set of `make setup`.
set -eu
old=$1
new=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
different=0

digests() {
    program=$1
    shift
    rm -rf "$folder/run"
    "$program" run "$@" --metrics off --web off --quiet --out "$folder/run" >/dev/null 2>"$folder/errors" ||
        { cat "$folder/errors" >&2; exit 1; }
    sed 's/.*"state_digest":"\([0-9a-f]*\)".*/\1/' "$folder/run/rounds.jsonl"
}

compare() {
    digests "$old" "$@" >"$folder/old"
    digests "$new" "$@" >"$folder/new"
    if [ -s "$folder/old" ] && cmp -s "$folder/old" "$folder/new"; then
        echo "same       $*"
    else
        echo "DIFFERENT  $*"
        different=1
    fi
}

small="--task sst2 --data data/reviews --partition natural:domain --num_clients 4 --model models/minilm
    --rounds 2 --limit_train 48 --limit_eval 16 --batch_size 4"
for method in normal ours flora ffa fedsvd rolora; do
    compare $small --agg_type $method
done
compare $small --agg_type normal --vera --r 16
for method in ours_vera sorf_vera sorf_vera_exact; do
    compare $small --agg_type $method --r 16
done
compare $small --agg_type ours --precision bfloat16
compare $small --agg_type ours --rslora --bias lora_only --weighting uniform
# As a file whose names of methods programs from before their renaming read too.
older() {
    sed 's/"fedex/"ours/; s/"fedit/"normal/' "$1" >"$folder/$(basename "$1")"
    echo "$folder/$(basename "$1")"
}
for scenario in stragglers dropouts byzantine fedbuff; do
    compare "$(older scenarios/$scenario.toml)" --limit_train 240 --limit_eval 16
done
compare "$(older tests/survive.toml)"
compare "$(older scenarios/quickstart.toml)" --rounds 2
exit $different
