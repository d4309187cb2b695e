#!/bin/sh
# What a machine with a GPU is to show, in one call of at most ten minutes:
#
#     benches/gpu.sh PROGRAM [TESTS]... [-- FLAGS]
#
# PROGRAM is a release build of regatta, TESTS the binary of tests/gpu.rs (`cargo test --release
# --test gpu --no-run` tells where it is); both may come from another machine, with libtorch for
# the CPU only: here they take the CUDA of this machine's Python, whose torch must be of the same
# version, 2.11. transformers and peft are used where they are installed. FLAGS are those of
# `python3 -m benches.gpu`: --budget SECONDS, --out FILE, --quick.
#
# GPU_DEVICE=cpu tries everything out with tiny sizes on the processor, as `make test` does. PYTHON
# chooses the interpreter. nsys is used where it is installed, for the time of kernels. No figure of
# this script is in RESULTS.md yet: none of the machines it was written on has a GPU.
set -eu

if [ $# -eq 0 ]; then
    sed -n '2,16s/^# \{0,1\}//p' "$0"
    exit 2
fi
PYTHON=${PYTHON:-python3}
program=$(realpath "$1")
shift
tests=""
while [ $# -gt 0 ] && [ "$1" != "--" ]; do
    tests="$tests --tests $(realpath "$1")"
    shift
done
[ $# -eq 0 ] || shift

# The real libtorch goes before the trimmed one that the program was linked with.
torch=$("$PYTHON" -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "lib"))' 2>/dev/null || true)
if [ -n "$torch" ]; then
    LD_LIBRARY_PATH="$torch${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    export LD_LIBRARY_PATH
elif [ "${GPU_DEVICE:-cuda}" = cuda ]; then
    echo "this Python has no torch: the program takes the libtorch that it was linked with" >&2
fi
# As the program sets it for itself, and tests cannot: cuBLAS chooses products by its workspace.
CUBLAS_WORKSPACE_CONFIG=${CUBLAS_WORKSPACE_CONFIG:-:4096:8}
export CUBLAS_WORKSPACE_CONFIG
cd "$(dirname "$0")/.."
# shellcheck disable=SC2086 # Paths of test binaries have no spaces.
exec "$PYTHON" -m benches.gpu "$program" $tests --device "${GPU_DEVICE:-cuda}" "$@"
