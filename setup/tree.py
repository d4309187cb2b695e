"""Folders that are whole or absent: filled under a temporary name, then renamed."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from .lock import Archive

# The file in a finished folder that says what it was made from.
STAMP = ".made-from"


def recipe_key(source: str, archives: Iterable[Archive]) -> str:
    """Identifies a folder's content: the archives that go in and the code that makes it."""
    code = hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16]
    lines = [f"{a.project}=={a.version} sha256:{a.sha256}" for a in archives]
    return "\n".join([*lines, f"code {code}", ""])


def is_current(target: Path, key: str) -> bool:
    """Whether `target` is there and was made from `key`."""
    try:
        return (target / STAMP).read_text(encoding="utf-8") == key
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_foreign(target: Path) -> bool:
    """Whether `target` is there and set-up did not make it: then it is its owner's business."""
    return target.is_dir() and any(target.iterdir()) and not (target / STAMP).exists()


def build(target: Path, key: str, fill: Callable[[Path], None]) -> None:
    """Rebuilds `target` by `fill(folder)`.

    An interruption at any time leaves the old folder, the new one, or none.
    """
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    fill(partial)
    (partial / STAMP).write_text(key, encoding="utf-8")
    os.sync()
    replace(partial, target)


def replace(partial: Path, target: Path) -> None:
    """Puts `partial` in `target`'s place. A folder that is not empty cannot be renamed over."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def link(target: Path, to: Path) -> None:
    """Makes `target` a symbolic link, in one step even where it is one already."""
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.symlink_to(to)
    os.replace(partial, target)
