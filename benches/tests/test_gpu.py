"""What the GPU's part makes of what drivers and tools print."""

import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

from benches.gpu import files
from benches.gpu.driver import kernel_seconds, uuid_of
from benches.gpu.sizes import GPU, TINY
from benches.gpu.stages import Bench
from benches.tools import Failed

UUID = "01234567-89ab-cdef-0123-456789abcdef"
DOCTOR = f"""regatta   0.1.0
lanes     2 of 1 thread on the CPU
cuda      0: NVIDIA H100 80GB HBM3, 78.6 of 79.1 GiB free, compute capability 9.0, GPU-{UUID}
          1: NVIDIA H100 80GB HBM3, 78.6 of 79.1 GiB free, compute capability 9.0, GPU-{UUID[::-1]}
"""
KERNELS = """Processing [profile.sqlite] with [cuda_gpu_kern_sum.py]...

Time (%),Total Time (ns),Instances,Avg (ns),Name
75.0,1500000000,10,150000000.0,"void gemm<float, int>(float*)"
25.0,500000000,3,1.0,drop_float
"""


class GpuTest(unittest.TestCase):
    def test_the_gpu_that_is_looked_at_is_cudas_first(self):
        self.assertEqual(uuid_of(DOCTOR), f"GPU-{UUID}")
        self.assertEqual(uuid_of(DOCTOR.replace("GPU-", "MIG-")), f"MIG-{UUID}")
        self.assertIsNone(uuid_of("cuda      no device; everything runs on the CPU\n"))

    def test_the_time_of_kernels_is_their_sum(self):
        self.assertEqual(kernel_seconds(KERNELS), 2.0)
        with self.assertRaises(Failed):
            kernel_seconds("SKIPPED: profile.sqlite does not contain CUDA kernel data.\n")

    def test_examples_have_as_many_tokens_as_their_folder_says(self):
        sizes = replace(TINY, fleets=(2,), steps=2)
        with tempfile.TemporaryDirectory() as place:
            files.write(Path(place), sizes)
            lengths = {}
            for name in ("data", "short", "mixed"):
                table = (Path(place) / name / "RTE" / "train.tsv").read_text(encoding="utf-8")
                examples = [line.split("\t")[1:3] for line in table.splitlines()[1:]]
                lengths[name] = {len(" ".join(texts).split()) for texts in examples}
        self.assertEqual(lengths["data"], {sizes.tokens})
        self.assertEqual(lengths["short"], {sizes.short})
        self.assertGreater(len(lengths["mixed"]), 3)

    def test_a_run_is_given_each_flag_once_and_asks_for_a_gpu_where_there_is_one(self):
        def flags(device):
            bench = Bench(Path("regatta"), Path("/d"), GPU, device, {}, lambda: 1.0)
            return bench.arguments("roberta-base", 3, 2, 20, "--r", 32, "--limit_eval", 9)

        asked = flags("cuda")
        names = [part for part in asked if str(part).startswith("--")]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(asked[asked.index("--limit_eval") + 1], 9)
        self.assertIn("--client_gpus", asked)
        self.assertNotIn("--cpu", asked)
        self.assertIn("--cpu", flags("cpu"))

    def test_what_runs_print_on_standard_error_is_a_failure(self):
        bench = Bench(Path("regatta"), Path("/d"), TINY, "cpu", {}, lambda: 1.0)
        self.assertIn("No run", bench.silent())
        bench.errors["run --task rte"] = ["[W] deprecated"]
        with self.assertRaises(Failed) as raised:
            bench.silent()
        self.assertIn("deprecated", str(raised.exception))


if __name__ == "__main__":
    unittest.main()
