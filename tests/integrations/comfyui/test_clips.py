"""Graphs that make clips."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.integrations.comfyui.stub_host import Host
from tests.pipelines.clips.conftest import clip_bundle  # noqa: F401 (a fixture)
from tests.serving.http.test_videos import clips  # noqa: F401 (a fixture)

import sanakit
from sanakit.common.errors import PictureError, RequestError
from sanakit.integrations.comfyui import prepare_folders
from sanakit.integrations.comfyui.clips import LoadClip, SampleClip, SaveClip
from sanakit.integrations.comfyui.nodes import Prompt
from sanakit.integrations.comfyui.results import Decode
from sanakit.pipelines.replay import read_made

USUAL = {"width": 0, "height": 0, "steps": 0, "motion": -1, "guidance": -1.0, "solver": "the model's own"}


def test_a_graph_films_what_the_library_does(host: Host, clips: Path) -> None:  # noqa: F811
    prepare_folders()
    place = host.folder / "models" / "diffusers" / "films"
    shutil.copytree(clips, place)
    sample: dict[str, Any] = {"model": ["1", 0], "prompt": ["2", 0], "seed": 3, "frames": 5, "fps": 12, **USUAL}
    made = host.run({
        "1": {"class_type": "SanakitLoadModel", "inputs": {"model": "diffusers/films"}},
        "2": {"class_type": "SanakitEncodePrompt", "inputs": {"model": ["1", 0], "prompt": "a ball rolls"}},
        "3": {"class_type": "SanakitSampleClip", "inputs": sample},
        "4": {"class_type": "SanakitSaveClip",
              "inputs": {"latent": ["3", 0], "filename_prefix": "films/ball", "format": "gif"}},
        "5": {"class_type": "SanakitDecode", "inputs": {"latent": ["3", 0]}},
    })  # fmt: skip
    (file,) = made["4"]["ui"]["images"]
    record, _ = read_made(host.folder / "output" / file["subfolder"] / file["filename"])
    (own,) = sanakit.load(place)("a ball rolls", num_frames=5, fps=12, seed=3).images
    assert record.image == own.record.image
    images, (decoded,) = made["5"]
    assert decoded.image == record.image
    assert np.array_equal((images * 255).round().byte().numpy(), own.pictures)


def test_a_picture_to_begin_with(host: Host, clips: Path) -> None:  # noqa: F811
    model, prompt = sanakit.load(clips), Prompt("a ball", "", use_instruction=True)
    image = torch.rand(1, 40, 40, 3, generator=torch.Generator().manual_seed(0))
    (latents,) = SampleClip().run(model, prompt, image=image, seed=1, frames=5, fps=0, **USUAL)
    assert latents.latents[0].record.request.image is not None
    with pytest.raises(RequestError, match="begins with one picture, and 2 came"):
        SampleClip().run(model, prompt, image=image.repeat(2, 1, 1, 1), seed=1, frames=5, fps=0, **USUAL)
    assert "png" not in SaveClip.INPUT_TYPES()["required"]["format"][0]
    assert len(Decode().run(latents)[0]) == 5


@pytest.mark.parametrize("name", ["ball.gif", "ball.webp", "ball.mp4"])
def test_a_clip_goes_on_from_the_last_frame_of_a_file(host: Host, clips: Path, name: str) -> None:  # noqa: F811
    if name.endswith("mp4"):
        pytest.importorskip("av")
    prepare_folders()
    folder = host.folder / "input" / "films"
    folder.mkdir(parents=True)
    shutil.copytree(clips, host.folder / "models" / "diffusers" / "films")
    (clip,) = sanakit.load(clips)("a ball", num_frames=5, fps=10, seed=1).images
    clip.save(folder / name)
    assert LoadClip.INPUT_TYPES()["required"]["file"][0] == [f"films/{name}", ""]
    made = host.run({
        "1": {"class_type": "SanakitLoadModel", "inputs": {"model": "diffusers/films"}},
        "2": {"class_type": "SanakitEncodePrompt", "inputs": {"model": ["1", 0], "prompt": "a ball"}},
        "3": {"class_type": "SanakitLoadClip", "inputs": {"file": f"films/{name}", "frames": 0, "fps": 0}},
        "4": {"class_type": "SanakitSampleClip", "inputs": {
            "model": ["1", 0], "prompt": ["2", 0], "image": ["3", 1], "seed": 2, "frames": 5, **USUAL,
            "fps": ["3", 2]}},
    })  # fmt: skip
    images, last, fps = made["3"]
    assert fps == 10
    assert images.shape == (5, *clip.pictures.shape[1:])
    assert torch.equal(last, images[-1:])
    near = np.abs(255 * images.numpy() - clip.pictures).mean()
    assert near < 12  # what a palette, or MP4, makes of noise
    request = made["4"][0].latents[0].record.request
    assert (request.fps, request.image is not None) == (10, True)
    first, *_ = LoadClip().run("", frames=1, fps=0, source=str(folder / name))
    assert torch.equal(first, images[:1])


def test_what_is_no_clip_is_told(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no clip")
    with pytest.raises(PictureError, match=r"^a\.mp4: .*cannot be read"):
        LoadClip().run("", frames=0, fps=0, source=str(tmp_path / "a.mp4"))
    for name in ("b.mp4", "b.gif"):
        with pytest.raises(PictureError, match=rf"^{name}: .*No such file"):
            LoadClip().run("", frames=0, fps=0, source=str(tmp_path / name))
    Image.new("RGB", (60, 40)).save(tmp_path / "c.gif")
    monkeypatch.setattr("sanakit.data.clips.free_memory", lambda: 43_199)
    with pytest.raises(PictureError, match=r"^c\.gif: 1 frames of 60x40 px need"):
        LoadClip().run("", frames=0, fps=0, source=str(tmp_path / "c.gif"))
    monkeypatch.setattr("sanakit.data.clips.free_memory", lambda: 43_200)
    assert LoadClip().run("", frames=0, fps=0, source=str(tmp_path / "c.gif"))[0].shape == (1, 40, 60, 3)
    with pytest.raises(RequestError, match="no clip is chosen"):
        LoadClip.IS_CHANGED("", frames=0, fps=0)
