"""The bench on tiny networks: both sides agree, the control does not, and what was asked for is what is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sanakit.bench.case import Case, StageResult, psnr_of, relative_error
from sanakit.bench.floors import Rates, Work, counted_flops
from sanakit.bench.peer import peer_language_model
from sanakit.bench.random_weights import built, random_autoencoder, random_transformer
from sanakit.bench.report import BenchReport, machine_facts, memory_row, time_row
from sanakit.bench.run import CASES, measure, run_stages
from sanakit.bench.settings import TINY, BenchSettings, parse_stages, shape_of
from sanakit.bench.stages import training
from sanakit.bench.stages.networks import step_work
from sanakit.bench.stages.text import NUM_WORDS, PROMPT, random_text_encoder, tokenizer_of_words
from sanakit.bench.stopwatch import Sample, Times, interleaved, peak_bytes, timed
from sanakit.cli.app import main
from sanakit.common.errors import RequestError
from sanakit.models.text.decoder import Decoder
from sanakit.models.text.instructions import DIFFUSERS_INSTRUCTION
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.training.optimizers.build import is_block_matrix

SETTINGS = BenchSettings(model="tiny", height=64, width=96, repeats=1)
RATES = Rates(flops=1e9, bytes=1e9)


@pytest.mark.parametrize("batch", [1, 2])
def test_both_sides_agree_and_the_control_differs(batch: int) -> None:
    stages = ("text", "step", "decode", "encode", "picture", "sprint")
    found = list(run_stages(replace(SETTINGS, batch=batch, steps=3), stages, RATES))
    assert [result.name for result in found] == list(stages)
    for result in found:
        assert result.error is not None
        assert result.control is not None
        assert result.error < 1e-5 < 1e-4 < result.control, result
        assert result.agrees
        assert result.ratio is not None
        assert result.floor
        assert 0 < result.weights < 2e6
        assert (result.psnr is not None) == (result.name in ("picture", "sprint"))
        assert result.psnr is None or result.psnr > 100


def test_training_steps_have_the_gradients_of_torchs_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(training.SHAPE, hidden_size=64, num_layers=2, caption_channels=32)
    monkeypatch.setattr(training, "SHAPE", small)
    monkeypatch.setattr(training, "NUM_PICTURES", 2)
    [result] = run_stages(replace(SETTINGS, repeats=2), ("training",), RATES)
    assert result.error is not None
    assert result.control is not None
    assert result.error < 1e-5 < 1e-3 < result.control
    assert result.ratio
    assert result.weights == 4 * sum(p.numel() for p in LinearDiT(small).parameters())
    products = 3 * 2 * sum(p.numel() for name, p in LinearDiT(small).named_parameters() if is_block_matrix(name, p))
    assert result.flops is not None
    assert result.flops > 0.8 * products * 2 * 64  # of every token at least; the text has fewer for fewer weights


def test_a_table_of_tokens_that_is_stored_narrower_is_wide_at_the_peer() -> None:
    model = random_text_encoder(SETTINGS).model
    assert isinstance(model, Decoder)
    model.embed_tokens.bfloat16()
    ids = torch.arange(2, 9)[None]
    ours, theirs = model(ids)[0], peer_language_model(model)(ids).last_hidden_state
    assert theirs.dtype == torch.float32
    assert relative_error(ours, theirs) < 1e-5


def test_fewer_bits_for_ours_alone() -> None:
    names = ("text", "step", "decode", "picture")
    every = ",".join(f"{name}=int8-weight" for name in ("transformer", "autoencoder", "text_encoder"))
    quantized = replace(SETTINGS, quantize=every, steps=2)
    plain, narrow = (list(run_stages(each, names, RATES)) for each in (replace(SETTINGS, steps=2), quantized))
    for wide, result in zip(plain, narrow, strict=True):
        assert result.error is not None
        assert wide.error is not None
        assert result.error > 100 * wide.error, result.name
        assert result.weights < 0.95 * wide.weights, result.name
    with pytest.raises(RequestError, match="int9"):
        replace(SETTINGS, quantize="int9")


def test_without_diffusers_ours_is_measured_alone() -> None:
    [result] = run_stages(replace(SETTINGS, peer=False), ("step",), RATES)
    assert result.ours.wall > 0
    assert result.peer is result.error is result.ratio is result.agrees is None
    assert result.control
    assert time_row(result)[3:7] == ("-", "-", "-", "-")
    assert memory_row(result)[3:5] == ("-", "-")


@pytest.mark.parametrize("seed", [0, 7])
def test_every_tensor_counts(seed: int) -> None:
    """Each moves the output; a gate that were 0 would hide a branch, and every error in it."""
    steps = CASES["step"](replace(SETTINGS, peer=False, seed=seed))
    [(denoiser, _)] = steps.ours.groups  # type: ignore[attr-defined]
    before = steps.ours()
    for name, tensor in denoiser.transformer.state_dict().items():
        if "caption" in name or "cross_attention.kv" in name or "cross_attention.norm_k" in name:
            continue  # in what was prepared
        kept = tensor.clone()
        tensor.mul_(1.5).add_(0.1 if tensor.ndim == 1 else 0)
        for other, _ in steps.ours.groups:  # type: ignore[attr-defined]
            other.remove(0)
        assert relative_error(steps.ours(), before) > 1e-6, name
        tensor.copy_(kept)


def test_text_has_the_layers_that_were_asked_for() -> None:
    whole, one = SETTINGS.text_shape, replace(SETTINGS, text_layers=1).text_shape
    assert (whole.num_layers, one.num_layers) == (3, 1)
    assert whole.sliding_layers == (0, 2)
    assert one.sliding_layers == (0,)
    assert shape_of("0.6B").text.num_layers == 26
    tokenizer = tokenizer_of_words()
    assert len(tokenizer.encode(PROMPT).ids) == NUM_WORDS + 1  # after the start token
    assert "<unk>" not in tokenizer.encode(DIFFUSERS_INSTRUCTION.lower() + PROMPT).tokens


def test_processes_that_were_started_count() -> None:
    busy = [sys.executable, "-c", "sum(range(3_000_000))"]
    assert timed(lambda: subprocess.run(busy, check=True), "cpu").cpu >= 0.03


def test_weights_are_drawn_by_name_and_seed() -> None:
    first, again, other = (random_transformer(TINY.transformer, seed, torch.float32).tensors for seed in (0, 0, 1))
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not any(torch.equal(tensor, other[name]) for name, tensor in first.items())
    state = random_autoencoder(TINY.autoencoder, 0, torch.bfloat16)
    network = built(state, "cpu")
    assert network.compute_dtype == torch.bfloat16
    name, tensor = next(iter(network.state_dict().items()))
    assert tensor.data_ptr() == state.tensors[name].data_ptr()  # one memory for both sides


def test_floor_is_counted_from_the_network() -> None:
    a, b = torch.empty(3, 5, device="meta"), torch.empty(5, 7, device="meta")
    assert counted_flops(lambda: a @ b) == 2 * 3 * 5 * 7
    one, two = (step_work(replace(SETTINGS, batch=batch)) for batch in (1, 2))
    assert two.flops == 2 * one.flops
    assert RATES.floor(Work(flops=2e9, bytes=3e9)) == 3.0
    assert RATES.floor(Work(flops=2e9, bytes=1e9)) == 2.0
    assert Work(flops=1, bytes=2) + Work(flops=3, bytes=4).times(2) == Work(flops=7, bytes=10)


def test_sides_take_turns_and_stop_in_time() -> None:
    calls: list[str] = []
    a, b = interleaved([lambda: calls.append("a"), lambda: calls.append("b")], repeats=3, seconds=9, device="cpu")
    assert calls == list("ababab")
    assert len(a.samples) == len(b.samples) == 3
    [only] = interleaved([lambda: None], repeats=3, seconds=0.0, device="cpu")
    assert len(only.samples) == 1


def test_peak_is_what_a_call_takes_beside_what_was_there() -> None:
    kept = torch.ones(4_000_000)
    peak = peak_bytes(lambda: torch.ones(8_000_000).sum(), "cpu")
    if peak is None:
        pytest.skip("this system tells no peaks")
    assert 0.9 * 32e6 < peak < 2 * 32e6, peak
    assert kept.numel()


def test_a_wrong_result_is_said() -> None:
    right, wrong = torch.ones(4), torch.tensor([1.0, 1.0, 1.0, 2.0])
    case = Case(ours=lambda: wrong, peer=lambda: right, control=lambda: wrong, work=None)
    found = measure("step", case, SETTINGS, RATES, seconds=1.0)
    assert found.error == found.control == 1.0
    assert found.agrees is False
    report = BenchReport(settings=SETTINGS, command="", rates=RATES, stages=[found], machine=machine_facts("cpu"))
    assert any("results differ by 1.0e+00" in remark for remark in report.remarks())
    assert relative_error(torch.full((2,), float("nan")), torch.ones(2)) == float("inf")
    assert psnr_of(torch.zeros(3), torch.full((3,), 0.2)) == pytest.approx(20.0)


def test_medians_and_a_busy_machine() -> None:
    times = Times((Sample(3.0, 1.0), Sample(1.0, 2.0), Sample(8.0, 9.0)))
    assert (times.wall, times.cpu, times.least, times.most) == (3.0, 2.0, 1.0, 8.0)
    result = StageResult(name="step", ours=times, peer=Times((Sample(6.0, 8.0),)), floor=1.5, others=50.0)
    assert (result.ratio, result.cpu_ratio, result.reached) == (2.0, 4.0, 0.5)
    assert time_row(result)[:6] == ("step", "3 s", "-67% +167%", "6 s", "-", "2.00x")  # one sample has no spread
    report = BenchReport(settings=SETTINGS, command="", rates=RATES, stages=[result], machine=machine_facts("cpu"))
    assert "this machine is busy: other programs used up to 50.0 of its" in next(report.remarks())
    assert json.loads(json.dumps(report.to_json()))["stages"][0]["ours"]["samples"][0]["wall"] == 3.0


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.json"
    words = ["bench", "--model", "tiny", "--size", "64", "--stages", "decode,step", "--repeats", "1", "--threads", "1"]
    assert main([*words, "--quick", "--device", "cpu", "--output", str(file)]) == 0
    out = capsys.readouterr().out
    assert "tiny, 64x64 px, float32" in out
    assert out.index("\nstep") < out.index("\ndecode")
    report = json.loads(file.read_text())
    assert [stage["name"] for stage in report["stages"]] == ["step", "decode"]
    assert report["command"].startswith("sanakit bench --stages decode,step --model tiny")
    assert "--device cpu" in report["command"]
    assert report["versions"]["diffusers"]
    assert report["machine"]["threads"] == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model", "2B"], "--model 2B is no shape that there is; write one of 0.6B, 1.6B, tiny"),
        (["--size", "100"], "--size 100x100 does not fit; both sides must be multiples of 32 pixels"),
        (["--size", "0x64"], "both sides must be multiples of 32"),
        (["--stages", "dance"], "--stages has no dance; write some of text, step"),
        (["--stages", ","], "--stages names nothing"),
        (["--dtype", "int3"], "--dtype int3 is not offered"),
    ],
)
def test_what_cannot_be_measured(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_shapes_and_stages() -> None:
    assert shape_of("0.6B").transformer.hidden_size == 1152
    assert shape_of("sana1.5-4800m-1024").transformer.num_layers == 60
    assert parse_stages("encode, step,step") == ("step", "encode")
    with pytest.raises(RequestError, match="--repeats 0 measures nothing"):
        replace(SETTINGS, repeats=0)
