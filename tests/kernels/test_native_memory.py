"""Memory of results that nobody holds any more is that of the next ones."""

from __future__ import annotations

import gc
import threading

import pytest
import torch

from sanakit.kernels.conv3x3 import conv3x3
from sanakit.kernels.native.memory import LEAST, new_result, reused_memory


def test_memory_is_used_again_once_nobody_holds_it() -> None:
    with reused_memory():
        first = new_result(2, LEAST)
        place, view = first.data_ptr(), first[1]
        del first
        second = new_result(LEAST, 2)
        assert second.data_ptr() != place  # a view holds it as well
        del view
        assert new_result(1, 2 * LEAST).data_ptr() == place
        halves = new_result(3, size := LEAST * 5 // 4 + 1, dtype=torch.bfloat16)  # an odd number
        assert (halves.data_ptr(), halves.dtype, halves.shape) == (place, torch.bfloat16, (3, size))


def test_less_fits_into_more_within_limits_and_smaller_ones_go_first() -> None:
    with reused_memory():
        place = new_result(LEAST + 100).data_ptr()
        assert new_result(LEAST).data_ptr() == place
        held = [new_result(2 * LEAST), new_result(LEAST)]  # the block that was too small went to make room
        assert held[1].shape == (LEAST,)
        with reused_memory():  # one within another is the same
            del held
            assert new_result(2 * LEAST).numel() == 2 * LEAST


def test_what_outlives_it_stays_as_it_is() -> None:
    with reused_memory():
        kept = new_result(LEAST).fill_(7.0)
    assert torch.equal(kept, torch.full((LEAST,), 7.0))
    with reused_memory():
        others = [new_result(LEAST).zero_() for _ in range(3)]
    assert kept.min() == 7
    del kept, others
    gc.collect()
    outside = new_result(3, 5)
    assert outside.shape == (3, 5)
    assert outside.dtype == torch.float32


def test_threads_do_not_share() -> None:
    found: list[int] = []
    with reused_memory():
        place = new_result(LEAST).data_ptr()

        def other() -> None:
            with reused_memory():
                found.append(new_result(LEAST).fill_(1.0).data_ptr())

        thread = threading.Thread(target=other)
        held = new_result(LEAST)
        thread.start()
        thread.join()
        assert held.data_ptr() == place
        assert found
        assert found[0] != place


@pytest.mark.usefixtures("native_everywhere")
def test_what_kernels_need_meanwhile_may_be_used_again() -> None:
    """Some MB by turns with more and with less."""
    x, weight = torch.randn(1, 128, 64, 64), torch.randn(128, 128, 3, 3)
    calls = [(x[:, :inputs], weight[:, :inputs]) for inputs in (64, 128, 16, 128, 96, 64)]
    before = [conv3x3(*call) for call in calls]
    for _ in range(2):
        with reused_memory():
            assert all(torch.equal(conv3x3(*call), found) for call, found in zip(calls, before, strict=True))
