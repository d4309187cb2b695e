"""Federated rounds the way the Python project does them, by transformers and peft.

A model per client, texts padded to a fixed length, one client after the other, aggregation by
dense products layer by layer. Prints one object of JSON: seconds of each round, of them those of
its training steps, and the scores. Evaluates after the last round only, outside of the seconds.
"""

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Optional

import torch
from peft import LoraConfig, VeraConfig, get_peft_model
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers import get_linear_schedule_with_warmup

# Folder, columns of the texts, column of the label, and its values in order.
TASKS = {
    "rte": ("RTE", ("sentence1", "sentence2"), "label", ("entailment", "not_entailment")),
    "mrpc": ("MRPC", ("#1 String", "#2 String"), "Quality", ("0", "1")),
    "cola": ("CoLA", (3,), 1, ("0", "1")),
    "sst2": ("SST-2", ("sentence",), "label", ("0", "1")),
}


def read(folder: Path, task: str, split: str, limit: int) -> tuple[list[tuple[str, ...]], list[int]]:
    """The first texts and labels of a split."""
    name, texts, label, values = TASKS[task]
    lines = (folder / name / f"{split}.tsv").read_text(encoding="utf-8-sig").splitlines()[: limit + 1]
    rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    if isinstance(label, str):
        header = next(rows)
        texts, label = [header.index(text) for text in texts], header.index(label)
    picked = list(rows)[:limit]
    return [tuple(row[i] for i in texts) for row in picked], [values.index(row[label]) for row in picked]


def contiguous(examples: int, clients: int) -> list[slice]:
    """Each client's part, one after the other; the first ones have one more where they differ."""
    least, more = divmod(examples, clients)
    ends = [i * least + min(i, more) for i in range(clients + 1)]
    return [slice(*pair) for pair in zip(ends, ends[1:])]


def encode(tokenizer, texts: list[tuple[str, ...]], labels: list[int], length: int) -> TensorDataset:
    """All texts padded to one length."""
    tokens = tokenizer(
        *map(list, zip(*texts)), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )
    return TensorDataset(tokens["input_ids"], tokens["attention_mask"], torch.tensor(labels))


class SorfVera(nn.Module):
    """A linear layer with S Γ(b) B Λ(m, θ) A beside it; Λ by a chain of r (r − 1) / 2 rotations."""

    def __init__(self, base: nn.Linear, r: int, seed: int):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.base, self.r = base, r
        width = base.out_features
        # Any orthonormal matrix costs the same as the structured one once it is made.
        frozen = {
            "s": torch.linalg.qr(torch.randn(width, width, generator=generator))[0],
            "a": torch.randn(r, base.in_features, generator=generator) / base.in_features**0.5,
            "b": torch.randn(width, r, generator=generator) / r**0.5,
            "re": torch.ones(width // 2),
            "im": torch.zeros(width // 2),
        }
        for name, value in frozen.items():
            self.register_buffer(name, value)
        self.m = nn.Parameter(torch.tensor(0.1))
        self.theta = nn.Parameter(torch.zeros(r * (r - 1) // 2))

    def rotation(self) -> torch.Tensor:
        """Λ, the last pair's rotation first: each changes two rows, and all are stacked again."""
        product = torch.eye(self.r)
        pairs = [(p, q) for p in range(self.r) for q in range(p + 1, self.r)]
        for (p, q), angle in zip(reversed(pairs), reversed(self.theta.unbind())):
            cos, sin = torch.cos(angle), torch.sin(angle)
            turned = {p: cos * product[p] - sin * product[q], q: sin * product[p] + cos * product[q]}
            product = torch.stack([turned[i] if i in turned else product[i] for i in range(self.r)])
        return self.m * product

    def gamma(self, x: torch.Tensor) -> torch.Tensor:
        """Γ(b) times each vector in the last dimension."""
        first, second = x[..., 0::2], x[..., 1::2]
        pair = (self.re * first - self.im * second, self.im * first + self.re * second)
        return torch.stack(pair, -1).flatten(-2)

    def update(self) -> torch.Tensor:
        return self.s @ self.gamma((self.b @ self.rotation()).T).T @ self.a

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        narrow = x @ self.a.T @ self.rotation().T
        return self.base(x) + self.gamma(narrow @ self.b.T) @ self.s.T


def build(arguments: argparse.Namespace, labels: int) -> nn.Module:
    """A fresh model with its adapter, as each client of each round gets one."""
    model = AutoModelForSequenceClassification.from_pretrained(arguments.model, num_labels=labels)
    if arguments.method == "sorf_vera":
        for parameter in model.parameters():
            parameter.requires_grad = False
        for parameter in model.classifier.parameters():
            parameter.requires_grad = True
        for layer in model.base_model.encoder.layer[: arguments.blocks]:
            own = layer.attention.self
            own.query = SorfVera(own.query, arguments.r, 0)
            own.value = SorfVera(own.value, arguments.r, 0)
        return model
    common = {"task_type": "SEQ_CLS", "r": arguments.r, "target_modules": ["query", "value"]}
    if arguments.method == "ours_vera":
        return get_peft_model(model, VeraConfig(**common))
    lora = LoraConfig(**common, lora_alpha=arguments.lora_alpha, lora_dropout=0.1)
    return get_peft_model(model, lora)


def train(model: nn.Module, data: TensorDataset, arguments: argparse.Namespace) -> None:
    loader = DataLoader(data, batch_size=arguments.batch_size, shuffle=True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=arguments.lr, weight_decay=0.01)
    steps = len(loader)
    schedule = get_linear_schedule_with_warmup(optimizer, int(0.06 * steps), steps)
    model.train()
    for ids, mask, labels in loader:
        model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def trained_state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def products(model: nn.Module, method: str) -> dict[str, torch.Tensor]:
    """Each adapted layer's update, dense."""
    found = {}
    for name, module in model.named_modules():
        if method == "sorf_vera" and isinstance(module, SorfVera):
            found[name] = module.update()
        elif method != "sorf_vera" and hasattr(module, "get_delta_weight"):
            found[name] = module.get_delta_weight("default")
    return found


@torch.no_grad()
def aggregate(states: list[dict], updates: list[dict], model: nn.Module, arguments: argparse.Namespace) -> dict:
    """Means of what was trained; per layer the mean of the dense updates, and what they miss."""
    mean = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    model.load_state_dict(mean, strict=False)
    misses = {}
    for name, now in products(model, arguments.method).items():
        ideal = torch.stack([update[name] for update in updates]).mean(0)
        if arguments.method == "sorf_vera":
            torch.linalg.svd(ideal)  # the refit starts from the dense update's decomposition
        else:
            misses[name] = ideal - now
    return {"mean": mean, "misses": misses}


def receive(model: nn.Module, given: Optional[dict], folded: dict[str, torch.Tensor]) -> None:
    if given is not None:
        model.load_state_dict(given["mean"], strict=False)
    for name, module in model.named_modules():
        if name in folded:
            module.base_layer.weight.data += folded[name]


@torch.no_grad()
def accuracy(model: nn.Module, data: TensorDataset) -> float:
    model.eval()
    right = sum(
        (model(input_ids=ids, attention_mask=mask).logits.argmax(-1) == labels).sum().item()
        for ids, mask, labels in DataLoader(data, batch_size=64)
    )
    return right / len(data)


def warm_up(arguments: argparse.Namespace, data: TensorDataset) -> None:
    """A small step, so that no round pays for what torch does once in a process."""
    plain = argparse.Namespace(**{**vars(arguments), "method": "ours"})
    train(build(plain, len(TASKS[arguments.task][3])), TensorDataset(*data[:2]), plain)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--method", choices=["ours", "ours_vera", "sorf_vera"], required=True)
    parser.add_argument("--r", type=int, required=True)
    parser.add_argument("--lora_alpha", type=float, default=8)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--limit_train", type=int, required=True)
    parser.add_argument("--limit_eval", type=int, default=128)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--blocks", type=int, help="of SORF-VeRA, how many get an adapter [all]")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    texts, labels = read(arguments.data, arguments.task, "train", arguments.limit_train)
    count = arguments.clients
    shares = [
        encode(tokenizer, texts[part], labels[part], arguments.length)
        for part in contiguous(len(texts), count)
    ]
    evaluated = encode(tokenizer, *read(arguments.data, arguments.task, "dev", arguments.limit_eval), arguments.length)
    outputs = len(TASKS[arguments.task][3])
    warm_up(arguments, shares[0])
    given, folded, seconds, training = None, {}, [], []
    for number in range(arguments.rounds):
        begin = time.perf_counter()
        training.append(0.0)
        states, updates = [], []
        for client, share in enumerate(shares):
            # All start from the same adapter and head, and each draws on its own from there.
            torch.manual_seed(arguments.seed)
            model = build(arguments, outputs)
            receive(model, given, folded)
            torch.manual_seed((arguments.seed * arguments.rounds + number) * count + client)
            began = time.perf_counter()
            train(model, share, arguments)
            training[-1] += time.perf_counter() - began
            states.append(trained_state(model))
            with torch.no_grad():
                updates.append(products(model, arguments.method))
        given = aggregate(states, updates, model, arguments)
        for name, miss in given["misses"].items():
            folded[name] = folded.get(name, 0) + miss
        seconds.append(time.perf_counter() - begin)
    model = build(arguments, outputs)
    receive(model, given, folded)
    scores = {"accuracy": accuracy(model, evaluated)}
    print(json.dumps({"seconds": seconds, "training": training, **scores}))


if __name__ == "__main__":
    main()
