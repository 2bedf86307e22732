"""The official client against a server with the tiny model."""

from __future__ import annotations

import base64
import io
import time
from typing import Any

import openai
import pytest
from PIL import Image

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.serving.service import Service


def picture(content: str | None) -> Image.Image:
    assert content is not None
    return Image.open(io.BytesIO(base64.b64decode(content)))


def png(width: int, height: int, colour: tuple[int, ...] = (200, 30, 30), mode: str = "RGB") -> io.BytesIO:
    file = io.BytesIO()
    Image.new(mode, (width, height), colour).save(file, "png")
    file.name = "picture.png"
    file.seek(0)
    return file


def test_four_pictures_are_those_of_the_library(client: openai.OpenAI, tiny_bundle: ModelBundle) -> None:
    extra = {"seed": 7, "num_inference_steps": 2, "negative_prompt": "blue", "guidance_scale": 3.0}
    answer = client.images.generate(prompt="a cat", n=4, size="192x96", extra_body=extra)
    alone = TextToImagePipeline(tiny_bundle)("a cat", num_images=4, width=192, height=96, **extra)
    assert answer.data is not None
    assert answer.size == "192x96"
    assert answer.output_format == "png"
    for given, own in zip(answer.data, alone.images, strict=True):
        assert picture(given.b64_json).tobytes() == own.picture.tobytes()
    assert [each.seed for each in answer.data] == [own.record.request.seed for own in alone.images]  # type: ignore[attr-defined]


def test_without_a_seed_every_call_gives_another_picture(client: openai.OpenAI) -> None:
    first, second = (
        client.images.generate(prompt="a", extra_body={"num_inference_steps": 1}).data for _ in range(2)
    )  # fmt: skip
    assert first is not None
    assert second is not None
    assert picture(first[0].b64_json).tobytes() != picture(second[0].b64_json).tobytes()


def test_partial_pictures_come_over_a_stream(client: openai.OpenAI) -> None:
    stream = client.images.generate(
        prompt="a cat", stream=True, partial_images=2, output_format="jpeg", output_compression=50,
        extra_body={"seed": 7, "num_inference_steps": 6},
    )  # fmt: skip
    events = list(stream)
    assert [event.type for event in events] == [
        "image_generation.partial_image", "image_generation.partial_image", "image_generation.completed",
    ]  # fmt: skip
    assert [getattr(event, "partial_image_index", None) for event in events] == [0, 1, None]
    assert all(picture(event.b64_json).size == (128, 128) for event in events)
    assert all(picture(event.b64_json).format == "JPEG" for event in events)


def test_no_partial_pictures_is_one_event(client: openai.OpenAI) -> None:
    events = list(client.images.generate(prompt="a", stream=True, partial_images=0))
    assert [event.type for event in events] == ["image_generation.completed"]


def test_a_stream_that_is_closed_cancels_its_picture(client: openai.OpenAI, service: Service) -> None:
    stream = client.images.generate(
        prompt="a", stream=True, extra_body={"num_inference_steps": 1000, "solver": "flow-euler", "preview_every": 2}
    )
    next(iter(stream))
    stream.close()
    end = time.monotonic() + 5
    while not service.engine.idle and time.monotonic() < end:
        time.sleep(0.02)
    assert service.engine.idle


def test_a_stream_that_fails_is_no_success(client: openai.OpenAI, service: Service) -> None:
    def successes() -> list[str]:
        return [line for line in service.metrics.text().decode().splitlines() if "request_success_total{" in line]

    before = successes()
    stream = client.images.generate(
        prompt="a", stream=True, extra_body={"num_inference_steps": 1000, "solver": "flow-euler", "deadline": 0.2}
    )
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "deadline_exceeded"
    assert successes() == before


def test_edits_keep_what_is_outside_of_the_mask(client: openai.OpenAI) -> None:
    mask = Image.new("RGBA", (128, 128), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 64, 128))
    file = io.BytesIO()
    mask.save(file, "png")
    file.name = "mask.png"
    file.seek(0)
    answer = client.images.edit(
        image=png(128, 128), mask=file, prompt="a cat", extra_body={"seed": 1, "num_inference_steps": 2}
    )
    assert answer.data is not None
    edited = picture(answer.data[0].b64_json)
    assert edited.getpixel((120, 60)) == (200, 30, 30)
    assert edited.getpixel((10, 60)) != (200, 30, 30)


def test_several_pictures_are_edited_each(client: openai.OpenAI) -> None:
    stream = client.images.edit(
        image=[png(128, 128), png(96, 64)], prompt="a cat", stream=True,
        extra_body={"strength": 0.5, "num_inference_steps": 2},
    )  # fmt: skip
    events = list(stream)
    assert [event.type for event in events] == ["image_edit.completed"] * 2


@pytest.mark.parametrize(
    ("wish", "kind", "param", "code"),
    [
        ({"size": "7x7"}, openai.BadRequestError, "size", "invalid_value"),
        ({"size": "large"}, openai.BadRequestError, "size", "invalid_value"),
        ({"size": "9000x9000"}, openai.BadRequestError, "size", "invalid_value"),
        ({"n": 11}, openai.BadRequestError, "n", "invalid_value"),
        ({"background": "transparent"}, openai.BadRequestError, "background", "invalid_value"),
        ({"output_format": "gif"}, openai.BadRequestError, "output_format", "invalid_value"),
        ({"output_compression": 50}, openai.BadRequestError, "output_compression", "invalid_value"),
        ({"model": "dall-e-3"}, openai.NotFoundError, "model", "model_not_found"),
        ({"style": "vivid"}, openai.BadRequestError, "style", "invalid_value"),
        ({"extra_body": {"guidance_scale": -1}}, openai.BadRequestError, "guidance_scale", "invalid_value"),
        (
            {"extra_body": {"num_inference_steps": "many"}},
            openai.BadRequestError,
            "num_inference_steps",
            "invalid_value",
        ),
        ({"extra_body": {"steps": 3}}, openai.BadRequestError, "steps", "unknown_parameter"),
        ({"extra_body": {"image": "/etc/passwd"}}, openai.BadRequestError, "image", "unknown_parameter"),
        ({"extra_body": {"adapters": ["../../etc/passwd"]}}, openai.BadRequestError, "adapters", "invalid_value"),
        ({"extra_body": {"adapters": ["a"] * 100_000}}, openai.BadRequestError, "adapters", "invalid_value"),
        ({"extra_body": {"solver": "none"}}, openai.BadRequestError, "solver", "invalid_value"),
        ({"extra_body": {"expand": "left=64"}}, openai.BadRequestError, "expand", "invalid_value"),
        ({"extra_body": {"resample": 2}}, openai.BadRequestError, "resample", "invalid_value"),
        ({"extra_body": {"prompt": None}}, openai.BadRequestError, "prompt", "invalid_value"),
    ],
)
def test_errors_fill_the_fields_of_the_client(
    client: openai.OpenAI, wish: dict[str, Any], kind: type[openai.APIStatusError], param: str, code: str
) -> None:
    with pytest.raises(kind) as caught:
        client.images.generate(prompt="a cat", **wish)
    error = caught.value
    assert (error.param, error.code) == (param, code)
    assert error.type in ("invalid_request_error", "not_found_error")
    assert error.response.headers["x-should-retry"] == "false"


def test_a_wrong_key_and_a_damaged_picture(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="secret-of-others").models.list()
    assert (caught.value.code, caught.value.type) == ("invalid_api_key", "authentication_error")
    with pytest.raises(openai.BadRequestError) as damaged:
        client.images.edit(image=io.BytesIO(b"\x89PNG no picture"), prompt="a")
    assert damaged.value.param == "image"


def test_models_are_listed(client: openai.OpenAI, service: Service) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    told = client.models.retrieve("tiny").model_dump()
    assert told["sanakit"]["defaults"]["size"] == "128x128"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_what_is_late_is_told_so_and_a_full_queue_is_asked_again(
    client: openai.OpenAI, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = {"num_inference_steps": 1000, "solver": "flow-euler", "deadline": 0.3}
    with pytest.raises(openai.APIStatusError) as late:
        client.images.generate(prompt="a", extra_body=long)
    assert (late.value.status_code, late.value.code) == (408, "deadline_exceeded")
    assert late.value.response.headers["x-should-retry"] == "false"
    monkeypatch.setattr(service.engine, "max_waiting", 0)
    with pytest.raises(openai.RateLimitError) as busy:
        client.images.generate(prompt="a")
    assert busy.value.response.headers["x-should-retry"] == "true"
    assert float(busy.value.response.headers["retry-after"]) >= 1
    assert 'reason="busy"' in service.metrics.text().decode()
    monkeypatch.setattr(service.engine, "memory", 1)
    monkeypatch.setattr(service.engine, "max_waiting", 50)
    with pytest.raises(openai.InternalServerError) as short:
        client.images.generate(prompt="a")
    assert (short.value.status_code, short.value.code) == (503, "insufficient_memory")


def test_videos_are_not_made_yet(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.post("/videos", cast_to=object, body={"prompt": "a"})
    assert (caught.value.status_code, caught.value.code) == (501, "not_implemented")
