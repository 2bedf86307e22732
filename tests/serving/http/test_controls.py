"""Pictures that control, by names of the server's ControlNets."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from PIL import Image, ImageDraw

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.diffusers_layout import save_network
from sanakit.checkpoints.networks.controlnet import kind_of_controlnet
from sanakit.models.transformers.controlnet import ControlNet
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.serving.http.app import JobFiles, make_app
from sanakit.serving.service import Service

WISH = {"prompt": "a cat", "num_inference_steps": 2, "seed": 3}


@pytest.fixture(scope="module")
def network(service: Service, tiny_bundle: ModelBundle) -> Path:
    """Among those that requests may name, as "net"."""
    net = ControlNet.copied(tiny_bundle.transformer, 1, "upstream")
    generator = torch.Generator().manual_seed(1)
    for layer in (net.before, *net.after):
        layer.weight.data.normal_(std=0.2, generator=generator)
    assert service.controls is not None
    save_network(kind_of_controlnet(net.config), net, service.controls / "net")
    return service.controls / "net"


@pytest.fixture(scope="module")
def http(service: Service, served: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    jobs = JobFiles(jobs=tmp_path_factory.mktemp("jobs"))
    with served(make_app(service, jobs=jobs)) as address, httpx2.Client(base_url=address, timeout=60) as client:
        yield client


def drawing() -> bytes:
    picture, file = Image.new("RGB", (96, 96), "white"), io.BytesIO()
    ImageDraw.Draw(picture).ellipse((20, 30, 60, 70), outline="black", width=3)
    picture.save(file, "png")
    return file.getvalue()


def test_a_picture_controls_over_json_a_form_and_a_job(
    http: httpx2.Client, network: Path, tiny_bundle: ModelBundle
) -> None:
    use = {"name": "net", "type": "drawing", "scale": 0.8}
    image = f"data:image/png;base64,{base64.b64encode(drawing()).decode()}"
    told = http.post("/v1/images/generations", json={**WISH, "controls": [{**use, "image": image}]})
    assert told.status_code == 200, told.text
    form = {**{name: str(value) for name, value in WISH.items()}, "controls": json.dumps([use])}
    files = {"control": ("drawing.png", drawing())}
    again = http.post("/v1/images/generations", data=form, files=files)
    job = http.post("/v1/jobs", data=form, files=files).json()
    http.get(f"/v1/jobs/{job['id']}/events")
    found = http.get(f"/v1/jobs/{job['id']}/result")
    control = {"image": Image.open(io.BytesIO(drawing())), "type": "drawing", "scale": 0.8, "model": network}
    fields = {"num_inference_steps": 2, "seed": 3}
    own = TextToImagePipeline(tiny_bundle)("a cat", controls=[control], **fields).images[0].picture.tobytes()
    assert own != TextToImagePipeline(tiny_bundle)("a cat", **fields).images[0].picture.tobytes()
    for answer in (told, again, found):
        (picture,) = answer.json()["data"]
        assert Image.open(io.BytesIO(base64.b64decode(picture["b64_json"]))).tobytes() == own


@pytest.mark.parametrize(
    ("controls", "told"),
    [
        ([{"name": "net"}], "0 pictures came for 1 controls"),
        ([{"name": "net", "image": "?"}], "no base64"),
        ([{"name": "net", "image": "AAAA"}], "picture"),
        ([{"name": "../net", "image": base64.b64encode(drawing()).decode()}], "there is no ControlNet '../net' here"),
        ([{"name": "net", "image": base64.b64encode(drawing()).decode(), "type": "smell"}], "smell"),
        ([{"image": base64.b64encode(drawing()).decode()}], "ControlNet"),  # and the model has none of its own
        ([{"image": "AAAA"}] * 5, "it should have at most 4 items"),
        ("net", "0 pictures came for 1 controls"),
    ],
)
def test_what_cannot_control_is_told(http: httpx2.Client, network: Path, controls: object, told: str) -> None:
    answer = http.post("/v1/images/generations", json={**WISH, "controls": controls})
    assert answer.status_code == 400, answer.text
    assert told in answer.json()["error"]["message"]
    assert answer.json()["error"]["param"] in ("controls", None)  # it may be the model's fault
