"""The precision policy: what is chosen, what is refused and why, and which line a published checkpoint is of."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sanakit.checkpoints.identity.known_models import known_card, known_precision
from sanakit.checkpoints.identity.precision import (
    BFLOAT16_LINE,
    FLOAT16_LINE,
    UNKNOWN_LINE,
    PrecisionPolicy,
    resolve_dtypes,
)
from sanakit.common.errors import RequestError
from sanakit.models.presets import LINEAR_DIT_PRESETS

F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32


@pytest.mark.parametrize(
    ("policy", "requested", "device", "expected"),
    [
        (FLOAT16_LINE, None, "cpu", (F32, F32, F32)),
        (FLOAT16_LINE, None, "cuda", (F16, BF16, BF16)),
        (FLOAT16_LINE, "fp16", "cuda", (F16, BF16, BF16)),
        (FLOAT16_LINE, torch.float32, "cuda", (F32, F32, F32)),
        (BFLOAT16_LINE, "auto", "cuda", (BF16, BF16, BF16)),
        (BFLOAT16_LINE, "bf16", "cpu", (BF16, BF16, BF16)),
        (BFLOAT16_LINE, {"text_encoder": "bf16"}, "cpu", (F32, F32, BF16)),
        (UNKNOWN_LINE, None, "cuda", (F32, BF16, BF16)),
    ],
)
def test_choices(policy: PrecisionPolicy, requested: Any, device: str, expected: tuple[torch.dtype, ...]) -> None:
    assert tuple(resolve_dtypes(policy, requested, device).values()) == expected


@pytest.mark.parametrize(
    ("policy", "requested", "sentence"),
    [
        (FLOAT16_LINE, "bfloat16", "corrupted pictures in bfloat16.*use float16 or float32"),
        (BFLOAT16_LINE, "float16", "overflow float16.*use bfloat16 or float32"),
        (UNKNOWN_LINE, "bf16", "nothing tells"),
        (BFLOAT16_LINE, {"text_encoder": "fp16"}, "text encoder is not run in float16.*black"),
        (FLOAT16_LINE, {"autoencoder": "fp16"}, "autoencoder is not run in float16"),
    ],
)
def test_refusals_give_the_reason_and_yield_to_force(policy: PrecisionPolicy, requested: Any, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        resolve_dtypes(policy, requested, "cuda")
    component, wish = next(iter(requested.items())) if isinstance(requested, dict) else ("transformer", requested)
    forced = resolve_dtypes(policy, requested, "cuda", force=True)[component]
    assert forced is {"bfloat16": BF16, "bf16": BF16, "float16": F16, "fp16": F16}[wish]


def test_what_no_force_allows() -> None:
    with pytest.raises(RequestError, match="not offered on the CPU"):
        resolve_dtypes(FLOAT16_LINE, "fp16", "cpu", force=True)
    with pytest.raises(RequestError, match="dtype int8 is not offered"):
        resolve_dtypes(FLOAT16_LINE, "int8", "cpu")
    with pytest.raises(RequestError, match="'unet' is no component"):
        resolve_dtypes(FLOAT16_LINE, {"unet": "bf16"}, "cpu")


# The rows of the published model zoo: name, preset, and the line that it was released in.
ZOO = [
    ("Efficient-Large-Model/Sana_600M_512px_diffusers", "sana-600m-512", FLOAT16_LINE),
    ("checkpoints/Sana_600M_1024px_MultiLing.pth", "sana-600m-1024", FLOAT16_LINE),
    ("Efficient-Large-Model/Sana_1600M_1024px_MultiLing_diffusers", "sana-1600m-1024", FLOAT16_LINE),
    ("Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers", "sana-1600m-1024", BFLOAT16_LINE),
    ("Efficient-Large-Model/Sana_1600M_2Kpx_BF16_diffusers", "sana-1600m-2k", BFLOAT16_LINE),
    ("Efficient-Large-Model/Sana_1600M_4Kpx_BF16", "sana-1600m-4k", BFLOAT16_LINE),
    ("Efficient-Large-Model/SANA1.5_4.8B_1024px_diffusers", "sana1.5-4800m-1024", BFLOAT16_LINE),
    ("my-own.safetensors", "sana-1600m-1024", UNKNOWN_LINE),
]


@pytest.mark.parametrize(("name", "preset", "line"), ZOO)
def test_the_line_of_a_published_checkpoint(name: str, preset: str, line: PrecisionPolicy) -> None:
    assert known_precision(name, LINEAR_DIT_PRESETS[preset], stored={"float32"}) is line


def test_an_unnamed_checkpoint_is_told_by_its_stored_dtype() -> None:
    config = LINEAR_DIT_PRESETS["sana-1600m-1024"]
    assert known_precision("x", config, stored={"float16"}) is FLOAT16_LINE
    assert known_precision("x", config, stored={"bfloat16"}) is BFLOAT16_LINE
    assert known_precision("x", config, stored={"float32"}, variant="bf16") is BFLOAT16_LINE
    assert known_precision("Sana_1600M_1024px", config, stored={"bfloat16"}) is FLOAT16_LINE


@pytest.mark.parametrize(
    ("name", "preset", "scheduler", "shift", "base", "layers"),
    [
        ("Sana_1600M_4Kpx_BF16.pth", "sana-1600m-4k", None, 6.0, 4096, (8,)),
        ("Sana_600M_1024px_MultiLing.pth", "sana-600m-1024", None, 4.0, 1024, (14,)),
        ("Sana_600M_1024px_diffusers", "sana-600m-1024", {"flow_shift": 3.0}, 3.0, 1024, (14,)),
        ("Sana_1600M_512px.pth", "sana-1600m-512", None, 3.0, 512, (8,)),
    ],
)
def test_the_card_of_a_published_checkpoint(
    name: str, preset: str, scheduler: Any, shift: float, base: int, layers: tuple[int, ...]
) -> None:
    config = LINEAR_DIT_PRESETS[preset]
    card = known_card(
        source=name, names=name, config=config, compression=32, scheduler=scheduler, precision=FLOAT16_LINE
    )  # fmt: skip
    told = card.defaults
    assert (told.flow_shift, told.base_size, told.pag_layers, told.guidance_scale) == (shift, base, layers, 5.0)
