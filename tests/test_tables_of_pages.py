"""Numbers in the pages that a command prints: remade here, those that take longer with the mark ``slow``."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from sanakit.checkpoints.identity.card import read_card
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.checkpoints.sources.complete import find_autoencoder
from sanakit.checkpoints.sources.sources import find_parts
from sanakit.common import devices
from sanakit.common.pixels import to_signed
from sanakit.evaluation.worlds.heldout_scenes import heldout_scenes
from sanakit.features.pixel_tensors import encode_pictures
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.telling.sheet_prompts import SHEET_PROMPTS

ROOT = Path(__file__).parents[1]


def page(*names: str) -> str:
    return ROOT.joinpath(*names).read_text(encoding="utf-8")


def row(text: str, *first: str) -> list[str]:
    """The other cells of the line of a table that begins with these."""
    begin = "| " + " | ".join(first) + " | "
    (line,) = (line for line in text.splitlines() if line.startswith(begin))
    return [cell.strip() for cell in line.removeprefix(begin).rstrip("|").split("|")]


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_importances_are_of_the_weights_that_ship() -> None:
    """`sanakit prune` prints them; the hash beside the table is that of the transformer which drew."""
    told = re.search(r"the starter's transformer ([0-9a-f]{10})", page("docs", "growth-and-pruning.md"))
    card = read_card(find_parts("starter").path)
    assert told is not None
    assert card is not None
    assert card.hashes["transformer"].startswith(told[1]), "measure docs/growth-and-pruning.md's importances again"


@pytest.mark.network
@pytest.mark.slow
def test_the_importances_of_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sanakit.cli.app import main

    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(SHEET_PROMPTS[::12]))
    words = ["prune", "starter", str(tmp_path / "smaller"), "--num-layers", "6", "--prompts", str(prompts)]
    assert main([*words, "--steps", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["importance"]
    told = [float(cell) for cell in row(page("docs", "growth-and-pruning.md"), "importance")]
    assert told == pytest.approx(found, abs=0.0015), " | ".join(f"{value:.3f}" for value in found)


def test_latents_of_scenes_decode_as_well_from_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/data-cache.md says of the quick way of encoding, also where a CPU has none."""
    monkeypatch.setattr(devices, "_cpu_has_it", lambda: True)
    said = re.search(r"within ([\d.]+) dB", page("docs", "data-cache.md"))
    assert said is not None
    pictures = [np.asarray(picture) for picture in heldout_scenes(load_bank("tiny"), 4, seed=0).pictures]
    autoencoder = load_network(find_autoencoder("starter"), dtype=torch.float32)
    exact, quick = (encode_pictures(autoencoder, pictures, "cpu", quick=quick) for quick in (False, True))
    assert not torch.equal(exact, quick)
    ratios = [psnr(autoencoder, latents, to_signed(pictures)) for latents in (exact, quick)]
    assert min(ratios) > 20
    assert abs(ratios[0] - ratios[1]) <= float(said[1])


@torch.no_grad()
def psnr(autoencoder: torch.nn.Module, latents: Tensor, pixels: Tensor) -> float:
    decoded = autoencoder.decode(latents.float()).clamp(-1, 1)
    return float(10 * torch.log10(4 / (decoded - pixels).square().mean()))


@pytest.mark.slow
def test_the_memory_plans_of_the_published_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["memory_plans.py", "--json", str(tmp_path / "plans.json")])
    benchmark("memory_plans").main()
    plans = json.loads((tmp_path / "plans.json").read_text())
    sizes = {"sana-600m-1024": "0.6B", "sana1.5-1600m-1024": "1.6B", "sana1.5-4800m-1024": "4.8B"}
    assert len(plans) == 2 * 9
    for kept, recomputed in zip(plans[::2], plans[1::2], strict=True):
        told = row(page("docs", "autoencoder-training.md"), sizes[kept["preset"]], kept["optimizer"])
        values = [kept[name] for name in ("weights", "gradients", "optimizer", "ema", "activations", "total")]
        found = [f"{value / 1e9:.1f}" for value in values]
        found[4:] = [
            f"{own} ({recomputed[name] / 1e9:.1f})"
            for own, name in zip(found[4:], ("activations", "total"), strict=True)
        ]
        if not torch.cuda.is_available():  # the table was made without one
            assert told == found


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "pattern"), [
    ("linear_attention", r"([\d.]+)× faster than the quadratic form at 256 tokens, ([\d.]+)× at 1 024"),
    ("mix_ffn", r"([\d.]+)× faster in float32"),
])  # fmt: skip
def test_kernels_are_as_much_faster_as_their_pages_say(kernel: str, pattern: str) -> None:
    """To a factor of two: machines differ."""
    told = re.search(pattern, re.sub(r"\s+", " ", page("src", "sanakit", "kernels", kernel, "README.md")))
    assert told is not None
    for number, ratio in zip(told.groups(), measured_ratios(benchmark("kernels"), kernel), strict=True):
        assert float(number) / 2 <= ratio <= float(number) * 2


def measured_ratios(module: ModuleType, kernel: str) -> list[float]:
    if kernel == "linear_attention":
        cases: list[tuple[Callable[[], Tensor], Callable[[], Tensor]]] = []
        for tokens in (256, 1024):
            q, k, v = (torch.randn(1, 36, tokens, 32) for _ in range(3))
            cases.append((
                lambda q=q, k=k, v=v: module.linear_attention(q, k, v),  # type: ignore[misc]
                lambda q=q, k=k, v=v: module.quadratic_attention(q, k, v),  # type: ignore[misc]
            ))  # fmt: skip
    else:
        x, weight, bias = (torch.randn(shape) for shape in ((2, 1024, 5760), (5760, 1, 3, 3), (5760,)))
        cases = [(
            lambda: module.gated_depthwise(x, weight, bias, height=32, width=32),
            lambda: module.gated_depthwise_channels_first(x, weight, bias, 32, 32),
        )]  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            return [module.compare(kernel, ours, other) for ours, other in cases]
    finally:
        torch.set_num_threads(threads)
