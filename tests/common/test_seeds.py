"""Seeds that follow from facts: the bits that stored runs and caches were made with."""

from __future__ import annotations

import hashlib

import pytest
import torch

from sanakit.common.errors import RequestError
from sanakit.common.seeds import (
    MAX_SEED,
    derived_digest,
    derived_seed,
    draw_noise,
    draw_step_noise,
    generator_seed,
    image_seed,
)


def test_bits_are_those_of_the_facts_digest() -> None:
    digest = hashlib.sha256(b"caption/7/0/a/b").digest()
    assert derived_digest("caption", 7, 0, "a/b") == digest
    assert derived_seed("caption", 7, 0, "a/b", bits=64) == int.from_bytes(digest[:8], "big")
    assert derived_seed("caption", 7, 0, "a/b", bits=56) == int.from_bytes(digest[:7], "big")
    assert derived_seed(0, 1, 2) == int.from_bytes(hashlib.sha256(b"0/1/2").digest()[:8], "big") >> 1


@pytest.mark.parametrize("bits", [1, 53, 63, 64])
def test_seeds_fill_their_bits(bits: int) -> None:
    seeds = [derived_seed(number, bits=bits) for number in range(64)]
    assert 0 <= min(seeds) <= max(seeds) < 2**bits
    assert max(seeds) >= 2 ** (bits - 1)


def test_a_name_that_is_no_text_still_has_a_seed() -> None:
    assert derived_seed("window", 0, "\udcff.png") != derived_seed("window", 0, "\udcfe.png")


def test_seeds_end_at_63_bits_and_wrap() -> None:
    assert MAX_SEED == 2**63 - 1
    assert [image_seed(7, 3), image_seed(MAX_SEED, 0), image_seed(MAX_SEED, 2)] == [10, MAX_SEED, 1]
    assert draw_noise((2, 3), MAX_SEED).shape == draw_noise((2, 3), 0).shape == (2, 3)
    for seed in (-1, MAX_SEED + 1):
        with pytest.raises(RequestError, match=f"seed={seed} is out of range"):
            draw_noise((1,), seed)


def test_noise_of_a_step_is_of_the_seed_and_the_step() -> None:
    expected = draw_noise((5,), derived_seed("step", 3, 2))
    assert torch.equal(draw_step_noise((5,), 3, 2), expected)
    assert not torch.equal(draw_step_noise((5,), 2, 3), expected)


def test_a_generator_gives_its_own_seed_once() -> None:
    generator = torch.Generator().manual_seed(41)
    found = [generator_seed(generator) for _ in range(3)]
    assert found[0] == 41
    assert len(set(found)) == 3
    used = torch.Generator().manual_seed(41)
    torch.rand(1, generator=used)
    assert generator_seed(used) != 41
