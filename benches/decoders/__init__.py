"""Decoders on E2E side by side with transformers and peft: rounds, tokens a second, beam search, and
what a client more takes of memory.

Weights are drawn on both sides. The Python side is client.py, in the environment of the rounds.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benches import machine
from benches.tools import PROJECT, Failed, call, last_lines, paragraphs, regatta, shorten, table

RESTAURANTS = PROJECT / "data" / "restaurants"
GPT2 = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "eos_token_id": 50256,
    "bos_token_id": 50256,
}
SMOLLM2 = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100000.0,
    "tie_word_embeddings": True,
    "eos_token_id": 2,
    "bos_token_id": 1,
}
# One small block under a vocabulary as large as today's: what takes memory is the loss.
LARGE_VOCABULARY = {**SMOLLM2, "hidden_size": 64, "num_hidden_layers": 1, "vocab_size": 128_000}
LARGE_VOCABULARY |= {"intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 4}
CONFIGS = {"gpt2": GPT2, "smollm2": SMOLLM2, "large": LARGE_VOCABULARY}
CLIENTS, BATCH, EXAMPLES = 3, 8, 48
# Rounds of ours that are timed, after one that is not.
ROUNDS = 2
# Entries of the tokenizer that is trained.
ENTRIES = 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which texts and which tokenizer."""
    group = parser.add_argument_group("decoders")
    group.add_argument("--e2e", type=Path, default=RESTAURANTS, help="a folder with E2E's files")
    group.add_argument("--tokenizer", type=Path, help="a tokenizer.json for GPT-2, such as its own")


def flags(arguments: argparse.Namespace) -> list[str]:
    """What was given, without the folders that it lies in."""
    given = [("--e2e", arguments.e2e, RESTAURANTS), ("--tokenizer", arguments.tokenizer, None)]
    return [word for flag, path, default in given if path != default for word in (flag, path.name)]


class Bench:
    """Both sides, with their files."""

    def __init__(self, program: Path, python: Path, place: Path, arguments: argparse.Namespace):
        self.program, self.python, self.place = program, python, place
        self.data = arguments.e2e.resolve()
        trained = place / "tokenizer.json"
        call([python, "-c", TRAINED, self.data / "trainset.csv", trained, ENTRIES])
        given = arguments.tokenizer and arguments.tokenizer.resolve()
        # GPT-2's has more tokens than SmolLM2 embeds.
        self.tokenizers = {"gpt2": given or trained, "smollm2": trained, "large": trained}
        for name, config in CONFIGS.items():
            (place / name).mkdir()
            text = json.dumps(config)
            (place / name / "config.json").write_text(text, encoding="utf-8")

    def theirs(self, what: str, model: str, *more: object) -> dict:
        """What client.py prints."""
        script = PROJECT / "benches" / "decoders" / "client.py"
        command = [self.python, script, what, "--config", self.place / model]
        command += ["--tokenizer", self.tokenizers[model], "--end", CONFIGS[model]["eos_token_id"]]
        command += ["--threads", machine.cores(), *more]
        offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
        return json.loads(call(command, env=offline).splitlines()[-1])

    def run(self, model: str, *more: object, data: Path | None = None) -> list:
        """The flags of a run of ours."""
        return [
            *("--task", "e2e", "--data", data or self.data, "--tokenizer", self.tokenizers[model]),
            *("--model", f"random:{self.place / model / 'config.json'}"),
            *("--local_epochs", 1, "--lr", "1e-3", "--partition", "contiguous"),
            *("--limit_eval", 8, "--limit_test", 0, "--num_beams", 1, "--max_new_tokens", 1),
            *("--agg_type", "fedex", *more),
        ]

    def ours(self, model: str, *more: object) -> float:
        """Seconds of a round: training and aggregation."""
        rounds = ["--rounds", ROUNDS + 1, "--eval_every", ROUNDS + 1]
        sizes = ["--num_clients", CLIENTS, "--limit_train", EXAMPLES, "--batch_size", BATCH]
        run = regatta(self.program, self.run(model, *sizes, *rounds, *more))
        seconds = [one["seconds"] for one in run.rounds[1:]]
        return statistics.mean(one["train"] + one["aggregate"] for one in seconds)


TRAINED = """
import csv, sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
rows = csv.DictReader(open(sys.argv[1], newline="", encoding="utf-8"))
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
letters = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(vocab_size=int(sys.argv[3]), initial_alphabet=letters)
tokenizer.train_from_iterator((f"{row['mr']} -> {row['ref']}" for row in rows), trainer)
tokenizer.save(sys.argv[2])
"""


def training(program: Path, python: Path, arguments: argparse.Namespace) -> str:
    """Rounds, and tokens a second."""
    more = (
        "`benches/decoders/client.py` is the Python side: a model built for each client in each round, "
        f"the loss by the model itself. Ours: the mean of {ROUNDS} rounds after the first, training and "
        "aggregation."
    )
    return measure([rounds, tokens], more, program, python, arguments)


def generation(program: Path, python: Path, arguments: argparse.Namespace) -> str:
    """Beam search, and what clients and losses take of memory."""
    more = "`benches/decoders/client.py` is the Python side."
    return measure([beams, memory, loss_memory], more, program, python, arguments)


def measure(
    parts: list[Callable[["Bench"], str]],
    more: str,
    program: Path,
    python: Path,
    arguments: argparse.Namespace,
) -> str:
    """The tables of some parts."""
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(program, python, Path(place), arguments)
        tables = [attempt(part, bench) for part in parts]
    versions = machine.packages(python, ["torch", "transformers", "peft"])
    explanation = (
        f"Weights are drawn on both sides, on {machine.cores()} threads; {versions}. GPT-2 has 12 layers "
        f"of 768, the other model the sizes of SmolLM2-135M. {more}"
    )
    return paragraphs([explanation, *tables])


def attempt(part: Callable[[Bench], str], bench: Bench) -> str:
    """A table, or what kept it from being measured: the others took many minutes."""
    try:
        text = part(bench)
    except Failed as error:
        text = f"Could not be measured ({part.__name__}): {error}"
    print(text, file=sys.stderr, flush=True)
    return text


def rounds(bench: Bench) -> str:
    """A round of E2E against texts padded to 512, and to their batch's longest."""
    targets = ["--target_modules", "c_attn,c_proj", "--r", 4, "--lora_alpha", 32]
    ours = bench.ours("gpt2", *targets, "--precision", "float32")
    narrow = "not multiplied by this processor"
    if machine.has_bfloat16():
        narrow = f"{bench.ours('gpt2', *targets, '--precision', 'bfloat16'):.1f}"
    common = ["--data", bench.data, "--limit_train", EXAMPLES, "--targets", "c_attn,c_proj"]
    rows = []
    for pad, name, wanted in [(512, "padded to 512", "12"), (0, "to the batch's longest", "1.5")]:
        theirs = bench.theirs("train", "gpt2", *common, "--pad", pad)["seconds"][-1]
        figures = [f"{theirs:.1f}", f"{ours:.1f}", f"{theirs / ours:.1f}", wanted, narrow]
        rows.append([name, *figures])
    header = ["texts in Python", "Python, s", "Regatta, s", "ratio", "wanted", "Regatta in bfloat16, s"]
    return (
        f"A round of GPT-2: {CLIENTS} clients, {EXAMPLES} examples in batches of {BATCH}, LoRA of rank 4 "
        f"on `c_attn` and `c_proj`, dropout 0.1.\n\n{table(header, rows)}"
    )


def tokens(bench: Bench) -> str:
    """Tokens a second in training, of SmolLM2's sizes."""
    common = ["--data", bench.data, "--limit_train", EXAMPLES, "--targets", "q_proj,v_proj"]
    common += ["--r", 8, "--lora_alpha", 16, "--lora_dropout", 0]
    ours = ["--target_modules", "q_proj,v_proj", "--r", 8, "--lora_alpha", 16, "--lora_dropout", 0]
    rows = []
    precisions = [("float32", "1.3"), ("bfloat16", "")]
    for precision, wanted in precisions if machine.has_bfloat16() else precisions[:1]:
        theirs = bench.theirs("train", "smollm2", *common, "--precision", precision)
        taken = bench.ours("smollm2", *ours, "--precision", precision)
        before = theirs["tokens"] / theirs["seconds"][-1]
        now = theirs["tokens"] / taken
        rows.append([precision, f"{before:.0f}", f"{now:.0f}", f"{now / before:.2f}", wanted])
    header = ["precision", "Python, tokens/s", "Regatta, tokens/s", "ratio", "wanted"]
    return (
        f"Training tokens a second, SmolLM2's sizes: {EXAMPLES} examples in batches of {BATCH}, each "
        f"padded to its longest on both sides, LoRA of rank 8 on `q_proj` and `v_proj`.\n\n"
        f"{table(header, rows)}"
    )


def beams(bench: Bench) -> str:
    """Beam search of ten for 64 prompts."""
    file = bench.data / "devset.csv"
    with open(file, newline="", encoding="utf-8-sig") as text:
        names = list(dict.fromkeys(row["mr"] for row in csv.DictReader(text)))
    # As many as there are, again from the first where they are fewer.
    names = [names[at % len(names)] for at in range(64)]
    prompts, one = bench.place / "prompts.txt", bench.place / "one.txt"
    prompts.write_text("".join(f"{name} ->\n" for name in names), encoding="utf-8")
    one.write_text(f"{names[0]} ->\n", encoding="utf-8")
    theirs = bench.theirs("generate", "gpt2", "--prompts", prompts, "--batch_size", 16)["seconds"][-1]
    out = bench.place / "run"
    command = ["run", *bench.run("gpt2", "--num_clients", 1, "--limit_train", 1, "--rounds", 1)]
    command += ["--target_modules", "c_attn", "--r", 1, "--metrics", "off", "--web", "off", "--out", out]
    run_program(bench.program, command)
    search = ["generate", out, "--num_beams", 10, "--length_penalty", 0.8, "--no_repeat_ngram", 0]
    whole = run_program(bench.program, [*search, "--max_new_tokens", 64, "--file", prompts])
    start = run_program(bench.program, [*search, "--max_new_tokens", 1, "--file", one])
    ours = whole - start
    row = ["GPT-2", f"{theirs:.0f}", f"{ours:.0f}", f"{theirs / ours:.1f}", "4"]
    header = ["model", "transformers, s", "Regatta, s", "ratio", "wanted"]
    return (
        "Beam search of width 10, 64 new tokens for each of 64 prompts. transformers: `generate` in "
        "batches of 16 of like length, padded on the left. Ours: `regatta generate`, less what it takes "
        f"to begin.\n\n{table(header, [row])}"
    )


def run_program(program: Path, arguments: list) -> float:
    """Seconds that a command of the program's takes."""
    command = [str(part) for part in [program, *arguments]]
    begin = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
    if done.returncode != 0:
        raise Failed(f"`{shorten(command)}` failed:\n\n{last_lines(done.stderr)}")
    return time.monotonic() - begin


def memory(bench: Bench) -> str:
    """Peak memory by the number of clients, and what each further one takes."""
    targets = ["--target_modules", "q_proj,v_proj", "--r", 8, "--lanes", 1]
    # With one text for all, the longest of many clients is no longer than that of few.
    data = repeated(bench, 64)
    found = []
    for clients in (8, 64):
        sizes = ["--num_clients", clients, "--limit_train", clients, "--batch_size", 1, "--rounds", 2]
        arguments = [*bench.run("smollm2", *targets, data=data), *sizes, "--eval_every", 2]
        found.append((clients, regatta(bench.program, arguments)))
    (few, small), (many, large) = found
    adapter = large.rounds[-1]["clients"][0]["bytes_up"]
    each = (large.peak_bytes - small.peak_bytes) / (many - few)
    row = [f"{run.peak_bytes / 2**20:,.0f}" for _, run in found]
    row += [f"{adapter / 1e6:.2f}", f"{each / adapter:.2f}", "1.2"]
    header = [f"{few} clients, MiB", f"{many} clients, MiB", "adapter, MB", "per further client / adapter", "wanted"]
    return (
        "Memory of the whole process, SmolLM2's sizes, one lane, an example a client, the same for all.\n\n"
        f"{table(header, [row], left=0)}"
    )


def loss_memory(bench: Bench) -> str:
    """Peak memory of a step by the rows of its batch, under a large vocabulary."""
    batches = (1, 64)
    data = repeated(bench, batches[-1])
    targets = ["--target_modules", "q_proj", "--r", 1, "--lora_alpha", 1, "--lora_dropout", 0]

    def ours(batch: int) -> float:
        sizes = ["--num_clients", 1, "--limit_train", batch, "--batch_size", batch, "--rounds", 1]
        return regatta(bench.program, [*bench.run("large", *targets, data=data), *sizes]).peak_bytes

    def theirs(batch: int) -> dict:
        sizes = ["--clients", 1, "--limit_train", batch, "--batch_size", batch]
        flags = ["--targets", "q_proj", *targets[2:]]
        return bench.theirs("train", "large", "--data", data, *sizes, *flags)

    python = {batch: theirs(batch) for batch in batches}
    mine = {batch: ours(batch) for batch in batches}
    labels, vocabulary = python[batches[-1]]["labels"], LARGE_VOCABULARY["vocab_size"]
    logits = labels * vocabulary * 4 / 2**20
    rows = []
    for name, peaks in [
        ("transformers", [python[batch]["peak_bytes"] for batch in batches]),
        ("Regatta", [mine[batch] for batch in batches]),
    ]:
        figures = [peak / 2**20 for peak in peaks]
        growth = figures[1] - figures[0]
        rows.append([name, *(f"{figure:,.0f}" for figure in figures), f"{growth:,.0f}", f"{growth / logits:.2f}"])
    header = ["side", "1 text, MiB", f"{batches[-1]} texts, MiB", "growth, MiB", "growth / logits"]
    return (
        f"Memory of a step under a vocabulary of {vocabulary:,}: one small block, a batch of 1 and of "
        f"{batches[-1]} texts. The logits of the latter's {labels:,} labelled tokens alone would have "
        f"{logits:,.0f} MiB.\n\n{table(header, rows)}"
    )


def repeated(bench: Bench, times: int) -> Path:
    """A folder whose training file has one example this many times."""
    folder = bench.place / f"repeated-{times}"
    if not folder.exists():
        folder.mkdir()
        for name in ("trainset.csv", "devset.csv"):
            with open(bench.data / name, newline="", encoding="utf-8-sig") as file:
                rows = list(csv.DictReader(file))
            with open(folder / name, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, ["mr", "ref"], extrasaction="ignore")
                writer.writeheader()
                writer.writerows([rows[0]] * times if name == "trainset.csv" else rows[:8])
    return folder
