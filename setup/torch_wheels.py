"""libtorch out of PyTorch's wheels: only their C++ part is taken, so any Python will do."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from . import tree
from .download import fetch
from .errors import SetupError
from .lock import Archive, pins

# Without a GPU libtorch_cpu still wants CUDA's runtime and its profiler: 475 MB in one flat lib/.
CPU_LIBRARIES = {
    "torch": ["libtorch_cpu.so", "libc10.so", "libgomp.so.1"],
    "nvidia-cuda-runtime": ["libcudart.so.13"],
    "nvidia-cuda-cupti": ["libcupti.so.13"],
}
# What each set takes in GB: to download, and on the disk, downloads included.
DOWNLOAD = {False: 0.5, True: 2.5}
SPACE = {False: 1.3, True: 9.0}


def archives(cuda: bool) -> list[Archive]:
    """The wheels of the set."""
    wanted = [p for p in pins().values() if p.project == "torch" or p.project.startswith("nvidia-")]
    return [p for p in wanted if cuda or p.project in CPU_LIBRARIES]


def version() -> str:
    """The version of PyTorch that the crate `tch` is written for."""
    return pins()["torch"].version


def folder(cuda: bool) -> Path:
    """Where the set is unpacked."""
    return Path("third_party") / f"libtorch-{version()}-{'cuda' if cuda else 'cpu'}"


def libtorch(cuda: bool) -> Path:
    """The folder in it that holds `lib/` and `include/`."""
    return folder(cuda) / "torch" if cuda else folder(cuda)


def key(cuda: bool) -> str:
    """Identifies the set's content."""
    return tree.recipe_key(__file__, archives(cuda))


def make(cuda: bool) -> None:
    """Downloads and unpacks the set, unless it is there."""
    if tree.is_current(folder(cuda), key(cuda)):
        return
    check_machine()
    check_space(SPACE[cuda])
    kind = "with CUDA" if cuda else "for the CPU"
    print(f"libtorch {version()} {kind}: about {DOWNLOAD[cuda]} GB to download, once", flush=True)
    wheels = {archive: fetch(archive) for archive in archives(cuda)}
    print(f"  unpacking into {folder(cuda)}", flush=True)
    unpack = unpack_cuda if cuda else unpack_cpu
    tree.build(folder(cuda), key(cuda), lambda into: unpack(wheels, into))


def unpack_cpu(wheels: dict[Archive, Path], into: Path) -> None:
    """Fills `into` with a flat `lib/` and `include/`."""
    for archive, path in wheels.items():
        wanted = CPU_LIBRARIES[archive.project]
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                parts = name.split("/")
                if name.startswith("torch/include/"):
                    _extract(wheel, name, into / Path(*parts[1:]))
                elif parts[-2:-1] == ["lib"] and parts[-1] in wanted:
                    _extract(wheel, name, into / "lib" / parts[-1])
                elif "licenses" in parts:
                    _extract(wheel, name, into / "licenses" / archive.project / parts[-1])
    (into / "build-version").write_text(version() + "\n", encoding="utf-8")
    link_stub(into / "lib")


def unpack_cuda(wheels: dict[Archive, Path], into: Path) -> None:
    """Fills `into` as site-packages: `torch/` and `nvidia/` find each other by their rpaths."""
    for path in wheels.values():
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                wanted = ("torch/include/", "torch/lib/", "nvidia/")
                if name.startswith(wanted) or "/licenses/" in name:
                    _extract(wheel, name, into / name)
    (into / "torch" / "build-version").write_text(version() + "\n", encoding="utf-8")


def link_stub(lib: Path) -> None:
    """Links a `libtorch.so` that only refers to libtorch_cpu.

    Regatta's binaries ask for libtorch.so: with PyTorch's own in its place they have CUDA.
    """
    compiler = shlex.split(os.environ.get("CXX") or "c++")
    flags = "-shared -nostdlib -x c++ /dev/null -x none -o libtorch.so -L. -Wl,--no-as-needed"
    # The needed libraries are found beside it, at run time as well.
    dynamic = ["-Wl,-soname,libtorch.so", "-Wl,-rpath,$ORIGIN", "-Wl,--allow-shlib-undefined"]
    command = [*compiler, *flags.split(), *dynamic, "-l:libtorch_cpu.so"]
    done = subprocess.run(command, cwd=lib, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SetupError(f"could not link libtorch.so:\n{shlex.join(command)}\n{done.stderr}")


def check_machine() -> None:
    """Refuses machines that the pinned wheels are not for."""
    remedy = (
        f"Install PyTorch {version()} for this Python, or unpack libtorch {version()} and say "
        f"`make setup LIBTORCH=/path/to/libtorch`."
    )
    machine = f"{platform.system()} {platform.machine()}"
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise SetupError(f"libtorch is fetched for Linux x86_64; this is {machine}. {remedy}")
    libc, release = platform.libc_ver()
    numbers = [int(n) for n in release.split(".")[:2] if n.isdigit()]
    if libc != "glibc" or numbers < [2, 28]:
        found = f"{libc} {release}".strip() or "another C library"
        raise SetupError(f"libtorch needs glibc 2.28 or later; this is {found}. {remedy}")


def check_space(gigabytes: float) -> None:
    """Refuses to begin what cannot be finished."""
    free = shutil.disk_usage(".").free / 1e9
    if free < gigabytes:
        raise SetupError(f"libtorch takes {gigabytes} GB of disk here; {free:.1f} GB are free")


def _extract(wheel: zipfile.ZipFile, name: str, to: Path) -> None:
    if name.endswith("/"):
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    with wheel.open(name) as source, to.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
