"""The Triton twins are compiled for a GPU that need not be here: the interpreter takes what a compiler may not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="the Triton twins are tested where triton is installed: pip install triton")

HOPPER = """
from importlib import import_module
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

def compiled(kernel, pointers, known, **options):
    names = kernel.arg_names
    kinds = {name: "constexpr" if name in known else pointers.get(name, "i32") for name in names}
    source = ASTSource(fn=kernel, signature=kinds, constexprs={(names.index(name),): known[name] for name in known})
    assert "cubin" in triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm

names = ("linear_attention", "mix_ffn", "modulated_norm", "int8_linear", "int4_linear")
attention, mix_ffn, norm, int8, int4 = (import_module(f"sanakit.kernels.{name}.triton") for name in names)
x, dtype, f32 = "*bf16", tl.bfloat16, "*fp32"
head = {"D": 32, "WIDTH": 32, "TILE": attention.TOKENS}
sums = {"state": f32, "total": f32}
compiled(attention._sum_keys, {"k": x, "v": x, **sums}, {**head, "DTYPE": dtype})
compiled(attention._read_by_queries, {"q": x, "out": x, "eps": "fp32", **sums}, head)
sizes = {"ROWS": mix_ffn.ROWS, "COLUMNS": mix_ffn.COLUMNS, "CHANNELS": mix_ffn.CHANNELS}
compiled(mix_ffn._gated_depthwise, {"x": x, "weight": x, "bias": x, "y": x}, sizes)
for layer in (True, False):
    known = {"CENTRED": layer, "SHIFTED": layer, "WIDTH": 2048}
    compiled(norm._norm, {"x": x, "scale": x, "shift": x, "y": x, "eps": "fp32"}, known)
compiled(int8._round_rows, {"x": x, "whole": "*i8", "scale": f32, "largest": "fp32"}, {"WIDTH": 2048})
sizes = {"HAS_BIAS": True, "ROWS": int8.ROWS, "COLUMNS": int8.COLUMNS, "CHANNELS": int8.CHANNELS}
pointers = {"a": "*i8", "b": "*i8", "a_scale": f32, "b_scale": f32, "bias": x, "y": x}
compiled(int8._multiply, pointers, sizes, num_warps=8)
sizes = {"HAS_BIAS": True, "ROWS": int4.ROWS, "COLUMNS": int4.COLUMNS, "BYTES": int4.BYTES, "DTYPE": dtype}
compiled(int4._multiply, {"x": x, "packed": "*u8", "scale": x, "levels": f32, "bias": x, "y": x}, sizes)
"""


@pytest.mark.slow
def test_every_twin_compiles_for_hopper() -> None:
    """In a process of its own, where nothing is interpreted."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", HOPPER], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
