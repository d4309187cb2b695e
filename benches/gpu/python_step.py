"""The same step by transformers and peft, and the device's rate of matrix products.

Prints one object of JSON. Called as a process of its own: what is not installed is then missing
here alone.
"""

import argparse
import json
import time
from pathlib import Path

import torch


def settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def rate(device: torch.device, width: int) -> dict:
    """Operations per second of square products in bfloat16."""
    left, right = (torch.randn(width, width, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(5):
        settle(device)
        begin = time.perf_counter()
        for _ in range(10):
            left @ right
        settle(device)
        seconds.append((time.perf_counter() - begin) / 10)
    return {"rate": 2 * width**3 / min(seconds)}


def build(arguments: argparse.Namespace) -> torch.nn.Module:
    from peft import LoraConfig, VeraConfig, get_peft_model
    from transformers import RobertaConfig, RobertaForSequenceClassification

    config = RobertaConfig(**json.loads(arguments.config.read_text(encoding="utf-8")))
    saved = arguments.config.with_suffix("")
    if saved.is_dir():
        model = RobertaForSequenceClassification.from_pretrained(saved)
    else:
        model = RobertaForSequenceClassification(config)
        if arguments.save:
            model.save_pretrained(saved)
    common = {"task_type": "SEQ_CLS", "r": arguments.r, "target_modules": ["query", "value"]}
    if arguments.adapter == "vera":
        return get_peft_model(model, VeraConfig(**common))
    return get_peft_model(model, LoraConfig(**common, lora_alpha=8, lora_dropout=0.1))


def steps(arguments: argparse.Namespace, device: torch.device) -> dict:
    """Seconds of a step, after some that warm up; the device is waited for at the end alone."""
    model = build(arguments).to(device).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.01)
    vocabulary = model.config.vocab_size
    ids = torch.randint(4, vocabulary, (arguments.batch, arguments.tokens))
    labels = torch.arange(arguments.batch) % 2
    mixed = torch.autocast(device.type, torch.bfloat16, enabled=arguments.mixed)
    begin = time.perf_counter()
    for step in range(arguments.warm + arguments.steps):
        if step == arguments.warm:
            settle(device)
            begin = time.perf_counter()
        with mixed:
            loss = model(input_ids=ids.to(device), labels=labels.to(device)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    settle(device)
    return {"step": (time.perf_counter() - begin) / arguments.steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["rate", "steps"])
    parser.add_argument("--device", type=torch.device, required=True)
    parser.add_argument("--width", type=int, default=8192)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--adapter", choices=["lora", "vera"], default="lora")
    parser.add_argument("--r", type=int, default=4)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm", type=int, default=5, help="steps before those that are timed")
    parser.add_argument("--mixed", action="store_true", help="bfloat16 as autocast has it")
    parser.add_argument("--save", action="store_true", help="keep the weights for a later process")
    arguments = parser.parse_args()
    device = arguments.device
    done = rate(device, arguments.width) if arguments.what == "rate" else steps(arguments, device)
    print(json.dumps(done))


if __name__ == "__main__":
    main()
