"""How large everything is: as wanted on a GPU, and tiny for trying the script out without one."""

from dataclasses import dataclass

# What `random:roberta-…` stands for, in the words of a config.json.
ROBERTA = {
    "model_type": "roberta",
    "vocab_size": 50265,
    "hidden_act": "gelu",
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "pad_token_id": 1,
}


def roberta(layers: int, width: int, heads: int, **other) -> dict:
    sizes = {"num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads}
    return {**ROBERTA, **sizes, "intermediate_size": 4 * width, **other}


def gpt2(layers: int, width: int, heads: int, vocab_size: int) -> dict:
    sizes = {"n_layer": layers, "n_embd": width, "n_head": heads, "n_positions": 512}
    return {"model_type": "gpt2", "vocab_size": vocab_size, "eos_token_id": 2, **sizes}


@dataclass(frozen=True)
class Sizes:
    """A set of sizes."""

    # By the name that `--model random:` knows; of other names the configuration is written.
    models: dict[str, dict]
    batch: int
    tokens: int
    # Tokens of a short text: launches rule its time.
    short: int
    # Examples that are evaluated.
    dev: int
    # Optimiser steps of a client in a round.
    steps: int
    rounds: int
    # Rank of VeRA.
    vera: int
    # Rank of SORF-VeRA.
    sorf: int
    # A decoder's configuration.
    decoder: dict
    # Numbers of clients whose memory is looked at.
    fleets: tuple[int, ...]
    # Width of the square matrices whose products give the device's rate.
    matrix: int


GPU = Sizes(
    models={"roberta-base": roberta(12, 768, 12), "roberta-large": roberta(24, 1024, 16)},
    batch=128,
    tokens=128,
    short=12,
    dev=2048,
    steps=20,
    rounds=4,
    vera=128,
    sorf=128,
    decoder=gpt2(12, 768, 12, vocab_size=50257),
    fleets=(1, 10, 100),
    matrix=8192,
)
TINY = Sizes(
    models={
        "tiny": roberta(2, 64, 4, vocab_size=1000),
        "small": roberta(3, 96, 4, vocab_size=1000),
    },
    batch=4,
    tokens=16,
    short=5,
    dev=8,
    steps=3,
    rounds=3,
    vera=16,
    sorf=16,
    decoder=gpt2(2, 32, 2, vocab_size=1000),
    fleets=(1, 4),
    matrix=256,
)


def flops(config: dict, rows: int, tokens: int) -> float:
    """Floating-point operations of a step's matrix products, as transformers does it: each layer for
    every token, forward and back to its input. The adapter's own are left out."""
    width, wide = config["hidden_size"], config["intermediate_size"]
    count, layers = rows * tokens, config["num_hidden_layers"]
    linear = 2 * count * (4 * width * width + 2 * width * wide)
    attention = 2 * 2 * count * tokens * width
    # Attention goes back to both factors of its products, a frozen layer to its input alone.
    return layers * (2 * linear + 3 * attention)
