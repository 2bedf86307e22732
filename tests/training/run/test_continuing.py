"""Data that a run has seen, and other data."""

from __future__ import annotations

import re

import pytest

from sanakit.common.errors import ConfigError
from sanakit.training.run.continuing import INIT, check_data
from sanakit.training.run.run_state import RunState

BEFORE = {"names of samples": "1", "pictures": "2", "captions": "3"}


def test_other_data_is_refused_and_accepted_by_its_name_alone(caplog: pytest.LogCaptureFixture) -> None:
    state = RunState()
    check_data("the recipe", BEFORE, state=state, accepted=None)
    check_data("stage b", {**BEFORE, "pictures": "9"}, state=state, accepted=None)  # which has data of its own
    state.next_stage()
    check_data("the recipe", dict(BEFORE), state=state, accepted=None)
    other = {**BEFORE, "pictures": "8", "autoencoder": "4"}
    message = r"the data of the recipe is not .* \(other pictures and other autoencoder\); .* accept_data=(data-\w{8})$"
    with pytest.raises(ConfigError, match=message) as refused:
        check_data("the recipe", other, state=state, accepted="data-12345678")
    name = re.search(message, str(refused.value))
    assert name is not None
    assert state.data["the recipe"] == BEFORE
    assert caplog.text == ""
    check_data("the recipe", other, state=state, accepted=name[1])
    assert f"is accepted by its name {name[1]}" in caplog.text
    check_data("the recipe", other, state=state, accepted=None)
    with pytest.raises(ConfigError, match="other captions"):
        check_data("the recipe", {**other, "captions": "7"}, state=state, accepted=name[1])


def test_other_weights_than_a_run_began_with_are_told() -> None:
    state = RunState(data={"the recipe": BEFORE})  # of 0.1.0, which did not note them
    check_data(INIT, {"weights": "1"}, state=state, accepted=None)
    with pytest.raises(ConfigError, match=r"the data of init is not .* \(other weights\)"):
        check_data(INIT, {"weights": "2"}, state=state, accepted=None)
