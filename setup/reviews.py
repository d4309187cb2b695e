"""The quickstart's data: sentences of four domains with their sentiment, as GLUE's SST-2.

From the rated sentences of the VADER study; data/README.md describes source and result.
"""

from __future__ import annotations

import hashlib
import html
import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from . import tree
from .download import fetch
from .lock import pins

TARGET = Path("data/reviews")
# Domain and the file with its ratings.
DOMAINS = {
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "news": "nytEditorialSnippets_GroundTruth.txt",
    "products": "amazonReviewSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
}
# Mean ratings go from -4 to 4; between these two a sentence counts as neutral and is left out.
NEGATIVE_BELOW, POSITIVE_ABOVE = -0.5, 0.5
# One sentence in N goes to dev.tsv.
DEV_SHARE = 10


class Example(NamedTuple):
    """A line of the result."""

    sentence: str
    label: int
    domain: str


def make() -> None:
    """Writes `data/reviews`, unless it is there."""
    archive = pins()["vaderSentiment"]
    key = tree.recipe_key(__file__, [archive])
    if tree.is_current(TARGET, key) or tree.is_foreign(TARGET):
        return
    print("sentences of four domains with their sentiment: 2.5 MB to download, once")
    source = fetch(archive)
    tree.build(TARGET, key, lambda into: write(source, into))
    print(f"sentences of four domains: {TARGET}")


def write(source: Path, into: Path) -> None:
    """Fills `into` from the source archive: `SST-2/{train,dev}.tsv` and the licence."""
    with tarfile.open(source) as archive:
        inner = _member(archive, "hutto_ICWSM_2014.tar.gz")
        (into / "LICENSE.txt").write_bytes(_member(archive, "LICENSE.txt"))
    with tarfile.open(fileobj=io.BytesIO(inner)) as ratings:
        texts = {d: _member(ratings, file).decode("utf-8") for d, file in DOMAINS.items()}
    train, dev = split(distinct(e for d, text in texts.items() for e in examples(d, text)))
    (into / "SST-2").mkdir()
    for name, rows in (("train", train), ("dev", dev)):
        lines = ["sentence\tlabel\tdomain", *(f"{e.sentence}\t{e.label}\t{e.domain}" for e in rows)]
        text = "\n".join(lines) + "\n"
        (into / "SST-2" / f"{name}.tsv").write_bytes(text.encode("utf-8"))


def examples(domain: str, ratings: str) -> Iterator[Example]:
    """The sentences with a clear sentiment among lines of (id, mean rating, text)."""
    for line in ratings.split("\n"):
        fields = line.split("\t", 2)
        if len(fields) < 3:
            continue
        mean, sentence = float(fields[1]), clean(fields[2])
        if sentence and not NEGATIVE_BELOW <= mean <= POSITIVE_ABOVE:
            yield Example(sentence, int(mean > POSITIVE_ABOVE), domain)


def clean(text: str) -> str:
    """One line: entities resolved, white space (tabs and line ends included) made single spaces."""
    return " ".join(html.unescape(text).split())


def distinct(rows: Iterable[Example]) -> list[Example]:
    """The first of each group of sentences that differ in case at most, in the order of hashes.

    That order is as good as a shuffle and the same everywhere.
    """
    first: dict[str, Example] = {}
    for row in rows:
        first.setdefault(digest(row.sentence), row)
    return [first[key] for key in sorted(first)]


def split(rows: Iterable[Example]) -> tuple[list[Example], list[Example]]:
    """(train, dev), by the sentence alone: more sentences move none from one to the other."""
    train: list[Example] = []
    dev: list[Example] = []
    for row in rows:
        (train if int(digest(row.sentence), 16) % DEV_SHARE else dev).append(row)
    return train, dev


def digest(sentence: str) -> str:
    """Identifies a sentence, whatever its case."""
    return hashlib.sha256(sentence.casefold().encode("utf-8")).hexdigest()


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    """The content of the one file of that name, in whatever folder."""
    path = next(n for n in archive.getnames() if n.rsplit("/", 1)[-1] == name)
    file = archive.extractfile(path)
    if file is None:
        raise ValueError(f"{path} is not a file")
    return file.read()
