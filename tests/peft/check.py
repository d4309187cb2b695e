#!/usr/bin/env python3
"""Checks exports of Regatta against Python's PEFT and transformers.

    check.py CASES

CASES holds a folder per case, each with

    adapter/               what `regatta export RUN` wrote
    merged/                what `regatta export RUN --merge` wrote
    expected.safetensors   input_ids, attention_mask, token_type_ids (of a classifier), and
                           Regatta's logits

Each model is loaded by the very lines of Python that its README.md gives, and its logits must be
Regatta's to 1e-5. A merged model must lack no tensor and bring none that it has no use for.

Needs torch, transformers, peft and safetensors. The test `pythons_peft_computes_what_regatta_
computes` makes the cases and runs this script where REGATTA_PYTHON (default python3) has them.
"""

import os
import re
import sys
from pathlib import Path

import peft
import torch
import transformers
from safetensors.torch import load_file

TOLERANCE = 1e-5


def load_by_readme(folder: Path) -> torch.nn.Module:
    """The `model` that the README's Python makes, run in the folder as the README assumes."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    here = Path.cwd()
    os.chdir(folder)
    try:
        names: dict = {}
        exec(compile(code, str(folder / "README.md"), "exec"), names)
    finally:
        os.chdir(here)
    return names["model"]


def error_of(model: torch.nn.Module, expected: dict) -> float:
    """‖logits − expected‖ / ‖expected‖."""
    inputs = {name: expected[name] for name in ("input_ids", "attention_mask")}
    if model.config.model_type in ("bert", "electra", "deberta", "deberta-v2"):
        inputs["token_type_ids"] = expected["token_type_ids"]
    with torch.no_grad():
        logits = model(**inputs).logits.double()
    return float((logits - expected["logits"]).norm() / expected["logits"].norm())


def check_merged(folder: Path) -> list[str]:
    """What is wrong with a merged model beside its logits."""
    (name,) = transformers.AutoConfig.from_pretrained(folder).architectures
    classifies = name.endswith("ForSequenceClassification")
    model, info = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    wrong = [f"{key}: {sorted(names)}" for key, names in info.items() if names]
    if classifies and model.config.num_labels != 2:
        wrong.append(f"num_labels is {model.config.num_labels}")
    return wrong


def main() -> int:
    print(f"peft {peft.__version__}, transformers {transformers.__version__}")
    transformers.logging.set_verbosity_error()
    failures = 0
    cases = sorted(path for path in Path(sys.argv[1]).resolve().iterdir() if path.is_dir())
    for case in cases:
        expected = load_file(case / "expected.safetensors")
        for kind in ("adapter", "merged"):
            error = error_of(load_by_readme(case / kind), expected)
            wrong = check_merged(case / kind) if kind == "merged" else []
            if not error <= TOLERANCE:
                wrong.append(f"the logits are wrong by {error:.1e}")
            failures += bool(wrong)
            print(f"{case.name}/{kind}: {'; '.join(wrong) or f'as Regatta to {error:.1e}'}")
    if not cases:
        print("no case")
    return 1 if failures or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
