"""A clip that is made from another one: how that is read, where its steps begin, and that it comes out again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.checkpoints.opening import load_bundle
from sanakit.cli.app import main
from sanakit.common.errors import PictureError, RequestError
from sanakit.common.pixels import to_signed
from sanakit.data.fitting import fit_to_bin
from sanakit.pipelines.clips.clip import GeneratedClip
from sanakit.pipelines.clips.files import read_clip_record
from sanakit.pipelines.clips.frames import encode_frames
from sanakit.pipelines.events import Event, Notice
from sanakit.pipelines.latent_file import SavedLatent, load_latent, save_latent
from sanakit.pipelines.record import PictureRecord
from sanakit.pipelines.replay import replay, with_sources
from sanakit.pipelines.request import GenerationRequest, VideoRequest
from sanakit.pipelines.sources.clip import Excerpt, SourceClip
from sanakit.pipelines.text_to_image import TextToImagePipeline

FRAMES = np.random.default_rng(0).integers(0, 256, (11, 40, 56, 3), dtype=np.uint8)


def animation(path: Path, frames: np.ndarray = FRAMES, milliseconds: int = 100) -> Path:
    """An animated WebP, which keeps them as they are."""
    first, *others = map(Image.fromarray, frames)
    first.save(path, save_all=True, append_images=others, duration=milliseconds, lossless=True)
    return path


@pytest.mark.parametrize(("solver", "shared"), [("flow-euler", 0.5), ("flow-dpm", 0.0)])
def test_it_begins_with_the_clip_under_as_much_noise_as_strength_says(
    clip_bundle: ModelBundle, solver: str, shared: float
) -> None:
    card = replace(clip_bundle.card, defaults=replace(clip_bundle.card.defaults, shared_noise=shared))
    clips = TextToImagePipeline(replace(clip_bundle, card=card))
    wish = {"prompt": "a ball", "num_inference_steps": 5, "seed": 3, "solver": solver}
    request = VideoRequest(**wish, clip=FRAMES, strength=0.4)
    (plan,) = clips.plan([request])
    (job,) = clips.jobs([plan])
    first, (noise,) = next(job.solver), clips.noises([plan], None)
    own = to_signed([fit_to_bin(Image.fromarray(frame), 32, 32) for frame in FRAMES[:9]])
    latent = encode_frames(clips.bundle.autoencoder, own)
    sigma = plan.solver.schedule().sigmas[3]
    assert (first.index, first.sigma) == (3, sigma)
    assert torch.equal(first.latent, (1 - sigma) * latent + sigma * noise)
    (all_noise,) = clips([VideoRequest(**wish, clip=FRAMES, strength=1.0)], output="latent").images
    (without,) = clips([VideoRequest(**wish, num_frames=9)], output="latent").images
    begun_near_noise = 1e-2 if solver == "flow-dpm" else 0.0  # whose schedule begins just below it
    torch.testing.assert_close(all_noise.latent, without.latent, rtol=0, atol=begun_near_noise)


@pytest.mark.parametrize(
    ("own", "asked", "made"),  # frames and milliseconds of each; what is asked for; frames, their rate, and which
    [
        ((11, 100), {}, (9, 8, [0, 1, 2, 3, 5, 6, 7, 8, 10])),
        ((7, 100), {}, (5, 8, [0, 1, 2, 3, 5])),
        ((11, 250), {}, (9, 4, range(9))),
        ((11, 100), {"fps": 20}, (9, 20, [0, 0, 1, 1, 2, 2, 3, 3, 4])),
        ((11, 100), {"num_frames": 5, "fps": 5}, (5, 5, range(0, 9, 2))),
        ((2, 100), {}, (1, 8, [0])),
        ((11, 120), {}, (9, 8, range(9))),  # as a GIF has 8 a second
        ((11, 120), {"num_frames": 9, "fps": 12}, (9, 12, [0, 0, 1, 2, 2, 3, 4, 4, 5])),
    ],
)
def test_frames_are_taken_by_time(
    clips: TextToImagePipeline, tmp_path: Path, own: tuple[int, int], asked: dict[str, int], made: Any
) -> None:
    clip = SourceClip.of(animation(tmp_path / "a.webp", FRAMES[: own[0]], own[1]))
    (plan,) = clips.plan([VideoRequest(prompt="a", clip=clip, **asked)])
    assert isinstance(plan.request, VideoRequest)
    num, fps, which = made
    assert (plan.num_frames, plan.request.fps, plan.request.strength) == (num, fps, 0.6)
    fitted = [*Excerpt(clip=clip, num_frames=num, fps=fps).fitted(32, 32)]
    assert np.array_equal(fitted, [fit_to_bin(Image.fromarray(FRAMES[index]), 32, 32) for index in which])


def test_a_file_its_bytes_and_frames_are_read_alike(tmp_path: Path) -> None:
    path = animation(tmp_path / "a.webp")
    named, held = SourceClip.of(path), SourceClip.of(path.read_bytes())
    assert named == held
    assert (named.name, held.name) == ("a.webp", "")
    assert named.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (named.num_frames, named.fps, named.width, named.height) == (11, 10.0, 56, 40)
    floats = SourceClip.of(FRAMES.astype(np.float32) / 255)
    for clip in (named, held, SourceClip.of(FRAMES), floats):
        assert np.array_equal([*clip.frames(11, 10)], FRAMES)


def test_it_comes_out_again_alone_and_from_its_record(clips: TextToImagePipeline, tmp_path: Path) -> None:
    source = animation(tmp_path / "source.webp")
    wish: dict[str, Any] = {"clip": source, "strength": 0.5, "num_frames": 5, "num_inference_steps": 3}
    told: list[Event] = []
    together = clips(["a ball", "a cat"], seed=1, num_images=2, on_event=told.append, **wish).images
    made = clips("a cat", seed=2, **wish).images[0]
    assert torch.equal(made.latent, together[3].latent)
    notices = [event.message for event in told if isinstance(event, Notice)]
    assert notices == [
        "of source.webp (1.1 s, 10 frames a second, 56x40 px) the first 5 frames at 8 a second are taken, cut to 32x32 "
        "px."
    ]
    path = made.save(tmp_path / "made.gif")
    record = read_clip_record(path)
    assert record == made.record
    assert (record.request.strength, record.request.clip) == (0.5, SourceClip.of(source))
    assert PictureRecord.from_json(record.to_json()) == record
    assert replay(path, clips).outcome == "identical"
    source.rename(tmp_path / "elsewhere.webp")
    with pytest.raises(PictureError, match=r"was made from source.webp .*which is not beside it; name it with --clip"):
        replay(path, clips)
    assert replay(path, clips, clip=tmp_path / "elsewhere.webp").outcome == "identical"
    with pytest.raises(PictureError, match=r"was made from source.webp .* and this is the clip"):
        replay(path, clips, clip=FRAMES)
    plain = clips("a cat", num_frames=5).images[0].save(tmp_path / "plain.gif")
    with pytest.raises(PictureError, match="was made from no clip; leave clip out"):
        replay(plain, clips, clip=FRAMES)
    content = record.model_dump(mode="json")
    facts = content["request"].pop("clip")
    hostile = [facts | each for each in ({"fps": 1e-300}, {"fps": 0}, {"num_frames": 0}, {"num_frames": 10**300})]
    for clip in ("/etc/passwd", *hostile):
        with pytest.raises(PictureError, match=r"the record is damaged: request"):
            PictureRecord.from_json(json.dumps(content | {"request": content["request"] | {"clip": clip}}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clip": FRAMES, "image": FRAMES[0]}, "image is the first frame of a clip, and clip what all of it is made"),
        ({"strength": 0.5}, "strength says how a clip is changed; give that as clip"),
        ({"clip": FRAMES, "start_angle": 1.0}, "start_angle is not offered for clips"),
        ({"extend": True}, "extend goes on behind a clip that stays as it is; give that as clip"),
        ({"clip": FRAMES, "extend": True, "strength": 0.5}, "give that as clip, and no strength"),
        ({"clip": FRAMES, "extend": True, "solver": "flow-dpm"}, "begins with a given frame is made by flow-euler"),
        ({"clip": FRAMES, "extend": True, "num_frames": 4093}, "would become 4103 frames long, and 4096 are the most"),
        ({"clip": FRAMES, "num_frames": 13}, "has 11 frames, and num_frames=13 are more; ask for fewer"),
        ({"clip": FRAMES, "strength": 0}, "strength=0 is not usable; it must be the share of the steps"),
        ({"clip": FRAMES[0]}, r"clip=uint8 of shape \(40, 56, 3\) is not usable"),
        ({"clip": 5}, "clip=int is not usable; give the name of a file, its bytes, or frames"),
        ({"clip": b"GIF89a"}, "the animation cannot be read"),
        ({"clip": "no.mp4"}, "no.mp4 does not exist or is no file; give a clip"),
        ({"video": "no.mp4"}, "there is no setting named 'video'; did you mean clip"),
    ],
)
def test_what_does_not_go_is_told_in_a_sentence(
    clips: TextToImagePipeline, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises((RequestError, PictureError), match=message):
        clips("a ball", **fields)


def test_models_of_pictures_have_no_clips(pipeline: TextToImagePipeline) -> None:
    with pytest.raises(RequestError, match=r"makes pictures, not clips; .*, clip and names of clips"):
        pipeline(VideoRequest(prompt="a ball", clip=FRAMES))
    with pytest.raises(RequestError, match="clip is a setting of clips, and pictures are asked for"):
        GenerationRequest(prompt="a ball", clip=FRAMES)


def test_a_clip_without_influence_and_one_that_breaks_off_are_told(clips: TextToImagePipeline, tmp_path: Path) -> None:
    told: list[Event] = []
    clips("a ball", clip=FRAMES, strength=0.9, num_inference_steps=2, output="latent", on_event=told.append)
    assert any("the clip has no influence: strength=0.9" in getattr(event, "message", "") for event in told)
    whole = SourceClip.of(animation(tmp_path / "a.webp"))
    animation(tmp_path / "a.webp", FRAMES[:3])
    with pytest.raises(RequestError, match=r"a.webp .* cannot be read: the clip ends after 0.30 s, and 9 frames"):
        clips("a ball", clip=whole)


def test_a_clip_goes_on_from_its_last_frame(clips: TextToImagePipeline, tmp_path: Path) -> None:
    source = animation(tmp_path / "source.webp", FRAMES[:7])
    wish: dict[str, Any] = {"clip": source, "extend": True, "num_frames": 5, "fps": 10, "width": 48, "height": 32}
    made = clips("a cat", seed=2, **wish).images[0]
    assert isinstance(made, GeneratedClip)
    assert made.pictures.shape == (11, 32, 48, 3)
    own = [fit_to_bin(Image.fromarray(frame), 32, 48) for frame in FRAMES[:7]]
    assert np.array_equal(made.pictures[:7], own)
    begun = clips("a cat", seed=2, num_frames=5, fps=10, width=48, height=32, image=own[-1]).images[0]
    assert isinstance(begun, GeneratedClip)
    assert torch.equal(made.latent, begun.latent)
    assert np.array_equal(made.pictures[7:], begun.pictures[1:])
    streamed = clips("a cat", seed=2, save_to=tmp_path / "made.gif", **wish).images[0]
    assert streamed.record == made.record
    assert replay(tmp_path / "made.gif", clips).outcome == "identical"
    latent = SavedLatent(latent=made.latent, record=made.record.model_copy(update={"image": None}))
    saved = save_latent(tmp_path / "late.safetensors", latent)
    with pytest.raises(RequestError, match=r"source.webp .* is not here; give it as clip="):
        clips.decode(load_latent(saved))
    found = latent.record.model_copy(update={"request": with_sources(latent.record, saved)})
    assert clips.decode(replace(load_latent(saved), record=found)).record.image == made.record.image


def test_from_the_shell(
    clip_bundle: ModelBundle, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_bundle(replace(clip_bundle, text_encoder=load_bundle(tiny_model).text_encoder), tmp_path / "model")
    model, source = ["--model", str(tmp_path / "model"), "--device", "cpu"], str(animation(tmp_path / "source.webp"))
    shared = ["generate", "a ball", *model, "--clip", source]
    assert main([*shared, "--strength", "0.5", "--output", str(tmp_path / "made.gif")]) == 0
    assert "56x40 px) the first 9 frames at 8 a second are taken, cut to 32x32 px" in capsys.readouterr().err
    assert main(["replay", str(tmp_path / "made.gif"), *model]) == 0
    Path(source).rename(tmp_path / "other.webp")
    assert main(["replay", str(tmp_path / "made.gif"), *model, "--clip", str(tmp_path / "other.webp")]) == 0
    more = ["--clip", str(tmp_path / "made.gif"), "--extend", "--frames", "5", "--output", str(tmp_path / "more.gif")]
    assert main(["generate", "a cat", *model, *more]) == 0
    assert "its 9 frames at 8 a second are taken" in capsys.readouterr().err
    assert getattr(Image.open(tmp_path / "more.gif"), "n_frames", 1) == 13
    assert main(["replay", str(tmp_path / "more.gif"), *model]) == 0
    assert main([*shared, "--output", str(tmp_path / "b.gif")]) == 1
    assert "source.webp does not exist or is no file" in capsys.readouterr().err
    again = ["generate", "a ball", *model, "--clip", str(tmp_path / "other.webp")]
    assert main([*again, "--output", str(tmp_path / "other.webp")]) == 2
    assert "would replace the clip that it is made from" in capsys.readouterr().err
