"""The studio over a tiny model of clips."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from tests.pipelines.clips.conftest import clip_bundle  # noqa: F401 (a fixture)
from tests.serving.conftest import ThreadLanes
from tests.serving.http.test_videos import clips  # noqa: F401 (a fixture)

from sanakit.checkpoints.opening import open_model
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.serving.http.app import JobFiles, make_app
from sanakit.serving.service import Service
from sanakit.serving.studio.gallery import Gallery
from sanakit.serving.studio.routes import studio_routes
from sanakit.serving.workers import fit_previews

WISH = {"prompt": "a ball rolls", "seed": 5, "num_inference_steps": 3, "num_frames": 9, "motion_score": 20}


@pytest.fixture(scope="module")
def http(clips: Path, served: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:  # noqa: F811
    bundle, gallery = open_model(clips).load(), Gallery(tmp_path_factory.mktemp("gallery"))
    lanes = ThreadLanes(bundle, fit_previews(TextToImagePipeline(bundle)))
    lanes.start()
    service = Service(open_model(clips), lanes)
    jobs = JobFiles(jobs=tmp_path_factory.mktemp("jobs"), on_picture=gallery.keep)
    with (
        served(make_app(service, jobs=jobs, routers=[studio_routes(service, gallery)])) as address,
        httpx2.Client(base_url=address, timeout=60) as client,
    ):
        yield client
    service.stop(0)
    lanes.close()


def made(http: httpx2.Client, **wish: Any) -> tuple[dict[str, Any], list[bytes]]:
    """A job's facts at its end, and its previews."""
    job = http.post("/v1/jobs", json={**WISH, "preview_every": 1, **wish})
    assert job.status_code == 202, job.text
    events = http.get(f"/v1/jobs/{job.json()['id']}/events").text
    told = [json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: ")]
    return told[-1]["job"], [base64.b64decode(news["b64_json"]) for news in told if "b64_json" in news]


@pytest.mark.parametrize("kind", ["mp4", "webp"])
def test_a_clip_is_filmed_shown_recalled_and_made_again(http: httpx2.Client, kind: str, tmp_path: Path) -> None:
    if kind == "mp4":
        pytest.importorskip("av")
    job, previews = made(http, output_format=kind, prompt=f"a {kind}")
    assert job["status"] == "completed", job["error"]
    assert getattr(Image.open(io.BytesIO(previews[0])), "n_frames", 1) == 3  # one of every frame of the latent
    (found,) = http.get("/studio/pictures", params={"words": kind}).json()["data"]
    assert found["clip"] == {"num_frames": 9, "fps": 8, "video": kind == "mp4"}
    place = f"/studio/pictures/{found['name']}"
    file = http.get(place)
    assert file.headers["content-type"] == ("video/mp4" if kind == "mp4" else "image/webp")
    assert Image.open(io.BytesIO(http.get(f"{place}/thumbnail").content)).size == (32, 32)
    assert Image.open(io.BytesIO(http.get(f"{place}/strip").content)).size == (8 * 72, 72)
    told = http.get(f"{place}/settings").json()
    assert told == http.post("/studio/recall", content=file.content).json()
    assert told["of"] == "clip"
    assert told["lacks"] == []
    wanted = {**WISH, "prompt": f"a {kind}", "size": "32x32"}
    assert {name: told["settings"][name] for name in wanted} == wanted
    job, _ = made(http, **told["settings"], output_format=kind)  # the form's wish again
    assert job["data"][0]["sha256"].startswith(found["sha256"])
    assert http.post(f"{place}/replay").json()["outcome"] == "identical"


def test_what_a_clip_was_made_from_is_kept_with_it(http: httpx2.Client) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    job, _ = made(http, output_format="webp", prompt="begins", input_reference={"image_url": url})
    remix = http.post(f"/v1/videos/{job['id']}/remix", json={"prompt": "remixed", "preview_every": 3}).json()
    http.get(f"/v1/jobs/{remix['id']}/events")
    ((first,), (second,)) = (
        http.get("/studio/pictures", params={"words": words}).json()["data"] for words in ("begins", "remixed")
    )
    place = f"/studio/pictures/{first['name']}"
    told = http.get(f"{place}/settings").json()
    assert (told["first"], told["lacks"]) == (True, [])
    assert np.array_equal(Image.open(io.BytesIO(http.get(f"{place}/first").content)), picture)
    assert http.post(f"{place}/replay").json()["outcome"] == "identical"
    assert http.delete(place).json()["deleted"]
    place = f"/studio/pictures/{second['name']}"
    told = http.get(f"{place}/settings").json()
    assert (told["first"], len(told["lacks"])) == (False, 1)
    assert "which a file does not hold" in told["lacks"][0]
    assert http.post(f"{place}/replay").json()["outcome"] == "identical"
    assert "is not in the gallery" in http.get(f"{place}/first").json()["error"]["message"]


def test_what_the_form_must_know_and_what_is_none_of_its(http: httpx2.Client) -> None:
    facts = http.get("/studio/facts").json()
    assert facts["clips"] | {"format": ""} == {
        "num_frames": 9, "fps": 8, "motion_score": 10, "temporal": 4, "format": "",
    }  # fmt: skip
    assert facts["defaults"]["size"] in {size for each in facts["shapes"] for size in each["sizes"]}
    assert "media-src blob:" in http.get("/").headers["content-security-policy"]
    picture = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture, "png")
    told = http.post("/studio/recall", content=picture.getvalue()).json()
    assert (told["settings"], told["of"]) == (None, None)
    for content in (b"", b"\0\0\0\x18ftypmp42 cut off", b"\x1aE\xdf\xa3", b"GIF89a"):
        answer = http.post("/studio/recall", content=content)
        assert answer.status_code == 400, answer.text


@pytest.mark.slow
def test_the_page_plays_and_scrubs_it(http: httpx2.Client, tmp_path: Path) -> None:
    pytest.importorskip("av")
    from tests.serving.studio.test_browser import opened

    Image.new("RGB", (40, 40), "orange").save(tmp_path / "first.png")
    with opened(str(http.base_url)) as page:
        assert [page.input_value(f"#{name}") for name in ("frames", "fps", "motion")] == ["9", "8", "10"]
        page.set_input_files("#first-file", tmp_path / "first.png")
        page.wait_for_selector("#first-picture:not([hidden])")
        page.fill("#prompt", "a page films this")
        page.fill("#frames", "5")
        page.keyboard.press("Control+Enter")
        page.wait_for_selector("#shown video[src^=blob]")
        page.click("#gallery button[aria-label^='a page films this']")
        page.wait_for_selector("#strip:not([hidden])")
        page.click("#strip", position={"x": 3, "y": 8})
        page.wait_for_selector("#play[aria-label=Play]")
        page.click("#forth")
        page.wait_for_timeout(500)
        assert page.inner_text("#frame-told") == "2 / 5"
        assert page.inner_text("#viewer-told") == ""
        page.fill("#frames", "9", force=True)
        page.click("#recall")
        page.wait_for_selector("#first-picture:not([hidden])")
        assert (page.input_value("#prompt"), page.input_value("#frames")) == ("a page films this", "5")
