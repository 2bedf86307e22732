"""The videos API over a tiny model of clips."""

from __future__ import annotations

import base64
import io
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
from PIL import Image
from tests.conftest import _with_idle_tokens
from tests.pipelines.clips.conftest import clip_bundle  # noqa: F401 (a fixture)
from tests.serving.conftest import ThreadLanes

from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.checkpoints.opening import open_model
from sanakit.pipelines.clips.files import read_clip_record, read_frames
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.serving.http.app import JobFiles, make_app
from sanakit.serving.service import Service

WISH = {"prompt": "a ball rolls", "seed": 5, "size": "32x32", "num_inference_steps": 2, "num_frames": 5}


@pytest.fixture(scope="module")
def clips(clip_bundle: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A model folder."""
    folder = tmp_path_factory.mktemp("model") / "clips"
    save_bundle(replace(clip_bundle, text_encoder=_with_idle_tokens(clip_bundle.text_encoder)), folder)
    return folder


@pytest.fixture(scope="module")
def http(clips: Path, served: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    lanes = ThreadLanes(open_model(clips).load(), None)
    lanes.start()
    service = Service(open_model(clips), lanes)
    app = make_app(service, jobs=JobFiles(jobs=tmp_path_factory.mktemp("jobs")))
    with served(app) as address, httpx2.Client(base_url=address, timeout=60) as client:
        yield client
    service.stop(0)
    lanes.close()


def finished(http: httpx2.Client, video: dict[str, Any]) -> dict[str, Any]:
    end = time.monotonic() + 60
    while video["status"] not in ("completed", "failed"):
        assert time.monotonic() < end
        time.sleep(0.05)
        video = http.get(f"/v1/videos/{video['id']}").json()
    return video


def test_a_clip_is_made_as_the_library_makes_it(http: httpx2.Client, clips: Path, tmp_path: Path) -> None:
    created = http.post("/v1/videos", files={name: (None, str(value)) for name, value in WISH.items()})  # as the SDK
    assert created.status_code == 200, created.text
    video = finished(http, created.json())
    assert video["error"] is None
    told = {name: video[name] for name in ("object", "status", "progress", "size", "seconds", "num_frames")}
    assert told == {
        "object": "video", "status": "completed", "progress": 100, "size": "32x32", "seconds": "0.625", "num_frames": 5,
    }  # fmt: skip
    file = http.get(f"/v1/videos/{video['id']}/content")
    assert file.headers["content-type"] == "video/mp4"
    (tmp_path / "served.mp4").write_bytes(file.content)
    fields = {name: WISH[name] for name in ("seed", "num_inference_steps", "num_frames")}
    own = TextToImagePipeline(open_model(clips).load())(WISH["prompt"], width=32, height=32, **fields).images[0]
    own.save(tmp_path / "own.mp4")
    for served, made in zip(*map(read_frames, (tmp_path / "served.mp4", tmp_path / "own.mp4")), strict=True):
        assert np.array_equal(served, made)
    record = read_clip_record(tmp_path / "served.mp4")
    assert record is not None
    assert record.image == own.record.image
    thumbnail = http.get(f"/v1/videos/{video['id']}/content", params={"variant": "thumbnail"})
    assert Image.open(io.BytesIO(thumbnail.content)).size == (32, 32)
    sheet = http.get(f"/v1/videos/{video['id']}/content", params={"variant": "spritesheet"})
    assert Image.open(io.BytesIO(sheet.content)).size == (5 * 180, 180)
    assert sheet.headers["content-type"] == "image/jpeg"
    assert video["seed"] == 5  # a text in the form
    assert [each["id"] for each in http.get("/v1/videos").json()["data"]] == [video["id"]]
    assert http.delete(f"/v1/videos/{video['id']}").json()["deleted"]
    assert http.get(f"/v1/videos/{video['id']}").json()["error"]["code"] == "job_not_found"


def test_a_clip_begins_with_a_picture_and_lasts_as_long_as_was_said(
    http: httpx2.Client, clips: Path, tmp_path: Path
) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(picture, "png")
    url = f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
    body = {"prompt": "a", "seconds": "0.6", "num_inference_steps": 2, "output_format": "gif"}
    video = finished(http, http.post("/v1/videos", json={**body, "input_reference": {"image_url": url}}).json())
    assert (video["error"], video["num_frames"], video["fps"]) == (None, 5, 8)
    (tmp_path / "served.gif").write_bytes(http.get(f"/v1/videos/{video['id']}/content").content)
    record = read_clip_record(tmp_path / "served.gif")
    assert record is not None
    fields = {"seed": video["seed"], "num_inference_steps": 2, "num_frames": 5, "image": Image.open(picture)}
    own = TextToImagePipeline(open_model(clips).load())("a", **fields).images[0]
    assert record.image == own.record.image
    video = http.post("/v1/videos", json={"prompt": "a", "num_inference_steps": 900}).json()
    assert http.delete(f"/v1/videos/{video['id']}").json()["deleted"]  # while it is made


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_official_client_makes_one_from_a_picture(http: httpx2.Client) -> None:
    client = openai.OpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0)
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(picture, "png")
    wish: Any = {"prompt": "a", "seconds": "0.6", "extra_body": {"num_inference_steps": 1}}
    video = client.videos.create_and_poll(**wish, input_reference=("a.png", picture.getvalue()), poll_interval_ms=50)
    assert (video.status, video.seconds) == ("completed", "0.625")
    assert client.videos.download_content(video.id).read()[4:8] == b"ftyp"
    assert client.videos.delete(video.id).deleted
    with pytest.raises(openai.BadRequestError) as caught:
        client.videos.create(prompt="a", extra_body={"num_frames": 4})
    assert caught.value.param == "num_frames"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_official_client_makes_one_from_another(http: httpx2.Client, clips: Path, tmp_path: Path) -> None:
    client = openai.OpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0)

    def there(video: Any) -> Any:
        ended = client.videos.poll(video.id, poll_interval_ms=50)
        assert ended.error is None
        (tmp_path / f"{video.id}.mp4").write_bytes(client.videos.download_content(video.id).read())
        return ended, tmp_path / f"{video.id}.mp4"

    first, source = there(client.videos.create(prompt="a", extra_body={**WISH, "prompt": "a", "fps": 6}))
    how: Any = {"extra_body": {"seed": 7, "strength": 0.5}}
    how_long: Any = {"extra_body": {"num_frames": 5, "fps": 6, "num_inference_steps": 1}}
    remixed, remix = there(client.videos.remix(first.id, prompt="b", **how))
    assert (remixed.remixed_from_video_id, remixed.prompt, remixed.size) == (first.id, "b", "32x32")
    assert (remixed.seconds, remixed.seed, remixed.num_frames) == (first.seconds, 7, 5)
    settings: Any = {"seed": 7, "num_inference_steps": 2, "num_frames": 5}
    own = TextToImagePipeline(open_model(clips).load())("b", clip=source, strength=0.5, **settings).images[0]
    uploaded, edit = there(
        client.videos.edit(prompt="b", video=source.read_bytes(), extra_body={**settings, "strength": 0.5})
    )
    assert uploaded.remixed_from_video_id is None
    for made in map(read_clip_record, (remix, edit)):
        assert made is not None
        assert made.image == own.record.image
        assert made.request.clip == own.record.request.clip
    in_a_form = {"prompt": (None, "b"), "video[id]": (None, remixed.id)}  # which the client itself refuses
    bodies: list[Any] = [{"json": {"prompt": "b", "video": {"id": remixed.id}}}, {"files": in_a_form}]
    for body in bodies:
        edited = finished(http, http.post("/v1/videos/edits", **body).json())
        assert (edited["remixed_from_video_id"], edited["strength"], edited["error"]) == (remixed.id, 0.6, None)
    extended, longer = there(client.videos.extend(prompt="c", seconds="4", video=source.read_bytes(), **how_long))
    assert (extended.seconds, extended.num_frames, len([*read_frames(longer)])) == (f"{9 / 6:g}", 5, 9)
    by_rate = http.post(
        "/v1/videos/extensions", data={"prompt": "c", "seconds": "0.8"}, files={"video": source.open("rb")}
    )
    assert finished(http, by_rate.json())["num_frames"] == 5  # at 6 a second as the file has, and not at 8
    by_id = http.post("/v1/videos/extensions", json={"prompt": "c", "video": {"id": extended.id}, "seconds": 0.8})
    assert finished(http, by_id.json())["seconds"] == f"{13 / 6:g}"
    again = http.post(f"/v1/videos/{by_id.json()['id']}/remix", json={"prompt": "d"}).json()
    assert (again["num_frames"], again["seconds"]) == (9, "1.5")  # the model's own length
    client.videos.delete(first.id)
    assert client.videos.retrieve(remixed.id).remixed_from_video_id == first.id
    with pytest.raises(openai.NotFoundError, match="there is no job"):
        client.videos.remix(first.id, prompt="c")
    assert http.post("/v1/videos/characters", json={}).status_code == 501
    with pytest.raises(openai.BadRequestError, match="the clip cannot be read") as caught:
        client.videos.edit(prompt="c", video=b"no clip")
    assert caught.value.param == "video"


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"num_frames": 4}, "num_frames"),
        ({"seconds": "long"}, "seconds"),
        ({"size": "large"}, "size"),
        ({"output_format": "png"}, "output_format"),
        ({"input_reference": {"file_id": "x"}}, "input_reference"),
        ({"controls": ["net"]}, "controls"),
        ({"model": "sora"}, "model"),
        ({"strength": 0.5}, "strength"),
        ({"video": {"file_id": "x"}}, "video"),
        ({"remixed_from_video_id": "x"}, "job"),
    ],
)
def test_what_cannot_be_done_is_told(http: httpx2.Client, wish: dict[str, Any], param: str) -> None:
    answer = http.post("/v1/videos", json={"prompt": "a", **wish})
    assert answer.status_code in (400, 404), answer.text
    assert answer.json()["error"]["param"] == param


def test_a_server_of_clips_says_so_and_is_healthy(http: httpx2.Client) -> None:
    answer = http.post("/v1/images/generations", json={"prompt": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "wrong_endpoint")
    before = http.get("/v1/videos").json()["data"]
    once = http.post("/v1/images/generations", json={"prompt": "a"}, headers={"Idempotency-Key": "k"})
    assert once.json()["error"]["code"] == "wrong_endpoint"
    assert http.get("/v1/videos").json()["data"] == before
    assert http.get("/health_generate").json()["status"] == "ok"


def test_a_format_that_cannot_be_written_is_refused_at_once(
    http: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    refused = http.post("/v1/videos", json=WISH)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "output_format"
    assert finished(http, http.post("/v1/videos", json={**WISH, "output_format": "webp"}).json())["error"] is None
