"""What a process sets around us does not reach our numbers, or is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from sanakit.kernels import arithmetic
from sanakit.kernels.arithmetic import arithmetic_facts, own_arithmetic


@contextmanager
def changed(change: Callable[[], object], back: Callable[[], object]) -> Iterator[None]:
    try:
        change()
        yield
    finally:
        back()


def attention(on: bool) -> None:
    for switch in ("flash", "mem_efficient", "cudnn"):
        getattr(torch.backends.cuda, f"enable_{switch}_sdp")(on)


SURROUNDINGS: dict[str, Callable[[], object]] = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default dtype": lambda: changed(
        lambda: torch.set_default_dtype(torch.bfloat16), lambda: torch.set_default_dtype(torch.float32)
    ),
    "default device": lambda: torch.device("meta"),
    "attention": lambda: changed(lambda: attention(False), lambda: attention(True)),
    "mkldnn": lambda: changed(
        lambda: torch._C._set_mkldnn_enabled(False), lambda: torch._C._set_mkldnn_enabled(True)
    ),
    "sums of attention": lambda: changed(
        lambda: torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True),
        lambda: torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(False),
    ),
}  # fmt: skip


def numbers() -> torch.Tensor:
    """Products, a convolution and attention, also in bfloat16 by the plain kernel, from what the defaults make."""
    generator = torch.Generator().manual_seed(0)
    x = torch.tensor([0.1]) + torch.randn(1, 4, 40, 32, generator=generator, dtype=torch.float32)
    with torch.no_grad():
        y = F.conv2d(x, x.mT[:, :4, :3, :3].expand(8, 4, 3, 3))
        half = x.bfloat16()
        attended = (F.scaled_dot_product_attention(x, x, x), F.scaled_dot_product_attention(half, half, half[..., :16]))
        return torch.cat([part.double().flatten() for part in (x @ x.mT, y, *attended)])


@pytest.mark.parametrize("surrounding", SURROUNDINGS)
def test_nothing_around_us_reaches_the_numbers(surrounding: str) -> None:
    with own_arithmetic():
        expected = numbers()
    with ExitStack() as stack:
        stack.enter_context(SURROUNDINGS[surrounding]())  # type: ignore[arg-type]
        with own_arithmetic():
            assert torch.equal(numbers(), expected)
        assert torch.get_default_device().type == ("meta" if surrounding == "default device" else "cpu")
        assert torch.is_autocast_enabled("cpu") == (surrounding == "autocast")
        assert torch.get_default_dtype() == (torch.bfloat16 if surrounding == "default dtype" else torch.float32)
        assert torch.backends.cuda.flash_sdp_enabled() == (surrounding != "attention")
        assert torch.backends.mkldnn.enabled == (surrounding != "mkldnn")
        assert torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed() == (surrounding == "sums of attention")


def test_threads_are_lent() -> None:
    before = torch.get_num_threads()
    with own_arithmetic(before + 2):
        assert torch.get_num_threads() == before + 2
    assert torch.get_num_threads() == before


def test_the_machine_and_what_was_changed_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = arithmetic_facts(torch.device("cpu"))
    assert usual["instruction set"] == torch.backends.cpu.get_cpu_capability()
    assert usual["processor"]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    with changed(lambda: torch.set_flush_denormal(True), lambda: torch.set_flush_denormal(False)):
        facts = arithmetic_facts(torch.device("cpu"))
    variables = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}
    assert facts == {**usual, **variables, "denormal numbers": "taken as 0"}


def test_sums_of_float16_are_told() -> None:
    usual, matmul = arithmetic_facts(torch.device("cpu")), torch.backends.cuda.matmul
    with changed(
        lambda: setattr(matmul, "allow_fp16_accumulation", True),
        lambda: setattr(matmul, "allow_fp16_accumulation", False),
    ):
        facts = arithmetic_facts(torch.device("cpu"))
    assert facts == {**usual, "sums of float16 products on CUDA": "float16"}


def test_native_kernels_are_told_where_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "instruction set of native kernels"
    monkeypatch.setattr(arithmetic, "native_library", lambda: SimpleNamespace(variant="avx2"))
    assert arithmetic_facts(torch.device("cpu"))[name] == "avx2"
    monkeypatch.setattr(arithmetic, "native_library", lambda: None)
    assert name not in arithmetic_facts(torch.device("cpu"))


def test_the_precision_that_torch_begins_with_has_two_names() -> None:
    """What a process that asks for the highest has is not told as another."""
    usual = arithmetic_facts(torch.device("cpu"))
    matmul = (torch.backends.mkldnn.matmul, torch.backends.cuda.matmul)
    before = [each.fp32_precision for each in matmul]
    try:
        torch.set_float32_matmul_precision("medium")
        assert arithmetic_facts(torch.device("cpu")) != usual
        torch.set_float32_matmul_precision("highest")
        assert arithmetic_facts(torch.device("cpu")) == usual
    finally:
        for each, precision in zip(matmul, before, strict=True):
            each.fp32_precision = precision
