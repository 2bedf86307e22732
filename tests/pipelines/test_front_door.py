"""What a person who writes only Python may say, and what answers the rest."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sanakit
from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.devices import prepare_threads, resolve_device
from sanakit.common.errors import RequestError
from sanakit.common.seeds import draw_noise
from sanakit.pipelines.events import Event, StepDone
from sanakit.pipelines.picture_file import read_record
from sanakit.pipelines.record import describe_image
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.result import GeneratedImage
from sanakit.pipelines.text_to_image import TextToImagePipeline


@pytest.fixture(scope="module")
def pipeline(tiny_bundle: ModelBundle) -> TextToImagePipeline:
    return TextToImagePipeline(tiny_bundle)


@pytest.fixture(scope="module")
def cat(pipeline: TextToImagePipeline) -> GeneratedImage:
    return pipeline("a cat", num_inference_steps=1, seed=3).images[0]


def test_the_prompt_by_name_and_several_prompts(pipeline: TextToImagePipeline, cat: GeneratedImage) -> None:
    fields = {"num_inference_steps": 1, "seed": 3}
    alone = pipeline(prompt="a cat", **fields).images
    cats, dog = pipeline(["a cat", "a dog"], **fields).images
    assert torch.equal(alone[0].latent, cat.latent)
    assert torch.equal(cats.latent, cat.latent)
    assert (dog.record.request.prompt, dog.record.request.seed) == ("a dog", 3)
    mixed = pipeline(["a cat", GenerationRequest(prompt="a dog", num_inference_steps=1)], output="latent").images
    assert [made.record.request.prompt for made in mixed] == ["a cat", "a dog"]


def test_an_array_is_the_picture_in_unit_numbers(pipeline: TextToImagePipeline, cat: GeneratedImage) -> None:
    array = pipeline("a cat", num_inference_steps=1, seed=3, output="np").images[0]
    assert isinstance(array.image, np.ndarray)
    assert (array.image.dtype, array.image.shape) == (np.float32, (128, 128, 3))
    assert 0 <= array.image.min() <= array.image.max() <= 1
    tensor = pipeline("a cat", num_inference_steps=1, seed=3, output="tensor").images[0]
    assert describe_image(array.picture) == describe_image(tensor.picture) == describe_image(cat.picture)


def test_a_generator_is_its_seed_until_it_is_used(pipeline: TextToImagePipeline, cat: GeneratedImage) -> None:
    def seeds(**fields: Any) -> list[int]:
        made = pipeline(num_inference_steps=1, output="latent", **fields).images
        return [each.record.request.seed for each in made]

    generator = torch.Generator().manual_seed(3)
    first = pipeline("a cat", num_inference_steps=1, generator=generator, output="latent").images[0]
    assert torch.equal(first.latent, cat.latent)
    second = seeds(prompt="a cat", generator=generator)
    assert second != [3]
    again = torch.Generator().manual_seed(3)
    assert [*seeds(prompt="a cat", generator=again), *seeds(prompt="a cat", generator=again)] == [3, *second]
    several = [torch.Generator().manual_seed(seed) for seed in (5, 5, 9, 8)]
    assert seeds(prompt=["a", "b"], num_images=2, generator=several) == [5, 5, 9, 8]
    assert seeds(prompt="a", generator=torch.Generator().manual_seed(-1)) != [0]  # more bits than a seed has


def test_a_random_seed_is_recorded(pipeline: TextToImagePipeline) -> None:
    first, second = (pipeline("a", num_inference_steps=1, seed="random", output="latent").images[0] for _ in range(2))
    assert first.record.request.seed != second.record.request.seed
    assert torch.equal(pipeline(first.record.request, output="latent").images[0].latent, first.latent)


def test_every_step_is_told(pipeline: TextToImagePipeline) -> None:
    steps: list[tuple[int, torch.Tensor]] = []
    events: list[Event] = []
    pipeline("a cat", on_step=lambda index, latent: steps.append((index, latent)), on_event=events.append)
    told = [event for event in events if isinstance(event, StepDone)]
    assert [index for index, _ in steps] == [0, 1, 2] == [event.index for event in told]
    assert all(torch.equal(latent, event.latent) for (_, latent), event in zip(steps, told, strict=True))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({}, "there is no request; give at least one prompt"),
        ({"prompt": "a", "output": "jpg"}, "output='jpg' is not offered; it is one of pil, np, tensor, latent"),
        ({"prompt": "a", "on_step": 3}, "on_step=3 cannot be called"),
        (
            {"prompt": "a", "on_step": lambda pipe, step, time, kwargs: kwargs},
            r"on_step= takes .pipe, step, time, kwargs., and is called as on_step.index, latent.; give such",
        ),
        ({"prompt": "a", "on_event": lambda: None}, "on_event= takes .., and is called as on_event.event."),
        ({"prompt": "a", "seed": 1, "generator": torch.Generator()}, "seed= and generator= both"),
        ({"prompt": "a", "generator": np.random.default_rng()}, "is no torch.Generator"),
        ({"prompt": "a", "generator": [torch.Generator()] * 3}, "a list of 3 for 1 pictures"),
        ({"prompt": "a", "output_type": "np"}, "no setting named 'output_type'; did you mean output?"),
        ({"prompt": "a", "num_images_per_prompt": 2}, "did you mean num_images?"),
        ({"prompt": "a", "guidence_scale": 2}, "did you mean guidance_scale?"),
        ({"prompt": "a", "latents": "noise"}, "latents=str are not usable; give a tensor or an array"),
        ({"prompt": "a", "latents": np.array(["a"])}, "latents=<U1 are not usable"),
        ({"prompt": "a", "latents": torch.zeros(1, 4, 8, 8, dtype=torch.complex64)}, "latents=torch.complex64 are not"),
        ({"prompt": "a", "latents": np.full((1, 4, 8, 8), np.nan)}, "latents hold values that are not numbers"),
        ({"prompt": "a", "latents": np.zeros((1, 2, 3))}, "do not fit"),
    ],
)
def test_what_cannot_be_called_is_told(pipeline: TextToImagePipeline, call: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words.replace("?", r"\?")):
        pipeline(**call)


def test_noise_may_be_an_array(pipeline: TextToImagePipeline, cat: GeneratedImage) -> None:
    noise = draw_noise((4, 8, 8), 3)[None].numpy()
    backwards = np.ascontiguousarray(noise[..., ::-1])[..., ::-1]
    for array in (noise.astype(np.float64), noise.astype(">f4"), backwards):
        made = pipeline("a cat", num_inference_steps=1, latents=array, output="latent").images[0]
        assert torch.equal(made.latent, cat.latent)


def test_save_writes_the_picture_with_its_record(cat: GeneratedImage, tmp_path: Path) -> None:
    assert cat.save(tmp_path / "a.png") == tmp_path / "a.png"
    assert read_record(tmp_path / "a.png") == cat.record
    assert Image.open(tmp_path / "a.png").tobytes() == cat.picture.tobytes()
    assert cat.save(str(tmp_path / "b.jpg")).read_bytes()[:2] == b"\xff\xd8"
    assert read_record(tmp_path / "b.jpg") == cat.record
    assert [cat.save(f"{tmp_path}/new/").name for _ in range(2)] == ["a-cat-seed3.png", "a-cat-seed3-2.png"]
    cat.save(tmp_path / "bare.webp", metadata=False)
    assert not Image.open(tmp_path / "bare.webp").getexif()


def test_every_output_can_be_saved_but_a_latent(
    pipeline: TextToImagePipeline, cat: GeneratedImage, tmp_path: Path
) -> None:
    cat.save(tmp_path / "a.png")
    for output in ("np", "tensor"):
        made = pipeline("a cat", num_inference_steps=1, seed=3, output=output).images[0]
        assert made.save(tmp_path / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()
    latent = pipeline("a cat", num_inference_steps=1, output="latent").images[0]
    with pytest.raises(RequestError, match="is a latent only"):
        latent.save(tmp_path / "c.png")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("a.bmp", "output=a.bmp is no picture; end it with .png"),
        ("missing/a.png", "lies in a folder that does not exist; make missing first"),
        ("", "output='' names no place"),
        (7, "output=7 names no place"),
        ("a\0.png", "names no place"),
    ],
)
def test_a_place_that_is_none_is_told(cat: GeneratedImage, output: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        cat.save(output)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"source": None}, "None names no model; give a folder"),
        ({"source": ""}, "'' names no model"),
        ({"source": ["starter"]}, "names no model"),
        ({"text_encoder": ""}, "'' names no model"),
        ({"autoencoder": ""}, "'' names no model"),
        ({"autoencoder": 3}, "3 names no model"),
        ({"device": "toaster"}, "device=toaster is not here; this machine and its torch .* have cpu"),
        ({"device": "cuda:99"}, "device=cuda:99 is not here"),
        ({"device": torch.device("meta")}, "device=meta is not here"),
        ({"device": 0}, "device=0 is not here"),
        ({"device": None}, "device=None is not here"),
        ({"dtype": "float8"}, "dtype float8 is not offered"),
        ({"torch_dtype": torch.float64}, "dtype torch.float64 is not offered"),
        ({"dtype": "bfloat16", "torch_dtype": torch.float32}, "dtype= and torch_dtype= both"),
        ({"cachedir": "x"}, "no argument cachedir; did you mean cache_dir"),
        ({"safety_checker": None}, "no argument safety_checker; it takes source, device"),
    ],
)
def test_what_cannot_be_loaded_is_told(call: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        sanakit.load(**call)


def test_moving_takes_devices_that_are_here(pipeline: TextToImagePipeline) -> None:
    assert pipeline.to("cpu") is pipeline.to(torch.device("cpu")) is pipeline
    for words in (("toaster",), (torch.bfloat16,), ("cpu", torch.bfloat16)):
        with pytest.raises(RequestError, match=r"is not here|sanakit\.load\(\.\.\., dtype="):
            pipeline.to(*words)  # type: ignore[arg-type]
    assert resolve_device("cpu:0") == "cpu:0"
    assert resolve_device("auto") in ("cpu", "cuda")


def test_threads_sleep_while_they_wait_where_torch_is_not_loaded_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    prepare_threads()
    assert "OMP_WAIT_POLICY" not in os.environ  # too late for this process, and no business of its children
    monkeypatch.delitem(sys.modules, "torch")
    prepare_threads()
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    prepare_threads()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
