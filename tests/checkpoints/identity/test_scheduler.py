"""A scheduler's config is followed, or refused by the name of the field that is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sanakit.checkpoints.editing.convert import convert
from sanakit.checkpoints.identity.scheduler import check_scheduler
from sanakit.checkpoints.opening import load_bundle
from sanakit.checkpoints.sources.complete import card_of
from sanakit.checkpoints.sources.sources import find_parts
from sanakit.common.errors import CheckpointError

# As published with SANA 1.0, every field of diffusers' class written out.
PUBLISHED = {
    "_class_name": "DPMSolverMultistepScheduler", "_diffusers_version": "0.32.0.dev0", "algorithm_type": "dpmsolver++",
    "beta_end": 0.02, "beta_schedule": "linear", "beta_start": 0.0001, "dynamic_thresholding_ratio": 0.995,
    "euler_at_final": False, "final_sigmas_type": "zero", "flow_shift": 3.0, "lambda_min_clipped": float("-inf"),
    "lower_order_final": True, "num_train_timesteps": 1000, "prediction_type": "flow_prediction",
    "rescale_betas_zero_snr": False, "sample_max_value": 1.0, "solver_order": 2, "solver_type": "midpoint",
    "steps_offset": 0, "thresholding": False, "timestep_spacing": "linspace", "trained_betas": None,
    "use_beta_sigmas": False, "use_exponential_sigmas": False, "use_flow_sigmas": True, "use_karras_sigmas": False,
    "use_lu_lambdas": False, "variance_type": None,
}  # fmt: skip
EULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler", "base_image_seq_len": 256, "base_shift": 0.5,
    "invert_sigmas": False, "max_image_seq_len": 4096, "max_shift": 1.15, "num_train_timesteps": 1000, "shift": 3.0,
    "shift_terminal": None, "stochastic_sampling": False, "time_shift_type": "exponential", "use_beta_sigmas": False,
    "use_dynamic_shifting": False, "use_exponential_sigmas": False, "use_karras_sigmas": False,
}  # fmt: skip


@pytest.mark.parametrize("scheduler", [PUBLISHED, EULER, {"flow_shift": 3.0}])
def test_what_is_published_is_followed(scheduler: dict[str, Any]) -> None:
    check_scheduler(scheduler, is_sprint=False, where="f")
    sprint = {"_class_name": "SCMScheduler", "num_train_timesteps": 1000, "prediction_type": "trigflow"}
    check_scheduler(sprint | {"sigma_data": 0.5}, is_sprint=True, where="f")


@pytest.mark.parametrize(("scheduler", "sentence"), [
    ({"_class_name": "SCMScheduler", "sigma_data": 1.0}, "sigma_data in f is 1.0, and sanakit follows 0.5 alone"),
    (PUBLISHED, "f names 'DPMSolverMultistepScheduler', and sanakit follows SCMScheduler of such a model"),
])  # fmt: skip
def test_sprint_has_a_scheduler_of_its_own(scheduler: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        check_scheduler(scheduler, is_sprint=True, where="f")


@pytest.mark.parametrize(("base", "field", "value"), [
    (PUBLISHED, "solver_order", 1), (PUBLISHED, "solver_order", 3), (PUBLISHED, "algorithm_type", "sde-dpmsolver++"),
    (PUBLISHED, "use_karras_sigmas", True), (PUBLISHED, "use_flow_sigmas", False), (PUBLISHED, "thresholding", True),
    (PUBLISHED, "prediction_type", "epsilon"), (PUBLISHED, "_class_name", "DDIMScheduler"),
    (PUBLISHED, "_class_name", "SCMScheduler"), (PUBLISHED, "_class_name", None), (PUBLISHED, "flow_shift", None),
    (PUBLISHED, "use_dynamic_shifting", True), (PUBLISHED, "flow_shift", "3"), (PUBLISHED, "flow_shift", -1),
    (PUBLISHED, "num_train_timesteps", 500), (PUBLISHED, "shift", 3.0), (PUBLISHED, "a_new_one", 1),
    (EULER, "use_dynamic_shifting", True), (EULER, "shift_terminal", 0.02), (EULER, "stochastic_sampling", True),
])  # fmt: skip
def test_what_is_not_followed_is_refused_by_name(base: dict[str, Any], field: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=str(value) if field == "_class_name" else field) as caught:
        check_scheduler(base | {field: value}, is_sprint=False, where="scheduler_config.json")
    assert "scheduler_config.json" in str(caught.value)


def changed(folder: Path, place: Path, *, card: bool, **fields: object) -> Path:
    copy = Path(shutil.copytree(folder, place))
    file = copy / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    if not card:
        (copy / "sanakit.json").unlink()
    return copy


@pytest.mark.parametrize("card", [True, False])
def test_a_model_folder_obeys_it_with_a_card_and_without(
    folder: Path, tmp_path: Path, card: bool, caplog: pytest.LogCaptureFixture
) -> None:
    found = card_of(find_parts(changed(folder, tmp_path / "a", card=card, flow_shift=6.0)))
    assert found.defaults.flow_shift == 6.0
    assert ("is 3.0 in its card" in caplog.text) == card
    caplog.clear()
    assert load_bundle(tmp_path / "a").card.defaults == found.defaults
    assert caplog.text.count("is 3.0 in its card") == card  # told once
    with pytest.raises(CheckpointError, match="use_karras_sigmas"):
        find_parts(changed(folder, tmp_path / "b", card=card, use_karras_sigmas=True))
    convert(tmp_path / "a", tmp_path / "c", "diffusers")
    written = json.loads((tmp_path / "c" / "scheduler" / "scheduler_config.json").read_text())
    assert written["flow_shift"] == 6.0
    assert card_of(find_parts(tmp_path / "c")).defaults.flow_shift == 6.0


@pytest.mark.parametrize(("part", "field", "value"), [
    ("transformer", "qk_norm_type", "layer"),
    ("transformer", "use_pe", True), ("vae", "shift_factor", 0.1), ("vae", "latents_mean", [0.0]),
])  # fmt: skip
def test_a_setting_of_a_network_that_is_not_followed_is_refused_by_name(
    folder: Path, tmp_path: Path, part: str, field: str, value: object
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "m"))
    file = copy / part / "config.json"
    fields = json.loads(file.read_text())
    file.write_text(json.dumps(fields | {"_name_or_path": "x", "a_null": None}))
    find_parts(copy)
    file.write_text(json.dumps(fields | {field: value}))
    with pytest.raises(
        CheckpointError, match=rf"{part}/config.json: {field} is a setting that sanakit does not follow"
    ):
        find_parts(copy)
