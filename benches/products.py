"""How fast one thread multiplies by frozen weights: by MKL, as libtorch does, and by oneDNN.

`target/upstream-venv/bin/python benches/products.py` prints a table in GFLOP/s: medians of timings
that take turns. `make bench ARGS=upstream` makes that environment; any with torch 2.11 will do.
"""

import statistics
import time

import torch
from torch.nn.functional import linear

# Rows of x, and W's shape.
SIZES = [(1136, 384, 384), (1136, 1536, 384), (1136, 384, 1536), (1136, 768, 768), (1136, 3072, 768), (16, 384, 384)]
TIMINGS, CALLS = 15, 10


def one_dnn(x: torch.Tensor, weight: torch.Tensor, bias=None) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def seconds(product) -> float:
    begin = time.perf_counter()
    for _ in range(CALLS):
        product()
    return (time.perf_counter() - begin) / CALLS


def rates(rows: int, d_out: int, d_in: int) -> list[float]:
    x, gradient = torch.randn(rows, d_in), torch.randn(rows, d_out)
    weight, bias = torch.randn(d_out, d_in), torch.randn(d_out)
    products = [
        lambda: linear(x, weight, bias),
        lambda: one_dnn(x, weight, bias),
        lambda: gradient @ weight,
        lambda: one_dnn(gradient, weight.t()),
    ]
    taken = [[seconds(product) for product in products] for _ in range(TIMINGS + 1)][1:]
    operations = 2 * rows * d_out * d_in
    return [operations / statistics.median(times) / 1e9 for times in zip(*taken)]


def main() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    print("| rows | W | forward, MKL | oneDNN | backward, MKL | oneDNN |\n|--:|---|--:|--:|--:|--:|")
    for rows, d_out, d_in in SIZES:
        found = " | ".join(f"{rate:.0f}" for rate in rates(rows, d_out, d_in))
        print(f"| {rows:,} | {d_out} × {d_in} | {found} |")


if __name__ == "__main__":
    main()
