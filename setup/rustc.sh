#!/bin/sh
# Compiles a crate of the workspace as clippy does and, where it is a library, documents it in
# target/doc at the same time, from its dependencies as they are built. `cargo doc` would first check
# all of them once more, which takes minutes. For cargo's RUSTC_WORKSPACE_WRAPPER.
set -eu

clippy-driver "$@" &
clippy=$!

# rustdoc takes rustc's arguments, but for those on code, linking, and what comes out where.
shift
library=no
previous=
for argument in "$@"; do
    shift
    case "$previous $argument" in
        *" --emit="* | *" --out-dir" | *" -C" | *" -l" | *" --diagnostic-width="* | *" --test") ;;
        "--out-dir "*) doc=$argument/../../doc ;;
        "-C "* | "-l "*) ;;
        *) set -- "$@" "$argument" ;;
    esac
    case "$previous $argument" in
        "--crate-type lib") library=yes ;;
        *" --test") library=test ;;
    esac
    previous=$argument
done

status=0
if [ "$library" = yes ]; then
    "${RUSTDOC:-rustdoc}" "$@" -D warnings --out-dir "$doc" || status=$?
fi
wait "$clippy" || status=$?
exit "$status"
