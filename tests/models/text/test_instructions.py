"""The instruction texts are published data: every character counts."""

import hashlib

import pytest

from sanakit.models.text.instructions import INSTRUCTIONS


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("sana", "62b9ab89eebb0ac5ee4d264bf96bf19d2b81f504bc3852500efeaf5a34d638b1"),
        ("diffusers", "48290080bb4fd4a264bdc81d0647ac0221359a36506e2b3e954616d6cb48c3da"),
    ],
)
def test_texts_are_the_published_ones(name: str, sha256: str) -> None:
    assert len(INSTRUCTIONS[name]) == 1057
    assert hashlib.sha256(INSTRUCTIONS[name].encode()).hexdigest() == sha256
