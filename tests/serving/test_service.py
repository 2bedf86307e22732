"""A service's own part: what it remembers of the model."""

from __future__ import annotations

import pytest

from sanakit.pipelines.check import memory_of_pictures
from sanakit.pipelines.plan import PicturePlan
from sanakit.pipelines.request import GenerationRequest
from sanakit.serving.service import Call, Service


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
