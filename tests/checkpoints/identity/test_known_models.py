"""What is known of published checkpoints, and what a model's hashes are made of, value by value."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sanakit.checkpoints.editing.growth import GrowthConfig
from sanakit.checkpoints.editing.pruning import blocks_to_keep
from sanakit.checkpoints.identity.card import ImageDefaults, ModelCard
from sanakit.checkpoints.identity.hashing import combined_hash, hash_settings, hash_tensors, sampled
from sanakit.checkpoints.identity.known_models import known_card, known_precision, names_of
from sanakit.checkpoints.identity.precision import (
    BFLOAT16_LINE,
    FLOAT16_LINE,
    UNKNOWN_LINE,
    PrecisionPolicy,
    parse_dtypes,
    resolve_dtypes,
)
from sanakit.checkpoints.networks.key_maps import Origin
from sanakit.models.presets import LINEAR_DIT_PRESETS

V1, V1_5, SPRINT = (LINEAR_DIT_PRESETS[f"{name}-1600m-1024"] for name in ("sana", "sana1.5", "sana-sprint"))


@pytest.mark.parametrize(
    ("config", "family", "guidance", "distilled", "layers"),
    [
        (V1, "sana", 5.0, False, (8,)),
        (V1_5, "sana-1.5", 4.5, False, (8,)),
        (SPRINT, "sana-sprint", 4.5, True, ()),
        (LINEAR_DIT_PRESETS["sana-600m-1024"], "sana", 5.0, False, (14,)),
        (LINEAR_DIT_PRESETS["sana1.5-4800m-1024"], "sana-1.5", 4.5, False, (30,)),  # the middle of 60
        (replace(V1, num_layers=7), "sana", 5.0, False, (3,)),
    ],
)
def test_cards(config: Any, family: str, guidance: float, distilled: bool, layers: tuple[int, ...]) -> None:
    card = known_card(
        source="owner/some-name/", names="", config=config, compression=16, scheduler=None, precision=BFLOAT16_LINE
    )
    assert (card.name, card.family, card.distilled, card.source) == ("some-name", family, distilled, "owner/some-name/")
    assert card.precision is BFLOAT16_LINE
    solver, steps = ("scm", 2) if distilled else ("flow-dpm", 20)
    assert card.defaults == ImageDefaults(
        base_size=32 * 16, flow_shift=3.0, solver=solver, num_inference_steps=steps, guidance_scale=guidance,
        pag_layers=layers,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("names", "scheduler", "shift", "solver"),
    [
        ("Sana-600M-1024px", None, 4.0, "flow-dpm"),
        ("sana_600m_512px", None, 3.0, "flow-dpm"),
        ("Sana_600M_1024px", {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 2.5}, 2.5, "flow-euler"),
        ("", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, 1.0, "flow-euler"),
        ("", {"_class_name": "DPMSolverMultistepScheduler", "flow_shift": 5}, 5.0, "flow-dpm"),
        ("", {"_class_name": "SCMScheduler"}, 3.0, "scm"),
    ],
)
def test_shifts_and_solvers(names: str, scheduler: dict[str, Any] | None, shift: float, solver: str) -> None:
    card = known_card(source="x", names=names, config=V1, compression=32, scheduler=scheduler, precision=UNKNOWN_LINE)
    assert (card.defaults.flow_shift, card.defaults.solver) == (shift, solver)


@pytest.mark.parametrize(
    ("names", "config", "stored", "variant", "line"),
    [
        ("", V1_5, {"float16"}, "fp16", BFLOAT16_LINE),
        ("", replace(V1, interpolation_scale=1.0), {"float16"}, "fp16", BFLOAT16_LINE),
        ("some_Bf16_name", V1, {"float16"}, "fp16", BFLOAT16_LINE),
        ("", V1, {"bfloat16"}, "fp16", FLOAT16_LINE),
        ("sana-1600M-512px", V1, {"bfloat16"}, "bf16", FLOAT16_LINE),
        ("", V1, {"float32"}, "bf16", BFLOAT16_LINE),
        ("", V1, {"bfloat16", "float32"}, None, UNKNOWN_LINE),
        ("", V1, {"float16", "float32"}, None, UNKNOWN_LINE),
    ],
)
def test_lines(names: str, config: Any, stored: set[str], variant: str | None, line: PrecisionPolicy) -> None:
    assert known_precision(names, config, stored=stored, variant=variant) is line


def test_names_that_may_tell() -> None:
    path = Path("cache/models--owner--Sana_600M_1024px/snapshots/abc/transformer")
    assert names_of("owner/name", path) == "owner/name transformer abc models--owner--Sana_600M_1024px"
    assert names_of("starter", Path("a/b")) == " b a"


def test_how_a_model_of_pictures_is_used_where_nobody_says() -> None:
    told = ImageDefaults(base_size=512)
    assert (told.flow_shift, told.solver, told.num_inference_steps, told.guidance_scale, told.pag_layers) == (
        3.0, "flow-dpm", 20, 4.5, ()
    )  # fmt: skip
    card = ModelCard(name="a", family="sana", defaults=told, precision=UNKNOWN_LINE)
    assert (card.text_encoder, card.distilled) == ("Efficient-Large-Model/gemma-2-2b-it", False)
    assert (card.licence, card.trained_from, card.source, dict(card.hashes), card.model_hash) == ("", "", "", {}, "")
    assert (GrowthConfig(num_layers=3).strategy, GrowthConfig(num_layers=3).drop_last) == ("partial-preservation", 2)
    assert GrowthConfig(num_layers=21, drop_last=0).origins(20) == (*range(20), None)
    assert GrowthConfig(num_layers=21, drop_last=19).origins(20) == (0, *[None] * 20)
    assert blocks_to_keep([0.9, 0.1, 0.2, 0.1], 2, keep_first=1, keep_last=1) == (0, 3)
    assert blocks_to_keep([0.9, 0.1, 0.2, 0.1], 3) == (0, 1, 2)


def test_a_hash_is_of_names_dtypes_shapes_and_bytes_in_order() -> None:
    tensors = {"b": torch.arange(6.0).view(2, 3), "a": torch.tensor(7, dtype=torch.int64)}
    expected = hashlib.sha256()
    expected.update(b"a int64 []\n" + np.int64(7).tobytes())
    expected.update(b"b float32 [2, 3]\n" + np.arange(6, dtype=np.float32).tobytes())
    assert hash_tensors(tensors) == expected.hexdigest()
    stored = {"x.k": tensors["b"][1:], "x.q": tensors["b"][:1, :, None, None].clone(), "n": tensors["a"]}
    parts = {"b": Origin(("x.q", "x.k")), "a": Origin(("n",))}
    whole = {**stored, "x.q": tensors["b"][:1]}
    assert hash_tensors(whole, parts) == expected.hexdigest()
    pointwise = {"b": Origin(("x.q", "x.k"), pointwise=True), "a": Origin(("n",))}
    assert hash_tensors(stored, pointwise) == expected.hexdigest()
    assert hash_tensors({"b": tensors["b"].T.contiguous().T, "a": tensors["a"]}) == expected.hexdigest()


def test_one_hash_of_a_whole_model() -> None:
    """What lies beside is no part of it: pictures without a ControlNet are the same."""
    hashes = {"text_encoder": "3", "transformer": "1", "autoencoder": "2", "controlnet": "4"}
    assert combined_hash(hashes) == hashlib.sha256(b"1\n2\n3").hexdigest()
    for missing in ("text_encoder", "transformer", "autoencoder"):
        assert combined_hash({name: value for name, value in hashes.items() if name != missing}) == ""
    assert hash_settings({"b": 1, "a": Path("x")}) == hashlib.sha256(b'{"a": "x", "b": 1}').hexdigest()


def test_a_sample_notices_first_middle_and_last() -> None:
    tensors = {"a": torch.arange(5.0), "none": torch.zeros(0)}
    assert sampled(tensors) == hashlib.sha256(b"a [5] [0.0, 2.0, 4.0]\n").hexdigest()
    assert sampled({"a": torch.arange(5.0), "m": torch.zeros(2, device="meta")}) == sampled(tensors)
    for place in (0, 2, 4):
        changed = torch.arange(5.0)
        changed[place] += 1
        assert sampled({"a": changed}) != sampled(tensors)


def test_spellings_of_dtypes() -> None:
    spelt = {"float16": ("fp16", "half", "FLOAT16", torch.float16), "bfloat16": ("bf16", "BF16", torch.bfloat16),
             "float32": ("fp32", "float", "full", torch.float32)}  # fmt: skip
    for name, spellings in spelt.items():
        for spelling in (name, *spellings):
            assert parse_dtypes({"autoencoder": spelling}) == {"autoencoder": name}
            assert set(parse_dtypes(spelling).values()) == {name}
    assert parse_dtypes(None) == parse_dtypes("auto") == {}


def test_a_policy_has_the_usual_dtypes_where_nothing_is_said() -> None:
    policy = PrecisionPolicy({"transformer": ("bfloat16",)})
    usual = ("bfloat16", "float32")
    assert policy.dtypes == {"transformer": ("bfloat16",), "autoencoder": usual, "text_encoder": usual}
    assert resolve_dtypes(policy, None, "cpu")["transformer"] is torch.bfloat16  # where float32 is not allowed
    read = PrecisionPolicy.from_json(policy.to_json(), where="here")
    assert (read.dtypes, read.reason) == (policy.dtypes, "")
