"""The live page's chart library, uPlot, which the build takes into the program."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from . import tree
from .download import fetch
from .errors import SetupError
from .lock import pins

TARGET = Path("third_party/uplot")
FILES = ["dist/uPlot.iife.min.js", "dist/uPlot.min.css", "LICENSE"]


def make() -> None:
    """Unpacks `third_party/uplot` from its archive, unless it is there."""
    archive = pins()["uplot"]
    key = tree.recipe_key(__file__, [archive])
    if tree.is_current(TARGET, key) or tree.is_foreign(TARGET):
        return
    path = fetch(archive)
    tree.build(TARGET, key, lambda into: unpack(path, into))
    print(f"the chart library uPlot {archive.version}: {TARGET}")


def unpack(path: Path, into: Path) -> None:
    """Fills `into` with the files that the page needs, and the licence."""
    with tarfile.open(path) as archive:
        for name in FILES:
            member = archive.extractfile(f"package/{name}")
            if member is None:
                raise SetupError(f"there is no {name} in {path}")
            with member, (into / Path(name).name).open("wb") as file:
                shutil.copyfileobj(member, file)
