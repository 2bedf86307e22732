"""Pictures that come and go in the calls of one network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import sanakit.pipelines.denoise as module
from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.errors import ConfigError, PictureError
from sanakit.common.seeds import draw_noise
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.pipelines.denoise import Denoiser, Finished, PictureJob, StepTaken, denoise, rows_per_call
from sanakit.pipelines.jobs import picture_job
from sanakit.pipelines.latent_file import SavedLatent, load_latent, save_latent
from sanakit.pipelines.plan import PicturePlan, plan_pictures
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline, model_reference
from sanakit.sampling.evaluation import Evaluation

REQUESTS = [
    GenerationRequest(prompt="a cat", seed=1, num_inference_steps=4, guidance_scale=4.5),
    GenerationRequest(prompt="a longer prompt", seed=2, num_inference_steps=2, guidance_scale=1.0),
    GenerationRequest(prompt="x", seed=3, num_inference_steps=3, guidance_scale=3.0, pag_scale=2.0),
]


@pytest.fixture(autouse=True)
def without_gradients() -> Iterable[None]:
    with torch.no_grad():
        yield


def plan_of(request: GenerationRequest, pipeline: TextToImagePipeline) -> PicturePlan:
    return plan_pictures([request], pipeline.bundle.card, pipeline.granularity)[0]


def noise_of(plan: PicturePlan) -> Tensor:
    return draw_noise((4, *(side // 16 for side in plan.generated)), plan.request.seed)[None]


def job_of(request: GenerationRequest, pipeline: TextToImagePipeline) -> PictureJob:
    plan = plan_of(request, pipeline)
    return picture_job(plan, noise_of(plan), pipeline.prepare)


def latents_of(denoiser: Denoiser[int], jobs: Iterable[PictureJob]) -> dict[int, Tensor]:
    return {event.key: event.latent for event in denoise(denoiser, jobs) if isinstance(event, Finished)}


class Calls:
    """The rows of every call of a network."""

    def __init__(self, network: LinearDiT, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        forward = network.forward
        monkeypatch.setattr(network, "forward", lambda latent, *others: self.seen(latent) or forward(latent, *others))

    def seen(self, latent: Tensor) -> None:
        self.rows.append(latent.shape[0])


def test_pictures_share_calls_on_accelerators_only_and_large_ones_less() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert rows_per_call(cpu, (32, 32, 32)) == 1
    rows = [rows_per_call(cuda, (32, side, side)) for side in (8, 32, 64, 128, 256)]
    assert rows == [16, 16, 4, 1, 1]  # of 1024, 2048 and 4096 px from the second on
    assert rows_per_call(cuda, (32, 32, 32), 6) == 6
    assert rows_per_call(cuda, (16, 5, 64, 64)) == 1  # frames count too


def test_on_the_cpu_every_picture_has_its_own_calls(
    pipeline: TextToImagePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(pipeline.bundle.transformer, monkeypatch)
    latents_of(pipeline.denoiser(), (job_of(request, pipeline) for request in REQUESTS))
    assert calls.rows == [2, 2, 2, 2, 1, 1, 3, 3, 3]


def test_pictures_denoised_together_follow_the_same_paths(
    pipeline: TextToImagePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What accelerators do: different steps, guidance and text lengths in one call; equal but for rounding."""
    alone = [pipeline(request).images[0].latent for request in REQUESTS]
    monkeypatch.setattr(module, "rows_per_call", lambda device, shape, max_rows: 16)
    calls = Calls(pipeline.bundle.transformer, monkeypatch)
    together = latents_of(pipeline.denoiser(), (job_of(request, pipeline) for request in REQUESTS))
    assert calls.rows == [6, 6, 5, 2]
    for index, latent in enumerate(alone):
        torch.testing.assert_close(together[index], latent, rtol=1e-4, atol=1e-4)


def test_only_pictures_of_one_size_share_a_call(pipeline: TextToImagePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "rows_per_call", lambda device, shape, max_rows: 16)
    calls = Calls(pipeline.bundle.transformer, monkeypatch)
    sizes = [{}, {"height": 96, "width": 160}, {}]
    requests = [GenerationRequest(prompt="a cat", num_inference_steps=2, **size) for size in sizes]
    latents_of(pipeline.denoiser(), [job_of(request, pipeline) for request in requests])
    assert calls.rows == [4, 4, 2, 2]


def test_the_next_picture_is_prepared_when_there_is_room_for_it(pipeline: TextToImagePipeline) -> None:
    prepared: list[int] = []

    def jobs() -> Iterable[PictureJob]:
        for index in range(3):
            prepared.append(index)
            yield job_of(REQUESTS[1], pipeline)

    finished = [len(prepared) for event in denoise(pipeline.denoiser(), jobs()) if isinstance(event, Finished)]
    assert finished == [1, 2, 3]


def test_with_fixed_rows_a_picture_is_equal_in_any_company(
    tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit: pictures join and leave in different rounds, at different places of the call, and are cancelled."""
    pipeline = TextToImagePipeline(tiny_bundle, deterministic=8)
    calls = Calls(tiny_bundle.transformer, monkeypatch)
    alone = [latents_of(pipeline.denoiser(), [job_of(request, pipeline)])[0] for request in REQUESTS]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        denoiser, found = pipeline.denoiser(), {}
        waiting = [(number, REQUESTS[number]) for number in order]
        denoiser.add("cancelled", job_of(GenerationRequest(prompt="in the first place"), pipeline))
        while len(denoiser) or waiting:
            if waiting:
                number, request = waiting.pop(0)
                denoiser.add(number, job_of(request, pipeline))
            for event in denoiser.round():
                if isinstance(event, Finished):
                    found[event.key] = event.latent
            if len(waiting) == 1:
                denoiser.remove("cancelled")
        assert all(torch.equal(found[number], latent) for number, latent in enumerate(alone))
    assert set(calls.rows) == {8}


def test_fixed_rows_are_not_shared_by_texts_of_different_lengths(pipeline: TextToImagePipeline) -> None:
    """Padding changes the last bit of attention, so who is not padded to one length keeps to itself."""
    fixed = Denoiser[int](pipeline.bundle.transformer, fixed_rows=8)
    jobs = [job_of(request, pipeline) for request in REQUESTS]
    together = latents_of(fixed, jobs)
    for number, request in enumerate(REQUESTS):
        alone = Denoiser[int](pipeline.bundle.transformer, fixed_rows=8)
        assert torch.equal(latents_of(alone, [job_of(request, pipeline)])[0], together[number])


def test_a_picture_that_needs_more_rows_than_there_are_is_refused(tiny_bundle: ModelBundle) -> None:
    with pytest.raises(ConfigError, match="3 rows does not fit into 2"):
        TextToImagePipeline(tiny_bundle, deterministic=2)(REQUESTS[2])


def test_who_went_away_in_the_middle_of_a_round_can_go_on(pipeline: TextToImagePipeline) -> None:
    expected = pipeline(REQUESTS[0]).images[0].latent
    denoiser = pipeline.denoiser()
    denoiser.add(0, job_of(REQUESTS[0], pipeline))
    steps = [next(denoiser.round()) for _ in range(3)]  # never taken up: the same step again
    assert [step.evaluation.index for step in steps if isinstance(step, StepTaken)] == [0, 0, 0]
    events = [event for _ in range(4) for event in denoiser.round()]
    assert isinstance(events[-1], Finished)
    assert torch.equal(events[-1].latent, expected)


def test_a_picture_may_leave_in_the_middle_of_a_round(pipeline: TextToImagePipeline) -> None:
    denoiser = Denoiser[str](pipeline.bundle.transformer, fixed_rows=4)
    for key in ("stays", "goes"):
        denoiser.add(key, job_of(REQUESTS[0], pipeline))
    told = []
    for event in denoiser.round():
        told.append(event.key)
        denoiser.remove("goes")
        denoiser.remove("never came")
    assert told == ["stays"]
    assert len(denoiser) == 1


@pytest.mark.parametrize("solver", ["flow-dpm", "flow-euler"])
def test_a_corrected_velocity_paints_inside_a_mask(pipeline: TextToImagePipeline, solver: str) -> None:
    """Inpainting: what is known ends where it was, as noise paths are straight; the rest is the model's."""
    known, mask = draw_noise((1, 4, 8, 8), seed=4), torch.zeros(8, 8, dtype=torch.bool)
    mask[2:6, 3:] = True

    def keep_known(step: Evaluation, velocity: Tensor) -> Tensor:
        return torch.where(mask, velocity, (step.latent - known) / step.sigma)

    job = job_of(GenerationRequest(prompt="a cat", solver=solver, num_inference_steps=6), pipeline)
    painted = latents_of(pipeline.denoiser(), [replace(job, correct=keep_known)])[0][0]
    torch.testing.assert_close(painted[:, ~mask], known[0][:, ~mask], rtol=0, atol=2e-6)
    plain = pipeline("a cat", solver=solver, num_inference_steps=6).images[0].latent[0]
    assert (painted - plain)[:, mask].abs().max() > 1e-3  # it has seen what is known


@pytest.mark.parametrize("solver", ["flow-dpm", "flow-euler"])
@pytest.mark.parametrize(("step", "reuse"), [(0, 0.0), (1, 0.0), (3, 0.0), (5, 0.0), (1, 0.9), (2, 0.9)])
def test_an_unfinished_picture_is_saved_and_finished_later(
    pipeline: TextToImagePipeline, tmp_path: Path, solver: str, step: int, reuse: float
) -> None:
    plan = plan_of(GenerationRequest(prompt="a cat", solver=solver, num_inference_steps=6, reuse=reuse), pipeline)
    record = pipeline.record_of(plan, model_reference(pipeline.bundle))
    whole = pipeline(record.request).images[0].latent
    denoiser = pipeline.denoiser()
    denoiser.add(0, picture_job(plan, noise_of(plan), pipeline.prepare))
    for _ in range(step + 1):
        (taken, *_) = denoiser.round()
    assert isinstance(taken, StepTaken)
    wish = taken.evaluation
    step = wish.index  # later than the round where some were spared
    left = SavedLatent(latent=wish.latent, record=record, index=wish.index, previous=wish.previous, known=wish.known)
    saved = load_latent(save_latent(tmp_path / "left.safetensors", left))
    assert saved.index == step
    with pytest.raises(PictureError, match=f"step {step} of its picture is still to be done"):
        pipeline.decode(saved)
    again = plan_of(saved.record.request, pipeline)
    job = picture_job(again, saved.latent, pipeline.prepare, start=step, previous=saved.previous, known=saved.known)
    assert torch.equal(latents_of(pipeline.denoiser(), [job])[0], whole)


def test_reused_velocities_spare_calls_and_pictures_are_the_same_in_any_company(
    pipeline: TextToImagePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [request.model_copy(update={"reuse": 0.9, "num_inference_steps": 12}) for request in REQUESTS]
    alone = [latents_of(pipeline.denoiser(), [job_of(request, pipeline)])[0] for request in requests]
    calls = Calls(pipeline.bundle.transformer, monkeypatch)
    together = pipeline(requests).images
    assert all(torch.equal(image.latent, latent) for image, latent in zip(together, alone, strict=True))
    assert 9 <= len(calls.rows) < 3 * 12, calls.rows
    assert "velocities that were reused" in together[0].record.needs
    assert '"reuse": 0.9' in together[0].record.to_json()
    plain = pipeline(REQUESTS[0]).images[0].record
    assert "reuse" not in plain.to_json()  # as before there was such a thing


def test_a_round_of_nobody_is_no_call(pipeline: TextToImagePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(pipeline.bundle.transformer, monkeypatch)
    assert list(pipeline.denoiser().round()) == []
    assert calls.rows == []
