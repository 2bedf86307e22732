"""Seeds that follow from facts: the bits that stored runs and caches were made with."""

from __future__ import annotations

import hashlib

import pytest

from sanakit.common.seeds import derived_digest, derived_seed


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
