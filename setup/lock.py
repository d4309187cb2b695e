"""The pins: every archive that set-up may download, by version and SHA-256."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

LOCK_FILE = Path(__file__).with_name("lock.json")


@dataclass(frozen=True)
class Archive:
    """One file of a package registry."""

    project: str
    version: str
    file: str
    sha256: str
    registry: str = "pypi"

    @property
    def client(self) -> str:
        """Whose settings say where the registry is."""
        return "npm" if self.registry == "npm" else "pip"

    @property
    def is_wheel(self) -> bool:
        return self.file.endswith(".whl")

    @property
    def platforms(self) -> list[str]:
        """The platform tags in a wheel's name: `…-py3-none-manylinux_2_27_x86_64.whl`."""
        return self.file[: -len(".whl")].rsplit("-", 1)[1].split(".")


def pins() -> dict[str, Archive]:
    """All archives of the lock file, by project."""
    entries = json.loads(LOCK_FILE.read_text(encoding="utf-8"))
    return {entry["project"]: Archive(**entry) for entry in entries}
