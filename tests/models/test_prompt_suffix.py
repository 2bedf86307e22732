"""Size suffixes of prompts, height first."""

import pytest

from sanakit.common.errors import RequestError
from sanakit.models.prompt_suffix import SizedPrompt, split_size_suffix


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("  a cat ", SizedPrompt("a cat")),
        ("a cat --ar 3:4", SizedPrompt("a cat", aspect_ratio=0.75)),
        ("a cat --aspect_ratio 16:9 ", SizedPrompt("a cat", aspect_ratio=16 / 9)),
        ("a cat --hw 768:1024", SizedPrompt("a cat", height_width=(768, 1024))),
        ("--ar 1:1", SizedPrompt("", aspect_ratio=1.0)),
        ("a --ar in the middle of a text", SizedPrompt("a --ar in the middle of a text")),
        ("a score of 3:4", SizedPrompt("a score of 3:4")),
        ("", SizedPrompt("")),
    ],
)
def test_suffix_leaves_the_prompt(prompt: str, expected: SizedPrompt) -> None:
    assert split_size_suffix(prompt) == expected


@pytest.mark.parametrize("value", ["0:4", "3", "3:0", "a:b", "-1:2", "3:4:5", "9999999:1", "٣:٤"])
def test_nonsense_is_refused(value: str) -> None:
    with pytest.raises(RequestError, match="height:width"):
        split_size_suffix(f"a cat --ar {value}")
