"""What a run is told where it goes on with other data or another length than it had."""

from __future__ import annotations

import hashlib
import json
import logging

from sanakit.common.errors import ConfigError
from sanakit.training.run.run_state import RunState
from sanakit.training.run.stage import StageConfig, rates_of_lengths

logger = logging.getLogger(__name__)

INIT = "init"
"""Whose "data" are the weights that a run begins with."""


def check_data(whose: str, now: dict[str, str], *, state: RunState, accepted: str | None) -> None:
    """Note the fingerprints of a stage's data, which must be those that the run has seen, if it has.

    Args:
        whose: data it is, in words.
        now: the fingerprints of its parts.
        accepted: the name of other data that the run may go on with.

    Raises:
        ConfigError: it is other data; the message says what of it, and by which name it is accepted.
    """
    before = state.data.get(whose, now)
    changed = [part for part in {**before, **now} if before.get(part) != now.get(part)]
    if changed:
        name = f"data-{hashlib.sha256(json.dumps(now, sort_keys=True).encode()).hexdigest()[:8]}"
        what = f"the data of {whose} is not what this run was trained on so far (other {' and other '.join(changed)})"
        if accepted != name:
            raise ConfigError(f"{what}; put it back, or go on with it by --set accept_data={name}")
        logger.warning("%s, and is accepted by its name %s", what, name)
    state.data[whose] = now


def note_length(config: StageConfig, state: RunState, num_batches: int | None, rate: float) -> None:
    """Tell of a learning rate that jumps because the stage has another length now.

    Args:
        rate: at its height.
    """
    rates = rates_of_lengths(config, state, num_batches)
    if rates is not None:
        logger.warning(
            "stage %s has another length than before, so its learning rate goes from %.3g to %.3g where it goes on; it "
            "falls over the last %g of the stage",
            config.name, rates[0] * rate, rates[1] * rate, config.decay,
        )  # fmt: skip
    state.length = config.length
