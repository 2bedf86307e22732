"""Clips that are written while they are decoded."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.errors import OutputError, RequestError
from sanakit.models.autoencoders.wan import WanAutoencoder
from sanakit.pipelines.clips.clip import GeneratedClip
from sanakit.pipelines.clips.files import Frame
from sanakit.pipelines.clips.place import choose_clip_place
from sanakit.pipelines.decoding.tiling import Tiling
from sanakit.pipelines.latent_file import SavedLatent
from sanakit.pipelines.replay import read_made, replay
from sanakit.pipelines.text_to_image import TextToImagePipeline


def bytes_of(path: Path) -> dict[str, bytes]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.mp4", "a.webm"])
def test_a_streamed_clip_is_the_same_file(clips: TextToImagePipeline, tmp_path: Path, name: str) -> None:
    if name.endswith(("mp4", "webm")):
        pytest.importorskip("av")
    whole, streamed = tmp_path / "whole", tmp_path / "streamed"
    whole.mkdir()
    streamed.mkdir()
    (clip,) = clips("a ball", num_frames=9, seed=4).images
    (other,) = clips("a ball", num_frames=9, seed=4, save_to=streamed / name).images
    assert isinstance(other, GeneratedClip)
    assert other.file is not None
    assert other.record == clip.record
    assert bytes_of(other.file) == bytes_of(clip.save(whole / name))
    assert read_made(other.file)[0] == clip.record
    assert replay(other.file, clips).identical
    with pytest.raises(RequestError, match=r"the frames of this clip are in .* alone"):
        _ = other.pictures


def test_frames_are_on_the_disk_before_later_ones_are_decoded(
    clip_bundle: ModelBundle, clips: TextToImagePipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, decode_chunk = [], WanAutoencoder.decode_chunk

    def watched(self: WanAutoencoder, latent: torch.Tensor, memory: Any) -> torch.Tensor:
        if not latent.is_meta:  # as trials for their memory are
            written.append(len([*tmp_path.rglob("*.png")]))
        return decode_chunk(self, latent, memory)

    monkeypatch.setattr(WanAutoencoder, "decode_chunk", watched)
    clips("a ball", num_frames=13, save_to=tmp_path / "a.png")
    assert written == [0, 1, 5, 9]


@pytest.mark.parametrize("clip_format", ["gif", "webp", "png", "mp4", "webm"])
def test_no_frame_is_kept(clips: TextToImagePipeline, tmp_path: Path, clip_format: str) -> None:
    if clip_format in ("mp4", "webm"):
        pytest.importorskip("av")
    (clip,) = clips("a ball", num_frames=9, output="latent").images
    given: list[weakref.ref[Frame]] = []
    alive = []

    def coming() -> Iterator[Frame]:
        for index in range(9):
            frame = np.full((16, 16, 3), index, np.uint8)
            given.append(weakref.ref(frame))
            alive.append(sum(reference() is not None for reference in given))
            yield frame

    choose_clip_place(tmp_path / f"a.{clip_format}").write(coming(), clip.record)
    assert max(alive) <= 3  # the new one, and those that generators have in hand


def test_a_full_disk_keeps_the_latent(
    clip_bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = TextToImagePipeline(clip_bundle, rescue_folder=tmp_path / "kept")

    def full(*_: Any, **how: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sanakit.pipelines.clips.writing.getdata", full)
    with pytest.raises(OutputError, match=r"No space left on device.*make room and run: sanakit decode .*kept"):
        pipeline("a ball", num_frames=5, save_to=tmp_path / "a.gif")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_full_temporary_folder_is_named_and_keeps_the_latent(
    clip_bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In which tiles lie; the file that was to be written is not what is full."""
    monkeypatch.setattr("sanakit.pipelines.clips.decode.TILINGS", (Tiling(tile=16, stride=8),))
    pipeline = TextToImagePipeline(clip_bundle, rescue_folder=tmp_path / "kept")
    (clip,) = pipeline("a ball", num_frames=5, output="latent").images
    monkeypatch.setattr(pipeline, "free_memory", lambda device: 1000)

    def full(*_: Any, **how: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sanakit.pipelines.clips.tiles._decode_into", full)
    finished = SavedLatent(latent=clip.latent, record=clip.record)
    for where in ({}, {"save_to": tmp_path / "a.gif"}):
        with pytest.raises(OutputError, match=r"^/.*, where tiles of a clip lie .*No space.*sanakit decode .*kept"):
            pipeline.decode(finished, **where)


def test_a_name_with_a_colon_is_no_protocol(
    clips: TextToImagePipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    monkeypatch.chdir(tmp_path)
    (clip,) = clips("a ball", num_frames=5, save_to="12:30.mp4").images
    assert read_made("12:30.mp4")[0] == clip.record


def test_what_cannot_be_written_is_told_before_work(
    clips: TextToImagePipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr(clips, "jobs", None)  # which would be asked first
    with pytest.raises(RequestError, match="PyAV, which writes and reads MP4 and WebM, is not installed"):
        clips("a ball", num_frames=5, save_to=tmp_path / "a.mp4")


def test_only_clips_are_streamed(clips: TextToImagePipeline, pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="pictures are saved once they are there"):
        pipeline("a ball", save_to=tmp_path / "a.png")
    with pytest.raises(RequestError, match="only 'pil' is written to a file"):
        clips("a ball", num_frames=5, output="np", save_to=tmp_path / "a.gif")
    with pytest.raises(RequestError, match="one file for 2 clips"):
        clips(["a ball", "a cat"], num_frames=5, save_to=tmp_path / "a.gif")
