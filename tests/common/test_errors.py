"""How errors of other libraries begin, and what is said where one wants to run code."""

from __future__ import annotations

import pickle

import pytest

from sanakit.common.errors import MissingExtraError, first_line, first_sentence, optional, own_code


def test_errors_are_told_by_their_first_words() -> None:
    error = ValueError("\n  It is broken. Run it with --verbose.  \nframe #0")
    assert first_line(error) == "It is broken. Run it with --verbose."
    assert first_sentence(error) == "It is broken"
    assert first_line(KeyError()) == "KeyError"
    assert (len(first_line(OSError("x" * 999))), len(first_sentence(OSError("x" * 999)))) == (200, 160)


def test_code_of_others() -> None:
    assert "save the model again, as safetensors" in own_code(pickle.UnpicklingError("weights only"))
    assert "with --trust-remote-code" in own_code(ValueError("pass trust_remote_code=True"))
    assert own_code(ValueError("no such file")) == ""


def test_a_package_that_is_missing_is_told_in_the_sentence_given() -> None:
    assert optional("json", "").loads("1") == 1
    with pytest.raises(MissingExtraError, match=r"^install it$"):
        optional("sanakit_of_nobody", "install it")
