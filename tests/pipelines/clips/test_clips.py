"""Clips through the pipeline: what is planned, what comes out, and that it comes out again."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.checkpoints.identity.card import card_from_json, card_to_json
from sanakit.checkpoints.opening import load_bundle, open_model
from sanakit.cli.app import main
from sanakit.common.errors import CheckpointError, DecodeMemoryError, PictureError, RequestError
from sanakit.models.autoencoders.dc_ae_v import DCAEV, DCAEVConfig
from sanakit.models.autoencoders.ltx2 import LTX2Autoencoder, LTX2AutoencoderConfig
from sanakit.models.autoencoders.wan import WanAutoencoder, WanAutoencoderConfig
from sanakit.models.network import state_bytes
from sanakit.models.transformers.video_dit import VideoDiT
from sanakit.pipelines.check import memory_of_pictures, plan_for_model, tell_lack_of_memory
from sanakit.pipelines.clips.clip import GeneratedClip
from sanakit.pipelines.clips.files import milliseconds, read_clip_record, read_frames
from sanakit.pipelines.clips.memory import clip_decoding_bytes
from sanakit.pipelines.clips.passing import describe_frames
from sanakit.pipelines.clips.place import choose_clip_place
from sanakit.pipelines.decoding.budget import _ways
from sanakit.pipelines.decoding.tiling import Tiling
from sanakit.pipelines.latent_file import load_latent, save_latent
from sanakit.pipelines.picture_file import record_exif
from sanakit.pipelines.record import PictureRecord
from sanakit.pipelines.replay import read_made, replay
from sanakit.pipelines.request import GenerationRequest, VideoRequest
from sanakit.pipelines.sources.picture import SourcePicture
from sanakit.pipelines.text_to_image import TextToImagePipeline

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def made(pipeline: TextToImagePipeline, *prompts: Any, **fields: Any) -> list[GeneratedClip]:
    found = pipeline(prompts, **fields).images
    assert all(isinstance(clip, GeneratedClip) for clip in found)
    return found  # type: ignore[return-value]


def test_a_clip_has_what_was_asked_for_and_its_record_says_it(clips: TextToImagePipeline) -> None:
    (clip,) = made(clips, "a ball", num_frames=5, fps=12, seed=3)
    assert clip.latent.shape == (1, 16, 2, 4, 4)
    assert clip.pictures.shape == (5, 32, 32, 3)
    request = clip.record.request
    assert isinstance(request, VideoRequest)
    facts = request.num_frames, request.fps, request.motion_score, request.solver, request.num_inference_steps
    assert facts == (5, 12, 10, "flow-dpm", 2)
    assert clip.record.image is not None
    assert clip.record.image.num_frames == 5
    assert PictureRecord.from_json(clip.record.to_json()) == clip.record
    assert clip.record.needs == ("frames of a clip",)


def test_a_clip_is_the_same_alone_and_in_company(clips: TextToImagePipeline) -> None:
    together = made(clips, "a ball", "a cat", num_frames=5, seed=1, num_images=2)
    (alone,) = made(clips, "a cat", num_frames=5, seed=2)
    assert torch.equal(alone.latent, together[3].latent)
    assert alone.record.image == together[3].record.image
    assert not torch.equal(together[0].latent, together[1].latent)


def test_the_motion_score_stands_behind_the_prompt(clips: TextToImagePipeline) -> None:
    said, unsaid, written = (
        made(clips, prompt, num_frames=5, motion_score=score, output="latent")[0].latent
        for prompt, score in (("a ball", 30), ("a ball", 0), ("a ball motion score: 30.", 0))
    )
    assert torch.equal(said, written)
    assert not torch.equal(said, unsaid)


def test_a_first_frame_stays_as_it_is(clips: TextToImagePipeline) -> None:
    steps: list[torch.Tensor] = []
    (clip,) = made(
        clips, "a ball", num_frames=9, image=PICTURE, on_step=lambda index, latent: steps.append(latent[:, :, :1])
    )
    (other,) = made(clips, "a cat", num_frames=9, image=PICTURE, seed=5)
    assert clip.record.request.solver == "flow-euler"
    assert all(torch.equal(step, clip.latent[:, :, :1]) for step in steps)
    assert torch.equal(clip.latent[:, :, :1], clips.encode(SourcePicture.of(PICTURE), (32, 32)))
    assert torch.equal(clip.latent[:, :, 0], other.latent[:, :, 0])
    assert not torch.equal(clip.latent[:, :, 1:], other.latent[:, :, 1:])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_frames": 8}, "1 frame more than a multiple of 4; the nearest are 5 or 9"),
        ({"num_frames": 0}, "num_frames=0 is not usable; it must be a whole number of frames"),
        ({"num_frames": 10}, "the nearest are 9 or 13"),
        ({"num_frames": 4097}, "num_frames=4097 is not usable; it must be a whole number of frames from 1 to 4096"),
        ({"fps": 1000}, "fps=1000 is not usable"),
        ({"fps": 0}, "fps=0 is not usable; it must be a whole number of frames a second from 1 to 240"),
        ({"height": 10**6, "width": 10**6}, "height=1000000 is not usable; it must be a whole number of pixels from"),
        ({"num_frame": 9}, "did you mean num_frames"),
        ({"height": 40, "width": 32}, "multiples of 16"),
        ({"upscale": 2}, "upscale is not offered for clips"),
        ({"image": PICTURE, "strength": 0.5}, "strength says how a clip is changed"),
        ({"image": PICTURE, "solver": "flow-dpm"}, "whose steps would change that"),
        ({"solver": "scm"}, "no model of clips knows it"),
    ],
)
def test_what_cannot_be_is_refused(clips: TextToImagePipeline, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        clips("a ball", **fields)


def test_pictures_and_clips_are_told_apart(clips: TextToImagePipeline, pipeline: TextToImagePipeline) -> None:
    with pytest.raises(RequestError, match="tiny-clips makes clips"):
        clips(GenerationRequest(prompt="a ball"))
    with pytest.raises(RequestError, match="makes pictures, not clips"):
        pipeline(VideoRequest(prompt="a ball", num_frames=5))


def test_the_card_comes_back(clip_bundle: ModelBundle) -> None:
    assert card_from_json(card_to_json(clip_bundle.card), where="card") == clip_bundle.card


@pytest.mark.parametrize("name", ["clip.gif", "clip.webp", "clip.png", "clip.mp4", "clip.webm"])
def test_every_format_holds_the_frames_and_the_record(clips: TextToImagePipeline, tmp_path: Path, name: str) -> None:
    if name.endswith(("mp4", "webm")):
        pytest.importorskip("av")
    (clip,) = made(clips, "a ball", num_frames=5)
    path = clip.save(tmp_path / name)
    result = replay(path, clips)
    assert result.outcome == "identical", result.differences
    match path.suffix:
        case "":
            found = np.stack([np.asarray(Image.open(path / f"{index:05d}.png")) for index in range(5)])
            assert np.array_equal(found, clip.pictures)
        case ".gif" | ".webp":
            assert getattr(Image.open(path), "n_frames", 1) == 5
        case _:
            frames = np.stack([*read_frames(path)])
            assert frames.shape == clip.pictures.shape
            assert np.abs(frames.astype(int) - clip.pictures).mean() < 40  # noise does not survive a codec
            assert read_clip_record(path) == clip.record


@pytest.mark.parametrize(("name", "fps"), [("a.gif", 7), ("A.GIF", 16), ("a.gif", 120), ("a.webp", 16)])
def test_equal_frames_are_counted(clips: TextToImagePipeline, tmp_path: Path, name: str, fps: int) -> None:
    """GIF and WebP of early versions, as Pillow writes them, hold them as one that is shown longer."""
    (clip,) = made(clips, "a ball", num_frames=9, fps=fps)
    stills = clip.pictures[[0, 0, 0, 0, 0, 1, 2, 2, 2]]
    record = clip.record.model_copy(update={"image": describe_frames(stills)})
    path = GeneratedClip(record=record, latent=clip.latent, frames=stills).save(tmp_path / name)
    assert len([*read_frames(path)]) == 9
    early = [Image.fromarray(frame) for frame in stills]
    told = {"comment": record.to_json().encode()} if path.suffix.lower() == ".gif" else {"exif": record_exif(record)}
    how = {"save_all": True, "append_images": early[1:], "duration": milliseconds(fps), "loop": 0}
    early[0].save(path, **how, **told)
    assert len([*read_frames(path)]) == 3
    assert np.stack([*read_frames(path, fps)]).shape == stills.shape
    assert replay(path, clips).differences == ("the frames are not those that the record describes",)
    assert read_made(path)[0] == record
    assert (tmp_path / f"{name}.json").is_file()


def test_frames_that_differ_are_told(clips: TextToImagePipeline, tmp_path: Path) -> None:
    (clip,) = made(clips, "a ball", num_frames=5)
    changed = clip.record.model_copy(update={"request": clip.record.request.model_copy(update={"seed": 9})})
    path = GeneratedClip(record=changed, latent=clip.latent, frames=clip.frames).save(tmp_path / "clip.gif")
    assert replay(path, clips).outcome == "different"
    folder = clip.save(tmp_path / "frames.png")
    (folder / "00002.png").unlink()
    assert replay(folder, clips).differences == ("the file holds 4 frames and the record describes 5",)
    with pytest.raises(RequestError, match="which exists already; choose another name"):
        clip.save(tmp_path / "frames.png")
    Image.fromarray(PICTURE).save(tmp_path / "other.gif", comment=b"made by another program")
    with pytest.raises(PictureError, match=r"holds no record of sanakit, and there is none beside it"):
        replay(tmp_path / "other.gif", clips)


def test_a_latent_is_kept_and_decoded_later(clips: TextToImagePipeline, tmp_path: Path) -> None:
    (clip,) = made(clips, "a ball", num_frames=5)
    saved = load_latent(save_latent(tmp_path / "a.safetensors", _saved(clip)))
    assert clips.decode(saved).record.image == clip.record.image


def _saved(clip: GeneratedClip) -> Any:
    from sanakit.pipelines.latent_file import SavedLatent

    return SavedLatent(latent=clip.latent, record=clip.record.model_copy(update={"image": None}))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("clip.avi", "is no clip; end it with .mp4, .webm, .gif, .webp or .png"),
        ("no/clip.gif", "does not exist"),
        ("clip.jpg", "is no clip"),
        ("a" * 240 + ".gif", "choose a shorter one"),
    ],
)
def test_places_that_are_none(tmp_path: Path, output: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        choose_clip_place(tmp_path / output)
    with pytest.raises(RequestError, match="one file for 2 clips"):
        choose_clip_place(tmp_path / "clip.gif", num_clips=2)


def test_from_the_shell(
    clip_bundle: ModelBundle,
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    save_bundle(replace(clip_bundle, text_encoder=load_bundle(tiny_model).text_encoder), tmp_path / "model")
    model, options = str(tmp_path / "model"), ["--device", "cpu", "--quiet"]
    shared = ["generate", "a ball", "--model", model, *options]
    preview = tmp_path / "coming.webp"
    of_clip = ["--frames", "5", "--fps", "8", "--format", "gif", "--output", str(tmp_path / "out")]
    assert main([*shared, *of_clip, "--preview", str(preview)]) == 0
    assert getattr(Image.open(preview), "n_frames", 1) == 2  # of the latent
    (path,) = (tmp_path / "out").glob("*.gif")
    assert path.with_suffix(".gif.json").is_file()
    assert main(["info", model]) == 0
    assert "trained at 32x32 px, 9 frames at 8 a second" in capsys.readouterr().out
    assert main(["replay", str(path), "--model", model, "--device", "cpu"]) == 0
    assert "identical" in capsys.readouterr().out
    assert main(["replay", str(path), "--model", model, "--device", "cpu", "--autoencoder", model]) == 0
    assert "the autoencoder was the model's own and is" in capsys.readouterr().out
    assert main([*shared, "--output", str(tmp_path / "a.png")]) == 0, "what a model makes decides where nothing is said"
    assert len(list((tmp_path / "a").glob("*.png"))) == 9
    assert main([*shared, "--frames", "6", "--output", str(tmp_path / "a.gif")]) == 2
    capsys.readouterr()
    assert main([*shared, "--memory", "100MB", "--output", str(tmp_path / "a.gif")]) == 2  # whose name asks for a clip
    assert "memory=100 MB is not enough for tiny-clips at this size" in capsys.readouterr().err
    opened = open_model(model)
    plans = plan_for_model(opened, [VideoRequest(prompt="a ball", num_frames=9)])
    need = memory_of_pictures(opened, plans[0])
    tell_lack_of_memory(opened, plans, free_memory=lambda device: need.total)
    assert not caplog.messages
    tell_lack_of_memory(opened, plans, free_memory=lambda device: need.total - 1)
    assert "for clips of 9 frames of 32x32 px" in caplog.text
    assert need.weights["autoencoder"] == sum(each.nbytes for each in clip_bundle.autoencoder.parameters())
    for way in _ways(opened):  # each can be loaded, and takes what was predicted
        transformer = replace(way, in_turns=False).load().transformer
        assert memory_of_pictures(way, plans[0]).weights["transformer"] == state_bytes(transformer.state_dict())


def test_without_pyav_clips_are_gif_where_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_clip_place(tmp_path).clip_format == "mp4"
    monkeypatch.setattr("sanakit.pipelines.clips.place.find_spec", lambda name: None)
    assert choose_clip_place(tmp_path).clip_format == "gif"


def test_a_transformer_alone_is_planned_with_the_autoencoder_that_is_named(
    clip_bundle: ModelBundle, tiny_model: Path, tmp_path: Path
) -> None:
    save_bundle(replace(clip_bundle, text_encoder=load_bundle(tiny_model).text_encoder), tmp_path / "model")
    (tmp_path / "model" / "vae").rename(tmp_path / "vae")
    with pytest.raises(CheckpointError, match="has no autoencoder"):
        open_model(tmp_path / "model")
    opened = open_model(tmp_path / "model", autoencoder=tmp_path / "vae")
    (plan,) = plan_for_model(opened, [VideoRequest(prompt="a ball", num_frames=5, height=48, width=32)])
    assert plan.generated == (48, 32)


@pytest.mark.parametrize("causal", [True, False])
def test_memory_of_decoding_grows_with_the_clip_by_its_frames_alone(causal: bool) -> None:
    """Of a decoder that sees later frames, too, which wait for these."""
    config = LTX2AutoencoderConfig(
        channels=(8, 16, 32, 64), num_blocks=(1, 1, 1, 1, 1), decoder_channels=(16, 32, 64),
        decoder_num_blocks=(1, 1, 1, 1), latent_channels=16, decoder_causal=causal,
    )  # fmt: skip
    build, shapes = LTX2Autoencoder, [(frames, 128, 256) for frames in (65, 73, 161)]
    kept = [clip_decoding_bytes(build, config, shape, torch.float32) for shape in shapes]
    streamed = [clip_decoding_bytes(build, config, shape, torch.float32, kept=False) for shape in shapes]
    assert streamed[1:] == pytest.approx([streamed[0]] * 2, rel=0.03)  # a longer latent is all
    in_8_bits = [3 * frames * height * width for frames, height, width in shapes]
    assert [whole - flat for whole, flat in zip(kept, streamed, strict=True)] == in_8_bits


def test_tiles_take_less_than_the_whole_frame() -> None:
    wan = partial(
        clip_decoding_bytes, WanAutoencoder, WanAutoencoderConfig(num_blocks=1), (81, 480, 832), torch.float32
    )
    tiling = Tiling(tile=256, stride=192)
    assert wan(tiling) < wan() / 3
    longer = (961, 480, 832)
    streamed = partial(clip_decoding_bytes, WanAutoencoder, WanAutoencoderConfig(num_blocks=1), dtype=torch.float32)
    assert streamed(longer, tiling=tiling, kept=False) < 1.02 * streamed((81, 480, 832), tiling=tiling, kept=False)


def test_decoding_heals_itself_in_tiles(
    clip_bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They fade into each other, so frames are near those of the whole; the latent is safe before."""
    monkeypatch.setattr("sanakit.pipelines.clips.decode.TILINGS", (Tiling(tile=32, stride=24),))
    pipeline = TextToImagePipeline(clip_bundle, rescue_folder=tmp_path)
    (clip,) = made(pipeline, "a ball", num_frames=5, height=48, width=64)
    monkeypatch.setattr(pipeline, "free_memory", lambda device: 1000)
    tiled = pipeline.decode(_saved(clip))
    assert isinstance(tiled, GeneratedClip)
    assert tiled.pictures.shape == clip.pictures.shape
    assert 0 < np.abs(tiled.pictures.astype(int) - clip.pictures).mean() < 10  # attention sees the whole frame

    def fails(latent: torch.Tensor, **how: Any) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(clip_bundle.autoencoder, "decode_stream", fails)
    with pytest.raises(DecodeMemoryError, match=r"a clip of 5 frames of 64x48 px could not .* sanakit decode"):
        pipeline.decode(_saved(clip))


@pytest.mark.parametrize("causal", [True, False])
def test_with_the_autoencoder_of_ltx2(clip_bundle: ModelBundle, tiny_model: Path, tmp_path: Path, causal: bool) -> None:
    """As the models of 720p have it, through a folder."""
    small = LTX2AutoencoderConfig(
        channels=(8, 16, 32, 64), num_blocks=(1, 1, 1, 1, 1), decoder_channels=(16, 32, 64),
        decoder_num_blocks=(1, 1, 1, 1), latent_channels=16, decoder_causal=causal,
    )  # fmt: skip
    config = replace(clip_bundle.transformer.config, patch_size=(1, 1, 1))
    parts = {"transformer": VideoDiT(config).eval(), "autoencoder": LTX2Autoencoder(small).eval()}
    model = in_a_folder(clip_bundle, tiny_model, tmp_path, **parts)
    (clip,) = made(model, "a ball", num_frames=17, image=PICTURE)
    assert clip.latent.shape == (1, 16, 3, 2, 2)
    assert clip.pictures.shape == (17, 64, 64, 3)
    with pytest.raises(RequestError, match="1 frame more than a multiple of 8; the nearest are 9 or 17"):
        model("a ball", num_frames=13)


def test_with_dc_ae_v(clip_bundle: ModelBundle, tiny_model: Path, tmp_path: Path) -> None:
    """As the paper's models of 720p have it, through a folder, and its weights alone beside a transformer."""
    small = DCAEVConfig(
        channels=(8, 8, 8, 16, 16, 16, 16), num_blocks=(0, 1, 1, 1, 1, 1, 1), latent_channels=16, chunk=2
    )
    config = replace(clip_bundle.transformer.config, patch_size=(1, 1, 1))
    parts = {"transformer": VideoDiT(config).eval(), "autoencoder": DCAEV(small).eval()}
    model = in_a_folder(clip_bundle, tiny_model, tmp_path, **parts)
    (clip,) = made(model, "a ball", num_frames=13, image=PICTURE)
    assert clip.latent.shape == (1, 16, 4, 2, 2)
    assert clip.pictures.shape == (13, 64, 64, 3)
    other = load_bundle(tmp_path / "model", autoencoder=tmp_path / "model" / "vae")
    (again,) = made(TextToImagePipeline(other), "a ball", num_frames=13, image=PICTURE)
    assert again.record.image == clip.record.image


def in_a_folder(bundle: ModelBundle, tiny_model: Path, place: Path, **parts: Any) -> TextToImagePipeline:
    """A model of clips of 64 pixels, as it comes out of its files."""
    card = replace(bundle.card, defaults=replace(bundle.card.defaults, base_size=64))
    text = load_bundle(tiny_model).text_encoder
    save_bundle(replace(bundle, card=card, text_encoder=text, **parts), place / "model")
    return TextToImagePipeline(load_bundle(place / "model"))
