"""The walk of a prompt on a tiny model."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import sanakit.pipelines.text_to_image as text_to_image
from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.identity.hashing import combined_hash
from sanakit.common.errors import CheckpointError, DecodeMemoryError, RequestError, SanakitError
from sanakit.common.seeds import draw_noise
from sanakit.kernels.arithmetic import own_arithmetic
from sanakit.models.text.text_encoder import TextEncoder
from sanakit.pipelines.denoise import StepTaken
from sanakit.pipelines.events import Event, ImageDone, Notice, StepDone
from sanakit.pipelines.latent_file import load_latent
from sanakit.pipelines.record import describe_image
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.result import GeneratedImage, to_image
from sanakit.pipelines.text_to_image import FIXED_ROWS, TextToImagePipeline


@pytest.fixture
def pipeline(tiny_bundle: ModelBundle, tmp_path: Path) -> TextToImagePipeline:
    return TextToImagePipeline(tiny_bundle, rescue_folder=tmp_path / "rescue")


def same(left: GeneratedImage, right: GeneratedImage) -> bool:
    assert left.image is not None
    assert right.image is not None
    return torch.equal(left.latent, right.latent) and left.image.tobytes() == right.image.tobytes()


def test_a_prompt_becomes_a_picture_of_the_models_size(pipeline: TextToImagePipeline) -> None:
    (made,) = pipeline("a cat").images
    assert made.image is not None
    assert made.image.size == (128, 128)
    assert made.latent.shape == (1, 4, 8, 8)
    assert made.record.image == describe_image(made.image)


def test_an_image_alone_equals_it_in_any_company(pipeline: TextToImagePipeline) -> None:
    """Bit for bit: more images, mixed prompts, lengths, guidance and sizes, another order."""
    requests = [
        GenerationRequest(prompt="a cat", seed=5, num_images=3),
        GenerationRequest(prompt="two red apples on a blue table", seed=6, num_inference_steps=2),
        GenerationRequest(prompt="犬", seed=6, guidance_scale=1.0, solver="flow-euler"),
        GenerationRequest(prompt="a cat", negative_prompt="blurry", pag_scale=2.0, height=96, width=160),
    ]
    together = pipeline(requests).images
    backwards = pipeline(requests[::-1]).images
    alone = [pipeline(request).images for request in requests]
    flat = [image for images in alone for image in images]
    assert len(together) == 6
    assert all(same(left, right) for left, right in zip(together, flat, strict=True))
    flat_backwards = [image for images in alone[::-1] for image in images]
    assert all(same(left, right) for left, right in zip(backwards, flat_backwards, strict=True))


def test_image_j_has_seed_plus_j(pipeline: TextToImagePipeline) -> None:
    three = pipeline("a cat", seed=10, num_images=3).images
    assert [image.record.request.seed for image in three] == [10, 11, 12]
    assert same(three[2], pipeline("a cat", seed=12).images[0])
    assert not same(three[0], three[1])


def test_a_records_request_makes_the_picture_again(pipeline: TextToImagePipeline) -> None:
    made = pipeline("a cat", seed=3, num_images=2, pag_scale=1.5).images[1]
    assert same(made, pipeline(made.record.request).images[0])


def test_half_precision_networks_and_their_company(tiny_bundle: ModelBundle) -> None:
    parts = {name: copy.deepcopy(getattr(tiny_bundle, name)).bfloat16() for name in ("transformer", "autoencoder")}
    pipeline = TextToImagePipeline(replace(tiny_bundle, **parts))
    requests = [GenerationRequest(prompt="a cat", seed=2), GenerationRequest(prompt="犬 on a table", num_images=2)]
    together = pipeline(requests).images
    assert together[0].record.model.dtypes["transformer"] == "bfloat16"
    assert together[0].latent.dtype == torch.float32
    assert same(together[0], pipeline(requests[0]).images[0])
    assert same(together[2], pipeline("犬 on a table", seed=1).images[0])


def test_the_clean_latent_of_a_step_is_only_made_for_a_listener(
    pipeline: TextToImagePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[StepTaken] = []
    monkeypatch.setattr(StepTaken, "denoised", property(lambda step: made.append(step) or step.velocity))
    pipeline("a cat")
    assert not made
    pipeline("a cat", on_event=lambda event: None)
    assert len(made) == 3


def test_a_deterministic_picture_is_recorded_as_one_and_equal_in_any_company(tiny_bundle: ModelBundle) -> None:
    pipeline = TextToImagePipeline(tiny_bundle, deterministic=True)
    requests = [
        GenerationRequest(prompt="a cat", seed=5, num_images=2),
        GenerationRequest(prompt="two red apples on a blue table", pag_scale=2.0, num_inference_steps=2),
        GenerationRequest(prompt="犬", guidance_scale=1.0, solver="flow-euler"),
    ]
    together = pipeline(requests).images
    alone = [image for request in requests for image in pipeline(request).images]
    assert all(same(left, right) for left, right in zip(together, alone, strict=True))
    assert [image.record.rows_per_call for image in together] == [FIXED_ROWS] * 4
    assert TextToImagePipeline(tiny_bundle, deterministic=3).fixed_rows == 3
    plain = TextToImagePipeline(tiny_bundle)(requests[0]).images[0]
    assert plain.record.rows_per_call is None
    assert plain.record.threads == torch.get_num_threads()
    torch.testing.assert_close(plain.latent, together[0].latent, rtol=1e-4, atol=1e-4)


def test_every_setting_changes_the_picture(pipeline: TextToImagePipeline) -> None:
    plain = pipeline("a cat").images[0]
    for fields in (
        {"seed": 1}, {"num_inference_steps": 4}, {"guidance_scale": 2.0}, {"guidance_interval": (0.3, 0.97)},
        {"pag_scale": 2.0}, {"solver": "flow-euler"}, {"flow_shift": 4.0}, {"negative_prompt": "dog"},
        {"use_instruction": False}, {"height": 96, "width": 96},
    ):  # fmt: skip
        assert not same(plain, pipeline("a cat", **fields).images[0]), fields


def test_given_noise_is_used(pipeline: TextToImagePipeline) -> None:
    noise = torch.stack([draw_noise((4, 8, 8), seed) for seed in (8, 9)])
    given = pipeline("a cat", num_images=2, latents=noise).images
    assert same(given[1], pipeline("a cat", seed=9).images[0])
    with pytest.raises(RequestError, match=r"latents of shape \(2, 4, 8, 8\) do not fit"):
        pipeline("a cat", latents=noise)


def test_outputs(pipeline: TextToImagePipeline) -> None:
    latent = pipeline("a cat", output="latent").images[0]
    assert latent.image is None
    assert latent.pixels is None
    pixels = pipeline("a cat", output="tensor", height=96, width=160).images[0].pixels
    assert pixels is not None
    assert pixels.shape == (3, 96, 160)
    pixels.clamp_(-1, 1)  # a normal tensor, which may be changed
    plain = pipeline("a cat", output="tensor").images[0].pixels
    assert plain is not None
    assert not plain.is_inference()


def test_events_tell_every_step_and_picture(pipeline: TextToImagePipeline) -> None:
    events: list[Event] = []
    pipeline("a cat", num_images=2, on_event=events.append)
    steps = [(e.image_index, e.index, e.total, e.num_images) for e in events if isinstance(e, StepDone)]
    assert steps == [(image, step, 3, 2) for image in range(2) for step in range(3)]
    assert [e.image_index for e in events if isinstance(e, ImageDone)] == [0, 1]
    last = [e for e in events if isinstance(e, StepDone)][-1]
    done = [e for e in events if isinstance(e, ImageDone)][-1]
    torch.testing.assert_close(last.latent, done.image.latent)  # the last preview is the picture


@pytest.mark.parametrize("prompt", ["", "  "])
def test_an_empty_prompt_is_a_picture_with_a_notice(pipeline: TextToImagePipeline, prompt: str) -> None:
    events: list[Event] = []
    assert pipeline(prompt, on_event=events.append).images[0].image is not None
    assert isinstance(events[0], Notice)
    assert "empty" in events[0].message


def test_a_long_prompt_is_cut_with_a_notice(pipeline: TextToImagePipeline) -> None:
    events: list[Event] = []
    pipeline("word " * 2000, num_inference_steps=1, on_event=events.append)
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert len(notices) == 1
    assert "the model reads 39" in notices[0]
    assert "cut off" in notices[0]


def test_a_long_hashing_is_told_before_it_is_done(
    pipeline: TextToImagePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def remember(event: Event) -> None:
        told.append(event.message if isinstance(event, Notice) else type(event).__name__)

    def hashing(bundle: ModelBundle) -> str:
        told.append("hashing")
        return "0" * 64

    monkeypatch.setattr(ModelBundle, "bytes_to_hash", lambda bundle: 10_400_000_000)
    monkeypatch.setattr(ModelBundle, "model_hash", property(hashing))
    pipeline("a cat", num_inference_steps=1, on_event=remember)
    assert told[0].startswith("the model's 10.4 GB of weights are read once")
    assert sorted(told[1:]) == ["ImageDone", "StepDone", "hashing"]
    assert told[-1] == "ImageDone"
    monkeypatch.setattr(ModelBundle, "bytes_to_hash", lambda bundle: 300_000_000)
    told.clear()
    pipeline("a cat", num_inference_steps=1, on_event=remember)
    assert sorted(told) == ["ImageDone", "StepDone", "hashing"]


def test_weights_are_hashed_while_the_steps_are_done(
    pipeline: TextToImagePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepped = threading.Event()
    waited: list[bool] = []

    def hashing(bundle: ModelBundle) -> str:
        waited.append(stepped.wait(timeout=60))
        return "5" * 64

    monkeypatch.setattr(ModelBundle, "model_hash", property(hashing))
    made = pipeline("a cat", num_inference_steps=1, on_step=lambda index, latent: stepped.set()).images[0]
    assert (made.record.model.hash, waited) == ("5" * 64, [True])
    with pytest.raises(ZeroDivisionError):  # which ends the call at once, though the hash is not there
        pipeline("a cat", num_inference_steps=1, on_step=lambda index, latent: 1 / 0)


@pytest.mark.parametrize("error", [OSError("gone"), CheckpointError("cut short")])
def test_a_picture_is_not_lost_with_the_files_of_its_model(
    error: Exception, pipeline: TextToImagePipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They went, or were damaged, while it was made: its record names the weights as they are in memory."""

    def hashing(bundle: ModelBundle) -> str:
        raise error

    expected = combined_hash(pipeline.bundle.hash_memory())
    monkeypatch.setattr(ModelBundle, "model_hash", property(hashing))
    model = pipeline("a cat", num_inference_steps=1).images[0].record.model
    assert (model.kind, model.hash, model.commits) == ("memory", expected, {})
    assert f"the files of tiny cannot be read for their hash ({error})" in caplog.text


def test_without_the_instruction_a_prompt_has_all_the_room(pipeline: TextToImagePipeline) -> None:
    """Of 40 positions the start token takes one; the notice counts as the encoder does."""
    encoder = pipeline.bundle.text_encoder
    for length, dropped in ((39, 0), (40, 1)):
        events: list[Event] = []
        pipeline("x" * length, use_instruction=False, num_inference_steps=1, on_event=events.append)
        assert encoder.encode_null("x" * length).embeds.shape[1] == 40
        assert len([event for event in events if isinstance(event, Notice)]) == dropped
    assert encoder.count_tokens("x" * 45, with_instruction=False) == (39, 6)


def test_a_listener_can_stop_the_work(pipeline: TextToImagePipeline) -> None:
    steps: list[Event] = []

    def stop(event: Event) -> None:
        steps.append(event)
        if len(steps) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline("a cat", num_images=5, on_event=stop)
    assert len(steps) == 2
    assert same(pipeline("a cat").images[0], pipeline("a cat").images[0])  # and it still works


def test_a_bad_request_fails_before_any_work(pipeline: TextToImagePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_to_image, "denoise", None)
    with pytest.raises(RequestError, match="nearest is 96"):
        pipeline([GenerationRequest(prompt="fine"), GenerationRequest(prompt="bad", height=100, width=128)])


def test_pag_needs_known_layers(tiny_bundle: ModelBundle) -> None:
    defaults = replace(tiny_bundle.card.defaults, pag_layers=())
    bundle = replace(tiny_bundle, card=replace(tiny_bundle.card, defaults=defaults))
    with pytest.raises(RequestError, match="pag_scale=2"):
        TextToImagePipeline(bundle)("a cat", pag_scale=2)


def test_numbers_that_are_none_are_not_turned_into_a_black_picture(pipeline: TextToImagePipeline) -> None:
    with pytest.raises(SanakitError, match="not numbers"):
        pipeline("a cat", latents=torch.full((1, 4, 8, 8), float("nan")))


def test_a_decode_without_memory_keeps_the_latent(
    pipeline: TextToImagePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``sanakit decode LATENT`` does: the saved latent, finished later, is the picture itself."""
    direct = pipeline("a cat", seed=4).images[0]

    def fail(latent: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr(pipeline.bundle.autoencoder, "decode", fail)
    with pytest.raises(DecodeMemoryError, match="sanakit decode") as caught:
        pipeline("a cat", seed=4)
    monkeypatch.undo()
    kept = Path(str(caught.value).rpartition(" ")[2])
    assert kept.parent == pipeline.rescue_folder
    assert same(pipeline.decode(load_latent(kept)), direct)


def test_what_the_process_sets_around_us_does_not_reach_a_picture(tiny_bundle: ModelBundle, tmp_path: Path) -> None:
    """Nor what was kept of prompts that were encoded under it."""
    pipeline = TextToImagePipeline(tiny_bundle, rescue_folder=tmp_path)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tiny_bundle.text_encoder.encode(["an odd cat"])
        made = pipeline("an odd cat", seed=1).images[0]
    expected = TextToImagePipeline(replace(tiny_bundle, text_encoder=_anew(tiny_bundle)))("an odd cat", seed=1).images[
        0
    ]
    assert torch.equal(made.latent, expected.latent)
    assert made.image.tobytes() == expected.image.tobytes()


def _anew(bundle: ModelBundle) -> TextEncoder:
    """With nothing kept."""
    return TextEncoder(bundle.text_encoder.model, bundle.text_encoder.tokenizer, bundle.text_encoder.config)


def test_embeds_of_other_circumstances_are_not_taken(tiny_bundle: ModelBundle) -> None:
    """Kept ones would make a picture that no record describes."""
    encoder = _anew(tiny_bundle)
    first = encoder.encode(["a cat"])[0]
    assert encoder.encode(["a cat"])[0] is first
    with own_arithmetic(torch.get_num_threads() + 1):
        assert encoder.encode(["a cat"])[0] is not first


def test_levels_of_a_picture_are_rounded_not_cut() -> None:
    """0.4 of a level is the lower one, 0.6 the upper one, and what is outside is clipped."""
    levels = torch.tensor([100.4, 100.6, -3.0, 258.0])
    picture = to_image((levels / 127.5 - 1).expand(3, 1, 4))
    assert [picture.getpixel((x, 0))[0] for x in range(4)] == [100, 101, 0, 255]
