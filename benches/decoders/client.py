"""Decoders trained and read the way the Python project's second script does it, by transformers and
peft, with weights that are drawn: what is timed does not depend on them.

`train`: federated rounds of E2E with a model per client, every text padded to `--pad` tokens, or each
batch to its longest with 0; the loss of every position of the answer, by the model's own loss.
`generate`: beam search for prompts. Prints one object of JSON.
"""

import argparse
import csv
import json
import resource
import sys
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

NO_LABEL = -100


def build(arguments: argparse.Namespace):
    """A fresh model, as each client of each round gets one."""
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(arguments.config)
    return AutoModelForCausalLM.from_config(config)


def rows(data: Path, limit: int) -> list[tuple[str, str]]:
    """The first rows of the training file."""
    with open(data / "trainset.csv", newline="", encoding="utf-8-sig") as file:
        found = list(csv.DictReader(file))[:limit]
    return [(f"{row['mr']} ->", f" {row['ref']}") for row in found]


def encode(tokenizer: Tokenizer, pairs: list[tuple[str, str]], end: int) -> list[tuple[list[int], int]]:
    """Ids of prompt, answer and end token, and the prompt's length."""
    encoded = []
    for prompt, answer in pairs:
        first = tokenizer.encode(prompt, add_special_tokens=False).ids
        second = tokenizer.encode(answer, add_special_tokens=False).ids
        encoded.append((first + second + [end], len(first)))
    return encoded


def batch(examples: list[tuple[list[int], int]], pad: int, end: int) -> dict[str, torch.Tensor]:
    """Tensors of some examples, padded on the right."""
    width = pad or max(len(ids) for ids, _ in examples)
    made = {"input_ids": [], "attention_mask": [], "labels": []}
    for ids, prompt in examples:
        more = width - len(ids)
        made["input_ids"].append(ids + [end] * more)
        made["attention_mask"].append([1] * len(ids) + [0] * more)
        made["labels"].append([NO_LABEL] * prompt + ids[prompt:] + [NO_LABEL] * more)
    return {name: torch.tensor(values) for name, values in made.items()}


def train(arguments: argparse.Namespace, tokenizer: Tokenizer) -> dict:
    """Seconds of each round, after a step that warms up, and its tokens."""
    end = arguments.end
    examples = encode(tokenizer, rows(arguments.data, arguments.limit_train), end)
    share = len(examples) // arguments.clients
    adapter = LoraConfig(
        task_type="CAUSAL_LM",
        r=arguments.r,
        lora_alpha=arguments.lora_alpha,
        lora_dropout=arguments.lora_dropout,
        target_modules=arguments.targets.split(","),
        fan_in_fan_out="c_attn" in arguments.targets,
    )

    def client(own: list) -> dict[str, torch.Tensor]:
        model = get_peft_model(build(arguments), adapter)
        model.train()
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-3)
        kind = torch.bfloat16 if arguments.precision == "bfloat16" else None
        for start in range(0, len(own), arguments.batch_size):
            inputs = batch(own[start : start + arguments.batch_size], arguments.pad, end)
            with torch.autocast("cpu", kind, enabled=kind is not None):
                loss = model(**inputs).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}

    client(examples[: arguments.batch_size])
    seconds = []
    for _ in range(arguments.rounds):
        begin = time.perf_counter()
        states = [client(examples[i * share : (i + 1) * share]) for i in range(arguments.clients)]
        for name in states[0]:
            torch.stack([state[name] for state in states]).mean(0)
        seconds.append(time.perf_counter() - begin)
    return {
        "seconds": seconds,
        "tokens": sum(len(ids) for ids, _ in examples),
        "labels": sum(len(ids) - prompt for ids, prompt in examples),
        "peak_bytes": peak_bytes(),
    }


def peak_bytes() -> int:
    """The most memory that this process has had; Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


@torch.no_grad()
def generate(arguments: argparse.Namespace, tokenizer: Tokenizer) -> dict:
    """Seconds of beam search for all prompts, batches of like lengths padded on the left."""
    model = build(arguments).eval()
    lines = arguments.prompts.read_text(encoding="utf-8").splitlines()
    ids = sorted((tokenizer.encode(line, add_special_tokens=False).ids for line in lines), key=len)

    def search(some: list[list[int]]) -> None:
        width = max(map(len, some))
        padded = [[arguments.end] * (width - len(one)) + one for one in some]
        mask = [[0] * (width - len(one)) + [1] * len(one) for one in some]
        model.generate(
            input_ids=torch.tensor(padded),
            attention_mask=torch.tensor(mask),
            num_beams=arguments.beams,
            max_new_tokens=arguments.new_tokens,
            min_new_tokens=arguments.new_tokens,
            do_sample=False,
            length_penalty=0.8,
            pad_token_id=arguments.end,
            eos_token_id=arguments.end,
        )

    search(ids[:1])
    begin = time.perf_counter()
    for start in range(0, len(ids), arguments.batch_size):
        search(ids[start : start + arguments.batch_size])
    return {"seconds": [time.perf_counter() - begin]}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["train", "generate"])
    parser.add_argument("--config", required=True, help="a folder with config.json")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--end", type=int, required=True, help="the token that ends a text")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--limit_train", type=int, default=48)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--pad", type=int, default=0)
    parser.add_argument("--targets")
    parser.add_argument("--r", type=int, default=4)
    parser.add_argument("--lora_alpha", type=float, default=32)
    parser.add_argument("--lora_dropout", type=float, default=0.1)
    parser.add_argument("--prompts", type=Path)
    parser.add_argument("--beams", type=int, default=10)
    parser.add_argument("--new_tokens", type=int, default=64)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    tokenizer = Tokenizer.from_file(arguments.tokenizer)
    print(json.dumps({"train": train, "generate": generate}[arguments.what](arguments, tokenizer)))


if __name__ == "__main__":
    main()
