"""Which libtorch to use. `third_party/libtorch`, a link to it, is where cargo looks.

In this order: the one that LIBTORCH names, the one linked already, this Python's PyTorch, and
else the one that is downloaded, with CUDA where there is an NVIDIA driver.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from . import torch_wheels, tree
from .errors import SetupError

LINK = Path("third_party/libtorch")
DRIVER = Path("/proc/driver/nvidia/version")
# The oldest driver that runs CUDA 13.
OLDEST_DRIVER = 580
# The least compute capability that the wheels for CUDA 13 have kernels for.
OLDEST_GPU = (7, 5)
PROBE = "import torch; print(torch.__version__, torch._C._GLIBCXX_USE_CXX11_ABI, torch.__path__[0])"


def make() -> None:
    """Links `third_party/libtorch` to a libtorch of the right version."""
    asked = os.environ.get("LIBTORCH", "")
    if asked and Path(asked).resolve() != LINK.resolve():
        fault = fault_of(Path(asked))
        if fault:
            raise SetupError(f"LIBTORCH={asked}: {fault}")
        use(Path(asked).resolve(), "named by LIBTORCH")
    elif not is_settled(cuda_asked()):
        choose(cuda_asked())


def choose(asked: bool | None) -> None:
    """Takes the installed PyTorch if it is right, and downloads libtorch if not."""
    found = installed_pytorch(asked)
    if found:
        use(found, "this Python's PyTorch")
        return
    cuda = has_driver() if asked is None else asked
    if cuda and asked is None:
        print("there is an NVIDIA driver: taking libtorch with CUDA (CUDA=0 takes the one without)")
    torch_wheels.make(cuda)
    use(torch_wheels.libtorch(cuda), "downloaded")


def use(libtorch: Path, origin: str) -> None:
    """Links to a libtorch, relatively where it lies in the repository."""
    inside = not libtorch.is_absolute()
    if LINK.exists() and not LINK.is_symlink():
        raise SetupError(f"{LINK} is in the way: it is not a link. Move it and name it by LIBTORCH.")
    target = libtorch.relative_to(LINK.parent) if inside else libtorch
    if not (LINK.is_symlink() and Path(os.readlink(LINK)) == target):
        tree.link(LINK, target)
        cuda = "with CUDA" if has_cuda(LINK) else "without CUDA"
        print(f"libtorch {torch_wheels.version()} {cuda}: {libtorch} ({origin})")


def is_settled(asked: bool | None) -> bool:
    """Whether the link leads to a libtorch that will do."""
    if fault_of(LINK) or asked not in (None, has_cuda(LINK)):
        return False
    for cuda in (False, True):
        if LINK.resolve() == torch_wheels.libtorch(cuda).resolve():
            return tree.is_current(torch_wheels.folder(cuda), torch_wheels.key(cuda))
    # A version of before that set-up unpacked is not taken for one of the user's.
    return Path("third_party").resolve() not in LINK.resolve().parents or not LINK.is_symlink()


def fault_of(libtorch: Path) -> str | None:
    """What keeps this folder from being used, if anything does."""
    for part in ("lib/libtorch.so", "lib/libtorch_cpu.so", "lib/libc10.so", "include/torch"):
        if not (libtorch / part).exists():
            return f"there is no {part} in it"
    found = header_version(libtorch)
    if found != torch_wheels.version():
        return f"it is version {found or 'unknown'}, and {torch_wheels.version()} is needed"
    return None


def header_version(libtorch: Path) -> str | None:
    """The version that the headers state: wheels and zip archives alike have it there."""
    try:
        text = (libtorch / "include/torch/headeronly/version.h").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    numbers = re.findall(r"#define TORCH_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", text)
    return ".".join(numbers) if len(numbers) == 3 else None


def has_cuda(libtorch: Path) -> bool:
    """Whether it can use an NVIDIA GPU."""
    return (libtorch / "lib/libtorch_cuda.so").exists()


def installed_pytorch(asked: bool | None) -> Path | None:
    """This Python's PyTorch, if Regatta can be linked with it."""
    if importlib.util.find_spec("torch") is None:
        return None
    command = [sys.executable, "-c", PROBE]
    probe = subprocess.run(command, capture_output=True, text=True, check=False)
    words = probe.stdout.strip().split(" ", 2)
    if probe.returncode != 0 or len(words) != 3:
        print("this Python's PyTorch does not load: not using it")
        return None
    version, abi, path = words
    fault = fault_of(Path(path))
    if abi != "True":
        fault = "it was built with the old C++ ABI"
    elif asked is not None and has_cuda(Path(path)) != asked:
        fault = "it has CUDA" if has_cuda(Path(path)) else "it is without CUDA"
    if fault:
        print(f"this Python's PyTorch {version} is not used: {fault}")
        return None
    if asked is None and has_driver() and not has_cuda(Path(path)):
        print(f"this Python's PyTorch {version} is without CUDA; CUDA=1 fetches one that has it")
    return Path(path)


def cuda_asked() -> bool | None:
    """What the variable CUDA says, if it is set."""
    value = os.environ.get("CUDA", "")
    if value not in ("", "0", "1"):
        raise SetupError(f"CUDA={value}: must be 1 (libtorch with CUDA), 0 (without) or unset")
    return None if value == "" else value == "1"


def has_driver() -> bool:
    """Whether there is an NVIDIA driver that can run this libtorch."""
    if not DRIVER.exists():
        return shutil.which("nvidia-smi") is not None
    release = re.search(r"Kernel Module.*?\s(\d+)\.\d", DRIVER.read_text(encoding="utf-8"))
    if release and int(release.group(1)) < OLDEST_DRIVER:
        print(f"the NVIDIA driver is {release.group(1)}; CUDA 13 needs {OLDEST_DRIVER} or later")
        return False
    return not all_too_old(compute_capabilities())


def compute_capabilities() -> list[tuple[int, int]]:
    """Those of the machine's GPUs; none where nvidia-smi does not say."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = re.findall(r"^(\d+)\.(\d+)\s*$", said.stdout, re.M) if said.returncode == 0 else []
    return [(int(major), int(minor)) for major, minor in found]


def all_too_old(capabilities: list[tuple[int, int]]) -> bool:
    """Whether the libtorch that is downloaded has kernels for none of these GPUs."""
    if not capabilities or max(capabilities) >= OLDEST_GPU:
        return False
    newest, oldest = (".".join(map(str, numbers)) for numbers in (max(capabilities), OLDEST_GPU))
    print(
        f"the GPU has compute capability {newest}; libtorch for CUDA 13 has kernels from {oldest} on: "
        "LIBTORCH can name one for CUDA 12.6 (a wheel of cu126)"
    )
    return True
