import random

import pytest

from sanakit.data.curation.near_duplicates import find_near_duplicates


def by_definition(hashes: list[int], distance: int) -> list[tuple[int, int] | None]:
    """In order: dropped if any kept one is within the distance; the nearest, then the first, is named."""
    kept: list[int] = []
    answers: list[tuple[int, int] | None] = []
    for position, bits in enumerate(hashes):
        near = [(bin(bits ^ hashes[other]).count("1"), other) for other in kept]
        best = min((pair for pair in near if pair[0] <= distance), default=None)
        answers.append(None if best is None else (best[1], best[0]))
        if best is None:
            kept.append(position)
    return answers


@pytest.mark.parametrize(("num_bits", "distance"), [(64, 0), (64, 4), (64, 11), (256, 6), (49, 5), (4, 1)])
def test_equals_the_brute_force_definition(num_bits: int, distance: int) -> None:
    rng = random.Random(num_bits * 100 + distance)
    hashes: list[int] = []
    for _ in range(400):
        bits = rng.choice(hashes) if hashes and rng.random() < 0.6 else rng.getrandbits(num_bits)
        for bit in rng.sample(range(num_bits), rng.randint(0, min(num_bits, 2 * distance + 1))):
            bits ^= 1 << bit if rng.random() < 0.7 else 0
        hashes.append(bits)
    texts = [(position, f"{bits:0{num_bits // 4}x}") for position, bits in enumerate(hashes)]
    found = list(find_near_duplicates(texts, distance=distance, num_bits=num_bits))
    assert [position for position, _ in found] == list(range(400))
    expected = by_definition(hashes, distance)
    assert [match and tuple(match) for _, match in found] == expected
    assert 0 < sum(answer is not None for answer in expected) < 400


def test_a_chain_of_small_steps_does_not_swallow_what_looks_different() -> None:
    chain = [(step, f"{(1 << 3 * step) - 1:016x}") for step in range(8)]  # neighbours differ in 3 bits
    kept = [position for position, match in find_near_duplicates(chain, distance=4, num_bits=64) if match is None]
    assert kept == [0, 2, 4, 6]
