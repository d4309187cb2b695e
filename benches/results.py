"""benches/RESULTS.md: a marked part that is written by command, and what people wrote around it."""

import os
import re
from pathlib import Path

BEGIN = "<!-- Written by `make bench` from here -->"
END = "<!-- to here. -->"


def replace(path: Path, sections: dict[str, str], order: list[str]) -> None:
    """Puts sections into the marked part, by title. Those that are there already and were not
    measured again stay; the order of titles is the given one."""
    before, marked, after = split(path.read_text(encoding="utf-8"))
    all_sections = {**parse(marked), **sections}
    known = [title for title in order if title in all_sections]
    written = "".join(f"## {title}\n\n{all_sections[title].strip()}\n\n" for title in known)
    write(path, f"{before}{BEGIN}\n\n{written}{END}{after}")


def split(text: str) -> tuple[str, str, str]:
    """What stands before the marks, between them and after them."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"it has to have one line {BEGIN!r} and one line {END!r}")
    before, rest = text.split(BEGIN)
    marked, after = rest.split(END)
    return before, marked, after


def parse(marked: str) -> dict[str, str]:
    """Sections by title."""
    parts = re.split(r"^## (.+)\n", marked, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def write(path: Path, text: str) -> None:
    """Writes all of it or nothing."""
    partial = path.with_suffix(".partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
