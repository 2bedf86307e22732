"""Random generators of the process, kept and put back; wishes to stop."""

from __future__ import annotations

import os
import random
import signal

import numpy as np
import pytest
import torch

from sanakit.training.step.interruption import Interruption
from sanakit.training.step.random_state import random_state, restore_random_state, seed_everything


def draw() -> list[float]:
    numbers = [random.random(), random.gauss(), np.random.random(), np.random.standard_normal()]
    return [*numbers, torch.rand(()).item(), random.gauss(), np.random.standard_normal()]


@pytest.mark.parametrize("warm", [0, 1])
def test_draws_go_on_as_they_would_have(warm: int) -> None:
    before = random_state()
    try:
        seed_everything(2**40 + 7)
        for _ in range(warm):  # then half of a pair of normal numbers waits
            random.gauss()
            np.random.standard_normal()
        kept = {name: tensor.clone() for name, tensor in random_state().items()}
        first = draw()
        assert draw() != first
        restore_random_state(kept)
        assert draw() == first
        restore_random_state({})
        assert draw() != first
        seed_everything(5)
        assert random.random() == random.Random(5).random()
        assert np.random.random() == np.random.RandomState(5).random()
        assert torch.initial_seed() == 5
    finally:
        restore_random_state(before)


def test_the_first_signal_is_a_wish_and_a_second_ctrl_c_ends_it() -> None:
    old = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interruption() as asked:
        assert asked.name is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.name == "SIGTERM"
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with Interruption() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.name == "Ctrl-C"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == old
