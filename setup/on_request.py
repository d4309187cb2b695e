"""The models that are fetched only when they are asked for, by name or by a scenario."""

from __future__ import annotations

import re
from pathlib import Path

from . import smollm2
from .errors import SetupError

# By their folders' names in models/.
MODELS = {"smollm2": smollm2}
# A scenario's model in models/. Python 3.9 and 3.10 read no TOML.
MODEL_LINE = re.compile(r"""^\s*model\s*=\s*["'](?:\./)?models/([^/"']+)""", re.MULTILINE)


def check(name: str | None) -> None:
    """Refuses a name that is not one of a model's."""
    if name and name not in MODELS:
        raise SetupError(f"MODEL={name}: the models that can be asked for are {', '.join(MODELS)}")


def make(name: str | None, scenario: Path | None) -> None:
    """Fetches the model of that name, and the scenario's."""
    for asked in {name, of_scenario(scenario)} & set(MODELS):
        MODELS[asked].make()


def of_scenario(path: Path | None) -> str | None:
    """The model's folder in models/, if the scenario has it from there."""
    # A scenario that cannot be read is the program's to refuse.
    if path is None or not path.is_file():
        return None
    found = MODEL_LINE.search(path.read_text(encoding="utf-8", errors="replace"))
    return found and found.group(1)
