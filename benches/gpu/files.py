"""The files that runs begin with: a task of random words, and a tokenizer that knows them."""

import json
import random
from pathlib import Path

from benches.gpu.sizes import Sizes

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def write(folder: Path, sizes: Sizes) -> None:
    """A tokenizer.json, configurations, and RTE whose examples have as many tokens, few, or between."""
    count = min(config["vocab_size"] for config in sizes.models.values())
    vocabulary = {name: i for i, name in enumerate([*SPECIAL, *(f"w{i}" for i in range(count - 4))])}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": vocabulary},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    for name, config in sizes.models.items():
        (folder / f"{name}.json").write_text(json.dumps(config), encoding="utf-8")
    examples = max(max(sizes.fleets), 3 * sizes.steps) * sizes.batch
    lengths = {
        "data": (sizes.tokens, sizes.tokens),
        "short": (sizes.short, sizes.short),
        "mixed": (sizes.short, sizes.tokens),
    }
    for name, between in lengths.items():
        task = folder / name / "RTE"
        task.mkdir(parents=True)
        for split, lines in (("train", examples), ("dev", sizes.dev)):
            (task / f"{split}.tsv").write_text(rte(lines, between, count - 4), encoding="utf-8")
    write_texts(folder, sizes, count - 4)


def write_texts(folder: Path, sizes: Sizes, words: int) -> None:
    """A decoder's configuration, and E2E whose answers are random words."""
    (folder / "decoder.json").write_text(json.dumps(sizes.decoder), encoding="utf-8")
    task = folder / "data" / "e2e"
    task.mkdir()
    draw = random.Random(sizes.batch)
    for split, lines in (("trainset", 3 * sizes.steps * sizes.batch), ("devset", sizes.dev)):
        rows = ["mr,ref"]
        for _ in range(lines):
            drawn = [f"w{draw.randrange(words)}" for _ in range(sizes.tokens)]
            half = sizes.tokens // 2
            rows.append(f"name[{' '.join(drawn[:half])}],{' '.join(drawn[half:])}")
        (task / f"{split}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def rte(lines: int, between: tuple[int, int], words: int) -> str:
    """Examples of as many tokens, or of numbers of tokens between two."""
    draw = random.Random(lines)
    text = ["index\tsentence1\tsentence2\tlabel"]
    for index in range(lines):
        tokens = draw.randint(*between)
        drawn = [f"w{draw.randrange(words)}" for _ in range(tokens)]
        half = tokens // 2
        label = ("entailment", "not_entailment")[index % 2]
        text.append(f"{index}\t{' '.join(drawn[:half])}\t{' '.join(drawn[half:])}\t{label}")
    return "\n".join(text) + "\n"
