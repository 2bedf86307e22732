"""What the page asks the server for."""

from __future__ import annotations

import io
from typing import Any

import httpx2
import pytest
import torch
from PIL import Image, PngImagePlugin

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.cli.serving.options import AddressOptions
from sanakit.pipelines.picture_file import encode_image, read_record
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.serving.studio.gallery import Gallery
from sanakit.serving.wishes import Files

WISH = {
    "prompt": "Größe of two red apples", "seed": 7, "num_inference_steps": 2, "size": "64x64", "guidance_scale": 2.0,
}  # fmt: skip


@pytest.fixture
def drawn(http: httpx2.Client, gallery: Gallery) -> str:
    """The name of a picture in the gallery, which a job made."""
    job = http.post("/v1/jobs", json=WISH).json()
    with http.stream("GET", f"/v1/jobs/{job['id']}/events") as told:
        assert any(line == "event: job.completed" for line in told.iter_lines())
    sha256 = http.get(f"/v1/jobs/{job['id']}").json()["data"][0]["sha256"]
    (picture,) = (each for each in gallery.find("größe")[0])  # the same wish is the same file
    assert sha256.startswith(picture.sha256)
    return picture.path.name


def test_page(http: httpx2.Client) -> None:
    page = http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'; script-src 'self'" in page.headers["content-security-policy"]
    script = http.get("/studio/page/main.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["content-security-policy"] == page.headers["content-security-policy"]
    assert http.get("/studio/page/main.js", headers={"if-none-match": script.headers["etag"]}).status_code == 304


@pytest.mark.parametrize("name", ["..%2froutes.py", "%2e%2e/routes.py", "nothing.js", "main.js%00"])
def test_other_files_are_not_given(http: httpx2.Client, name: str) -> None:
    assert http.get(f"/studio/page/{name}").status_code == 404


def test_facts_have_sizes_that_can_be_made(http: httpx2.Client) -> None:
    facts = http.get("/studio/facts").json()
    assert facts["defaults"]["num_inference_steps"]
    assert isinstance(facts["words"], list)
    assert any(facts["defaults"]["size"] in each["sizes"] for each in facts["shapes"])
    for each in facts["shapes"]:
        for size in each["sizes"]:
            answer = http.post("/v1/jobs", json={"prompt": "", "size": size, "num_inference_steps": 1})
            assert answer.status_code == 202, answer.text
            http.post(f"/v1/jobs/{answer.json()['id']}/cancel")


def test_a_picture_of_a_job_is_kept_as_it_is(http: httpx2.Client, gallery: Gallery, drawn: str) -> None:
    assert http.get(f"/studio/pictures/{drawn}").content == (gallery.folder / drawn).read_bytes()
    assert read_record(gallery.folder / drawn).request.seed == 7
    listed = http.get("/studio/pictures", params={"words": "APPLES größe"}).json()
    assert [each["name"] for each in listed["data"]] == [drawn]
    assert http.get("/studio/pictures", params={"words": "größe pears"}).json() == {"data": [], "total": 0}
    assert http.get(f"/studio/pictures/{drawn}/thumbnail").headers["content-type"] == "image/webp"


def test_settings_come_back_from_the_gallery_and_from_a_file(http: httpx2.Client, gallery: Gallery, drawn: str) -> None:
    told = http.get(f"/studio/pictures/{drawn}/settings").json()
    assert WISH.items() <= told["settings"].items()
    assert told["lacks"] == []
    assert http.post("/studio/recall", content=(gallery.folder / drawn).read_bytes()).json() == told
    answer = http.post("/v1/images/generations", json=told["settings"])  # which takes them as they are
    assert answer.status_code == 200, answer.text


def test_replay_says_identical_or_not(http: httpx2.Client, gallery: Gallery, drawn: str) -> None:
    assert http.post(f"/studio/pictures/{drawn}/replay").json()["outcome"] == "identical"
    with Image.open(gallery.folder / drawn) as picture:
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text("sanakit", picture.info["sanakit"])
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(gallery.folder / "turned.png", pnginfo=chunks)
    told = http.post("/studio/pictures/turned.png/replay").json()
    assert told["outcome"] == "different"
    assert any("pixels" in each for each in told["differences"])
    assert http.delete("/studio/pictures/turned.png").json()["deleted"]
    assert not (gallery.folder / "turned.png").exists()


def test_a_picture_of_latents_or_a_picture_that_are_not_here_is_not_made_again(
    http: httpx2.Client, gallery: Gallery, tiny_bundle: ModelBundle
) -> None:
    noise = torch.randn(1, 4, 8, 8)
    made = TextToImagePipeline(tiny_bundle)("a cat", latents=noise, num_inference_steps=1).images[0]
    (gallery.folder / "given.png").write_bytes(encode_image(made.picture, made.record, "png"))
    answer = http.post("/studio/pictures/given.png/replay")
    assert answer.status_code == 400
    assert "which its record does not hold" in answer.json()["error"]["message"]
    start = Image.new("RGB", (128, 128), "orange")
    made = TextToImagePipeline(tiny_bundle)("a cat", image=start, num_inference_steps=2).images[0]
    (gallery.folder / "given.png").write_bytes(encode_image(made.picture, made.record, "png"))
    answer = http.post("/studio/pictures/given.png/replay")
    assert "is not in the gallery; use its settings" in answer.json()["error"]["message"]
    (gallery.folder / "given.png").unlink()


def test_what_a_picture_was_made_from_is_kept_with_it(
    http: httpx2.Client, gallery: Gallery, tiny_bundle: ModelBundle
) -> None:
    start, mask = Image.new("RGB", (128, 128), "orange"), Image.new("L", (128, 128))
    mask.paste(255, (0, 0, 128, 64))
    came = Files((encode_image(start, None, "jpeg"),), encode_image(mask, None, "png"))
    wish: dict[str, Any] = {"image": Image.open(io.BytesIO(came.pictures[0])), "edit": {"mask": mask}}
    for number in range(2):
        made = TextToImagePipeline(tiny_bundle)("a cat", **wish, num_inference_steps=1, seed=number).images[0]
        gallery.keep(encode_image(made.picture, made.record, "png"), came)
    names = [kept.path.name for kept in gallery.find(limit=2)[0]]
    for name in names:  # what the last one was made from goes with it
        assert http.post(f"/studio/pictures/{name}/replay").json()["outcome"] == "identical"
        assert len([*gallery.given.folder.iterdir()]) == 2
        http.delete(f"/studio/pictures/{name}")
    assert not [*gallery.given.folder.iterdir()]


def test_what_is_no_picture_of_ours_is_told(http: httpx2.Client, gallery: Gallery) -> None:
    foreign = gallery.folder / "foreign.png"
    Image.new("RGB", (8, 8)).save(foreign)
    assert "foreign.png" in {each["name"] for each in http.get("/studio/pictures").json()["data"]}
    for answer in (
        http.get("/studio/pictures/foreign.png/settings"),
        http.post("/studio/recall", content=foreign.read_bytes()),
    ):
        assert answer.json()["settings"] is None
        assert "no record" in answer.json()["lacks"][0]
    for answer in (
        http.post("/studio/pictures/foreign.png/replay"),
        http.post("/studio/recall", content=b"no picture"),
        http.post("/studio/recall", content=b""),
    ):
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]
    foreign.unlink()


@pytest.mark.parametrize("name", ["nothing.png", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "a" * 5000 + ".png"])
def test_names_that_are_no_pictures(http: httpx2.Client, name: str) -> None:
    for path in (f"/studio/pictures/{name}", f"/studio/pictures/{name}/thumbnail"):
        assert http.get(path).status_code in (400, 404)
    assert http.delete(f"/studio/pictures/{name}").status_code in (400, 404, 405)


def test_other_pages_are_not_answered(http: httpx2.Client) -> None:
    for headers in ({"host": "evil.example"}, {"host": "evil.example:80"}, {"sec-fetch-site": "cross-site"}):
        assert http.get("/studio/pictures", headers=headers).status_code == 403
        assert http.get("/", headers=headers).status_code == 403


@pytest.mark.parametrize("host", ["[::1]", "[::1]:8000", "LOCALHOST", "LocalHost:8000", "127.0.0.1"])
def test_its_own_names_are_known_however_they_are_written(http: httpx2.Client, host: str) -> None:
    assert http.get("/studio/pictures", headers={"host": host}).status_code == 200


def test_a_local_address_is_local_in_capitals_too() -> None:
    for host in ("LOCALHOST", "::1", "127.0.0.1"):
        assert "::1" in AddressOptions(host=host).limits({}).hosts
    for host in ("0.0.0.0", "example.org"):
        assert not AddressOptions(host=host).limits({}).hosts
