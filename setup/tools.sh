# Names each tool that is missing with what to install; exits 1 if there is any.
# `tools.sh missing TOOL` names that one.

remedy() {
    case $1 in
    cargo) echo "install Rust from https://rustup.rs" ;;
    rustfmt | clippy) echo "rustup component add $1 (Debian, Ubuntu: apt install $1)" ;;
    c++) echo "Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++ (or set CXX)" ;;
    python3) echo "Python 3.9 or later. Debian, Ubuntu: apt install python3 python3-pip;" \
        "Fedora: dnf install python3 python3-pip (or set PYTHON)" ;;
    esac
}

missing=0
miss() {
    echo "missing: $1. To install it: $(remedy "$1")" >&2
    missing=1
}

if [ "$1" = missing ]; then
    miss "$2"
    exit 1
fi

${CARGO:-cargo} --version >/dev/null 2>&1 || miss cargo
${CXX:-c++} --version >/dev/null 2>&1 || miss c++
${PYTHON:-python3} -c 'import sys; sys.exit(sys.version_info < (3, 9))' >/dev/null 2>&1 || miss python3
exit $missing
