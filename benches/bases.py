"""Memory and a step's time by what the frozen base is held in, of a Llama of a billion weights."""

import json
import tempfile
from pathlib import Path

from benches import machine
from benches.tools import Failed, paragraphs, regatta, table

# Llama 3.2 1B's sizes but for its vocabulary, which stays in float32: one that the tokenizer below fits into.
MODEL = {
    "model_type": "llama",
    "vocab_size": 512,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "eos_token_id": 256,
}
# Clients with a text each, so that a round is as many steps, and rounds that count after the first.
CLIENTS, ROUNDS = 2, 2
SETTINGS = (
    f"--task e2e --data data/restaurants --num_clients {CLIENTS} --limit_train {CLIENTS} --batch_size 1 "
    f"--local_epochs 1 --lanes 1 --rounds {ROUNDS + 1} --eval_every {ROUNDS + 1} --limit_eval 1 "
    "--limit_test 0 --limit_generate 1 --num_beams 1 --max_new_tokens 1 --max_seq_length 512 "
    "--target_modules q_proj,v_proj --r 8 --lora_alpha 16 --lora_dropout 0"
)
# What is held in what, and how it is aggregated.
FORMS = [
    ("float32", "fedit"),
    ("bfloat16", "fedit"),
    ("int8", "fedit"),
    ("nf4", "fedit"),
    ("float32", "fedex"),
    ("nf4", "fedex"),
]


def measure(program: Path) -> str:
    """A table with a row for each form."""
    # Four bytes a weight, and what training takes beside them.
    needed = 4 * weights() + 2**31
    if machine.memory() < needed:
        raise Failed(f"float32 takes {needed / 2**30:.0f} GiB, which are not free here.")
    rows, first = [], None
    # A lane that is asked for by its number has one thread unless told otherwise.
    settings = f"{SETTINGS} --threads_per_lane {machine.cores()}"
    with tempfile.TemporaryDirectory() as place:
        config, tokenizer = Path(place) / "config.json", Path(place) / "tokenizer.json"
        config.write_text(json.dumps(MODEL), encoding="utf-8")
        tokenizer.write_text(json.dumps(bytes_tokenizer()), encoding="utf-8")
        model = ["--model", f"random:{config}", "--tokenizer", tokenizer]
        for form, method in FORMS:
            more = ["--agg_type", method, "--base_precision", form]
            run = regatta(program, [*settings.split(), *model, *more])
            steps = [one["seconds"]["train"] / CLIENTS for one in run.rounds[1:]]
            step = sum(steps) / len(steps)
            first = first or (run.peak_bytes, step)
            error = max(one["exactness_error"] for one in run.rounds)
            figures = [f"{run.peak_bytes / 2**20:,.0f}", f"{run.peak_bytes / first[0]:.2f}"]
            figures += [f"{step:.2f}", f"{step / first[1]:.2f}", f"{error:.0e}"]
            rows.append([form, method, *figures])
    header = ["base in", "method", "peak memory, MiB", "of float32", "step, s", "of float32", "exactness error"]
    explanation = (
        f"A Llama of {weights() / 1e9:.2f} billion weights, drawn: the sizes of Llama 3.2 1B but for its "
        f"vocabulary. `regatta run {settings}`: a text of some 170 tokens a step, products in float32; the "
        f"mean of {ROUNDS} rounds after the first. Memory is the largest resident size of the whole process. "
        "With `fedex` the residual lies beside the base in float32, 4 bytes for each weight of an adapted "
        "layer."
    )
    return paragraphs([explanation, table(header, rows, left=2)])


def weights() -> int:
    """The model's weights, but for its norms."""
    width, inner, layers = (MODEL[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    keys = width * MODEL["num_key_value_heads"] // MODEL["num_attention_heads"]
    attention = 2 * width * width + 2 * width * keys
    return layers * (attention + 3 * width * inner) + MODEL["vocab_size"] * width


def bytes_tokenizer() -> dict:
    """A token for each byte, and the end of a text."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    letters = [chr(byte if byte in shown else next(hidden)) for byte in range(256)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    end = {"id": 256, "content": "<|endoftext|>", "special": True}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "added_tokens": [{**end, **plain}],
        "pre_tokenizer": level,
        "decoder": level,
        "model": {"type": "BPE", "vocab": {letter: i for i, letter in enumerate(letters)}, "merges": []},
    }
