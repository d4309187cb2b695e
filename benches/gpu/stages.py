"""The measurements, each of which gives its part of the report."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benches.gpu.runs import MIB, Process, Run
from benches.gpu.sizes import Sizes, flops
from benches.tools import Failed, call, table

SIDE = Path(__file__).with_name("python_step.py")


def shown(value: float | None, form: str = "{:.2f}") -> str:
    return "" if value is None else form.format(value)


@dataclass
class Bench:
    """What all measurements need."""

    program: Path
    folder: Path
    sizes: Sizes
    device: str
    environment: dict[str, str]
    left: Callable[[], float]
    # Of the GPU that runs are on, as the driver's tools name it.
    uuid: str | None = None
    # What runs printed on standard error, by what they were.
    errors: dict[str, list[str]] = field(default_factory=dict)
    # Runs of three clients by model and adapter, which several parts look at.
    done: dict[tuple[str, str], Run] = field(default_factory=dict)

    def cases(self) -> list[tuple[str, str, int]]:
        """Model, adapter, rank."""
        adapters = (("lora", 4), ("vera", self.sizes.vera))
        return [(model, adapter, r) for adapter, r in adapters for model in self.sizes.models]

    def regatta(self, model: str, clients: int, rounds: int, steps: int, *more: object) -> Run:
        """A run of the program."""
        return self.ended(self.start(self.arguments(model, clients, rounds, steps, *more)))

    def start(self, arguments: list, profile: bool = False) -> Process:
        return Process(self.program, arguments, self.environment, self.uuid, profile)

    def ended(self, process: Process) -> Run:
        done = process.end(self.left())
        if done.errors:
            self.errors[process.name] = done.errors
        return done

    def arguments(self, model: str, clients: int, rounds: int, steps: int, *more: object) -> list:
        known = model if model.startswith("roberta-") else self.folder / f"{model}.json"
        sizes = self.sizes
        arguments = {
            **{"--task": "rte", "--data": self.folder / "data", "--model": f"random:{known}"},
            **{"--tokenizer": self.folder / "tokenizer.json", "--num_clients": clients},
            **{"--rounds": rounds, "--eval_every": rounds, "--batch_size": sizes.batch},
            **{"--max_seq_length": sizes.tokens, "--limit_train": clients * steps * sizes.batch},
            **{"--limit_eval": 8, "--local_epochs": 1, "--checkpoint_every": 0},
            # Those that a stage gives go before.
            **dict(zip(more[::2], more[1::2], strict=True)),
        }
        device = ["--cpu"] if self.device == "cpu" else ["--client_gpus", 0]
        return [*(part for pair in arguments.items() for part in pair), *device]

    def three(self, model: str, adapter: str, r: int) -> Run:
        """Three clients that train for some rounds; once for each model and adapter."""
        key = (model, adapter)
        if key not in self.done:
            steps, rounds = self.sizes.steps, self.sizes.rounds
            self.done[key] = self.regatta(model, 3, rounds, steps, "--adapter", adapter, "--r", r)
        return self.done[key]

    def python(self, what: str, *more: object) -> dict:
        command = [sys.executable, SIDE, what, "--device", self.device, *more]
        said = call(command, env=self.environment, timeout=max(self.left(), 1))
        return json.loads(said.splitlines()[-1])

    def python_side(self, model: str, adapter: str, r: int, *more: object) -> dict:
        """Steps of transformers and peft, in a process of their own."""
        sizes, config = self.sizes, self.folder / f"{model}.json"
        mixed = ["--mixed"] if self.device == "cuda" else []
        return self.python(
            *("steps", "--config", config, "--adapter", adapter, "--r", r),
            *("--batch", sizes.batch, "--tokens", sizes.tokens, "--steps", sizes.steps, *mixed, *more),
        )

    def same_again(self) -> str:
        """Two runs and one with another number of lanes: their states after every round."""
        model = next(iter(self.sizes.models))
        lanes = (("--lanes", 1), ("--lanes", 1), ("--lanes", 3))
        runs = [self.regatta(model, 3, 3, 3, *more, "--threads_per_lane", 1) for more in lanes]
        first, again, side_by_side = (run.digests for run in runs)
        if not first == again == side_by_side:
            raise Failed(f"states differ: {first}, again {again}, on three lanes {side_by_side}")
        return (
            f"{model}, three clients, {len(first)} rounds: the states of two runs, and of one whose "
            f"clients train side by side, are the same ({first[-1][:16]}…)."
        )

    def steps(self) -> str:
        """Seconds of a step beside Python's, and what of the device's rate that is."""
        rate, missing = None, []
        try:
            rate = self.python("rate", "--width", self.sizes.matrix)["rate"]
        except Failed as error:
            missing.append(f"the matrix rate: {error}")
        rows = []
        for model, adapter, r in self.cases():
            step = self.three(model, adapter, r).step()
            try:
                theirs = self.python_side(model, adapter, r)["step"]
            except Failed as error:
                theirs = None
                missing.append(f"Python's {model} with {adapter}: {error}")
            work = flops(self.sizes.models[model], self.sizes.batch, self.sizes.tokens)
            rows.append([
                f"{model}, {adapter} r={r}",
                f"{step * 1e3:.1f}",
                shown(theirs and theirs * 1e3, "{:.1f}"),
                shown(theirs and theirs / step),
                f"{work / step / 1e12:.2f}",
                shown(rate and 100 * work / step / rate, "{:.0f} %"),
            ])
        header = ["", "Regatta, ms", "Python, ms", "ratio", "Tflop/s", "of the matrix rate"]
        sizes = f"Batches of {self.sizes.batch} × {self.sizes.tokens} tokens, dropout on"
        kind = "bfloat16 by autocast on both sides" if self.device == "cuda" else "float32"
        text = f"{sizes}, {kind}. A job's seconds over its steps.\n\n{table(header, rows)}"
        if rate:
            text += f"\nProducts of {self.sizes.matrix}² in bfloat16: {rate / 1e12:.2f} Tflop/s.\n"
        return text + "".join(f"\nNot measured: {what}\n" for what in missing)

    def rounds(self) -> str:
        """Seconds of a round beside three processes that load the model and train."""
        rows, missing = [], []
        for model, adapter, r in self.cases():
            ours = self.three(model, adapter, r).round()
            try:
                # The first process saves the weights that the others load.
                self.python_side(model, adapter, r, "--warm", 0, "--save")
                begin = time.monotonic()
                self.python_side(model, adapter, r, "--warm", 0)
                theirs = 3 * (time.monotonic() - begin)
            except Failed as error:
                theirs = None
                missing.append(f"Python's {model} with {adapter}: {error}")
            ratio = shown(theirs and theirs / ours)
            rows.append([f"{model}, {adapter} r={r}", f"{ours:.2f}", shown(theirs), ratio])
        header = ["", "Regatta, s", "Python, s", "ratio"]
        return (
            f"Three clients in turn, {self.sizes.steps} steps each. Python: three times a process that "
            "starts, loads the model and trains as many steps; without aggregation.\n\n"
            + table(header, rows)
            + "".join(f"\nNot measured: {what}\n" for what in missing)
        )

    def kinds(self) -> str:
        """Steps, aggregations and evaluations of what else clients train: other texts, adapters, kinds
        of numbers, models."""
        model = next(iter(self.sizes.models))
        sizes = self.sizes
        cases = {
            "LoRA r=4": (),
            "short texts": ("--data", self.folder / "short"),
            "texts of many lengths": ("--data", self.folder / "mixed"),
            "without dropout": ("--model_dropout", 0, "--lora_dropout", 0),
            f"VeRA r={sizes.vera}": ("--adapter", "vera", "--r", sizes.vera),
            f"SORF-VeRA r={sizes.sorf}": ("--adapter", "sorf_vera", "--r", sizes.sorf),
            "LoRA r=32, exact residual": ("--r", 32, "--agg_type", "fedex"),
            "float32": ("--precision", "float32"),
            "float16": ("--precision", "float16"),
            "a decoder": (
                *("--task", "e2e", "--model", f"random:{self.folder / 'decoder.json'}"),
                *("--limit_generate", 2, "--max_new_tokens", 4, "--num_beams", 1),
            ),
        }
        rows, missing = [], []
        for name, more in cases.items():
            try:
                done = self.regatta(model, 3, 3, sizes.steps, "--limit_eval", sizes.dev, *more)
            except Failed as error:
                missing.append(f"{name}: {error}")
                continue
            loss = done.rounds[-1]["train_loss"]
            rows.append([
                name,
                f"{1e3 * done.step():.1f}",
                f"{done.aggregation():.3f}",
                f"{done.evaluation():.3f}",
                shown(loss, "{:.3f}"),
            ])
        header = ["", "a step, ms", "an aggregation, s", "an evaluation, s", "loss"]
        note = f"{model} unless it says otherwise, three clients, {sizes.dev} examples evaluated."
        if missing:
            raise Failed("\n\n".join([*missing, table(header, rows)]))
        return f"{note}\n\n{table(header, rows)}"

    def busy(self) -> str:
        """What a GPU computes of the time that a run takes, by one lane and more; a GPU that nvidia-smi
        calls busy may have had one small kernel after the other."""
        model = next(iter(self.sizes.models))
        rows, missing = [], []
        for lanes in (1, 2, 4):
            steps, rounds = self.sizes.steps, self.sizes.rounds
            asked = self.arguments(model, 4, rounds, steps, "--lanes", lanes)
            done = self.ended(self.start(asked))
            trained = sum(c["seconds"] for record in done.rounds[1:] for c in record["clients"])
            phases = [record["seconds"] for record in done.rounds[1:]]
            passed = sum(phase["train"] + phase["aggregate"] for phase in phases)
            kernels = None
            try:
                profiled = self.ended(self.start(asked, profile=True))
                kernels = profiled.kernels / profiled.wall
            except Failed as error:
                missing.append(f"the kernels' time with lanes {lanes}: {error}")
            rows.append([
                f"{lanes}",
                shown(kernels and 100 * kernels, "{:.0f} %"),
                f"{100 * trained / passed / lanes:.0f} %",
                f"{done.round():.2f}",
            ])
        header = ["lanes", "kernels of the run's time", "lanes busy", "a round, s"]
        note = f"{model}, LoRA r=4, four clients; the kernels' time by nsys, start and end included."
        return f"{note}\n\n{table(header, rows)}" + "".join(f"\nNot measured: {it}\n" for it in missing)

    def side_by_side(self) -> str:
        """Two processes on one GPU, beside one."""
        model = next(iter(self.sizes.models))
        asked = self.arguments(model, 2, self.sizes.rounds, self.sizes.steps)
        alone = self.ended(self.start(asked))
        both = [self.start(asked) for _ in range(2)]
        together = [self.ended(process) for process in both]
        if any(run.digests != alone.digests for run in together):
            raise Failed("a process beside another comes to another state")
        rows = [
            ["one", f"{alone.round():.2f}", shown(alone.used, "{:.0f}")],
            ["each of two", f"{max(run.round() for run in together):.2f}", shown(together[0].used, "{:.0f}")],
        ]
        return f"{model}, LoRA r=4.\n\n{table(['processes', 'a round, s', 'used of the GPU, MiB'], rows)}"

    def silent(self) -> str:
        """Whether runs printed nothing on standard error."""
        if self.errors:
            said = "\n".join(
                f"    regatta {name}\n" + "\n".join(f"        {line}" for line in lines[:5])
                for name, lines in self.errors.items()
            )
            raise Failed(f"runs printed on standard error:\n\n{said}")
        return "No run printed anything on standard error."

    def memory(self) -> str:
        """Memory by the number of clients."""
        model = next(iter(self.sizes.models))
        rows = []
        for clients in self.sizes.fleets:
            done = self.regatta(model, clients, 2, 1)
            rows.append([
                str(clients),
                shown(done.held and done.held / MIB, "{:.0f}"),
                shown(done.used, "{:.0f}"),
                f"{done.round():.2f}",
            ])
        header = ["clients", "held at most, MiB", "used of the GPU, MiB", "a round of one step, s"]
        return f"{model}, LoRA r=4.\n\n{table(header, rows)}"
