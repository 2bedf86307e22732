"""A service's own part: what it remembers of the model."""

from __future__ import annotations

import asyncio

import pytest

from sanakit.pipelines.check import memory_of_pictures
from sanakit.pipelines.plan import PicturePlan
from sanakit.pipelines.request import GenerationRequest
from sanakit.serving.messages import FileForm, Step
from sanakit.serving.service import Call, ClientGoneError, Order, Service


def test_a_client_that_goes_away_is_missed_however_quick_the_steps_are(service: Service) -> None:
    service.start()
    long = GenerationRequest(prompt="a", num_inference_steps=1000, solver="flow-euler")

    async def gone() -> bool:
        return True

    async def wait() -> None:
        with Order(service, service.plan([long]), Call(form=FileForm()), gone) as order:
            async for _, message in order.told():
                assert isinstance(message, Step)

    with pytest.raises(ClientGoneError):
        asyncio.run(wait())


def test_memory_is_predicted_once_for_pictures_that_are_alike(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted = list[PicturePlan]()

    def predict(model, plan: PicturePlan):
        predicted.append(plan)
        return memory_of_pictures(model, plan)

    monkeypatch.setattr("sanakit.serving.service.memory_of_pictures", predict)
    monkeypatch.setattr(service, "_needs", {})
    wishes = [
        {"seed": 1},
        {"seed": 2},
        {"prompt": "a dog"},
        {"upscale": 2},
        {"guidance_scale": 1.0},
        {"width": 256, "height": 128},
    ]
    requests = [GenerationRequest(**{"prompt": "a cat", "seed": 0, **wish}) for wish in wishes]
    tickets = service.tickets(service.plan(requests), Call(form=None), lambda message: None)
    assert [plan.request for plan in predicted] == [
        plan.request for plan in service.plan([requests[number] for number in (0, 3, 4, 5)])
    ]
    for ticket, plan in zip(tickets, service.plan(requests), strict=True):
        need = memory_of_pictures(service.model, plan)
        assert ticket.memory == max(need.denoising, need.decoding, need.upscaling)
