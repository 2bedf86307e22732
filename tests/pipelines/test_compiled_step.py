"""A denoising step whose shapes stay, and a loop that waits for no device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode

import sanakit
from sanakit.checkpoints.bundle import ModelBundle
from sanakit.cli.app import main
from sanakit.common.errors import RequestError
from sanakit.models.transformers.compiled_step import MAX_RECORDINGS, CompiledStep
from sanakit.models.transformers.condition import Condition
from sanakit.pipelines.decoding.beside import Decodings
from sanakit.pipelines.denoise import Denoiser, Finished, denoise
from sanakit.pipelines.jobs import picture_job
from sanakit.pipelines.plan import plan_pictures
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline

REQUESTS = [
    GenerationRequest(prompt=prompt, seed=seed, num_inference_steps=4, guidance_scale=4.5, pag_scale=pag)
    for seed, (prompt, pag) in enumerate([("a cat", 0.0), ("two red apples", 0.0), ("a dog", 2.0)])
]


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def jobs_of(requests: list[GenerationRequest], pipeline: TextToImagePipeline) -> list[Any]:
    """As on a GPU: texts of one length, none folded."""

    def prepare(*asked: Any) -> Condition:
        return replace(pipeline.prepare(*asked).pad(20), folded=())

    plans = plan_pictures(requests, pipeline.bundle.card, pipeline.granularity)
    return [picture_job(plan, noise, prepare) for plan, noise in zip(plans, pipeline.noises(plans, None), strict=True)]


def latents(denoiser: Denoiser[int], jobs: list[Any]) -> list[Tensor]:
    found = {event.key: event.latent for event in denoise(denoiser, jobs) if isinstance(event, Finished)}
    return [found[key] for key in sorted(found)]


def test_pictures_of_one_shape_are_compiled_once(pipeline: TextToImagePipeline) -> None:
    """Neither another block, step, prompt or seed compiles anew; three rows in place of two do, and a block with
    perturbed rows is another one."""
    network = pipeline.bundle.transformer
    step = CompiledStep(network, backend="eager")
    torch._dynamo.reset()
    counters.clear()
    found = latents(Denoiser(network, step=step), jobs_of(REQUESTS[:2], pipeline))
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    found += latents(Denoiser(network, step=step), jobs_of(REQUESTS[2:], pipeline))
    assert counters["stats"]["unique_graphs"] == 3
    assert all("forward" not in vars(block) for block in network.units)
    expected = latents(Denoiser(network), jobs_of(REQUESTS, pipeline))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_few_shapes_are_remembered(pipeline: TextToImagePipeline) -> None:
    condition = replace(pipeline.prepare("a cat", True), folded=())
    step, made = CompiledStep(pipeline.bundle.transformer), []
    step._network = lambda latent, timestep, condition: made.append(latent) or latent  # type: ignore[func-returns-value]
    for side in [*range(2, MAX_RECORDINGS + 3), 2]:
        latent = torch.full((1, 4, side, side), float(side))
        assert torch.equal(step(latent, torch.ones(1), condition), latent)
        assert len(step._recordings) <= MAX_RECORDINGS
    first, again = made[0], made[-1]
    assert first is not again  # the oldest had to go


def test_the_condition_of_another_prompt_is_copied(pipeline: TextToImagePipeline) -> None:
    first, second = (replace(pipeline.prepare(text, True).pad(20), folded=()) for text in ("a cat", "two red apples"))
    step = CompiledStep(pipeline.bundle.transformer)
    step._network = pipeline.bundle.transformer
    latent, time = torch.ones(1, 4, 4, 4), torch.full((1,), 500.0)
    for condition in (first, second, first, first.perturb((1,))):
        expected = pipeline.bundle.transformer(latent, time, condition)
        assert torch.equal(step(latent, time, condition), expected)


class NobodyWaits(TorchDispatchMode):
    """Refuses what needs a number, or numbers, of a device."""

    WAITING = ("_local_scalar_dense", "nonzero", "unique", "masked_select", "equal", "is_nonzero", "repeat_interleave")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.split(".")[0].strip("_")
        assert name not in [each.strip("_") for each in self.WAITING], f"{func} waits for the device"
        assert "index" not in name or not any(
            isinstance(x, Tensor) and x.dtype == torch.bool for x in (args[1] or ()) if name.startswith("index")
        ), f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("solver", ["flow-dpm", "flow-euler"])
def test_the_loop_waits_for_no_device(
    solver: str, pipeline: TextToImagePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first step to the last latent nothing is read from a device, and no numbers are copied there."""
    jobs = jobs_of([request.model_copy(update={"solver": solver}) for request in REQUESTS], pipeline)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("it waits for the device")

    with monkeypatch.context() as patch:
        for name in ("item", "cpu", "tolist", "numpy", "nonzero", "__bool__", "__float__", "__int__", "cuda"):
            patch.setattr(Tensor, name, refuse)
        for name in ("tensor", "as_tensor", "from_numpy"):
            patch.setattr(torch, name, refuse)
        with NobodyWaits():
            found = latents(pipeline.denoiser(), jobs)
    assert len(found) == len(REQUESTS)


def test_what_waits_is_found() -> None:
    """Or the test above could not fail."""
    for waits in (lambda x: x.item(), bool, torch.nonzero, lambda x: torch.arange(1)[x > 0]):
        with pytest.raises(AssertionError, match="waits for the device"), NobodyWaits():
            waits(torch.ones(1))


def test_pictures_decoded_beside_are_the_same_to_the_bit(
    pipeline: TextToImagePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    expected = pipeline(REQUESTS, output="tensor").images
    monkeypatch.setattr(pipeline, "_has_room_beside", lambda plans: True)
    found = pipeline(REQUESTS, output="tensor", on_event=told.append).images
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(found, expected, strict=True))
    assert [event.image_index for event in told if hasattr(event, "image")] == [0, 1, 2]


@pytest.mark.parametrize("beside", [None, torch.device("cpu")])
def test_decodings_come_in_order_and_raise(beside: torch.device | None) -> None:
    with Decodings(lambda n: 6 // n, beside=beside) as decodings:
        for index, divisor in enumerate((3, 2, 1)):
            decodings.add(index, divisor)
        assert list(decodings.ready(wait=True)) == [(0, 2), (1, 3), (2, 6)]
        assert list(decodings.ready(wait=True)) == []
        with pytest.raises(ZeroDivisionError):  # at once, or when it is asked for
            decodings.add(3, 0) or list(decodings.ready(wait=True))  # type: ignore[func-returns-value]


def test_a_step_is_not_compiled_for_the_cpu(tiny_bundle: ModelBundle, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "a step is compiled for CUDA devices; on cpu leave out compile, which does not pay there"
    with pytest.raises(RequestError, match=sentence):
        TextToImagePipeline(tiny_bundle, compile=True)
    with pytest.raises(RequestError, match=sentence):
        sanakit.load(compile=True)
    assert main(["generate", "a cat", "--compile", "--device", "cpu"]) == 2
    assert sentence in capsys.readouterr().err
