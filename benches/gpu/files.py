"""The files that runs begin with: a task of random words, and a tokenizer that knows them."""

import json
import random
from pathlib import Path

from benches.gpu.sizes import Sizes

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def write(folder: Path, sizes: Sizes) -> None:
    """A tokenizer.json, configurations, and RTE whose examples have exactly as many tokens."""
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
    task = folder / "data" / "RTE"
    task.mkdir(parents=True)
    examples = max(max(sizes.fleets), 3 * sizes.steps) * sizes.batch
    for split, lines in (("train", examples), ("dev", 8)):
        (task / f"{split}.tsv").write_text(rte(lines, sizes.tokens, count - 4), encoding="utf-8")


def rte(lines: int, tokens: int, words: int) -> str:
    draw = random.Random(lines)
    text = ["index\tsentence1\tsentence2\tlabel"]
    for index in range(lines):
        drawn = [f"w{draw.randrange(words)}" for _ in range(tokens)]
        half = tokens // 2
        label = ("entailment", "not_entailment")[index % 2]
        text.append(f"{index}\t{' '.join(drawn[:half])}\t{' '.join(drawn[half:])}\t{label}")
    return "\n".join(text) + "\n"
