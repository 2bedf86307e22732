"""The instructions of a pickle, followed as pickle does where they make plain values, and made nothing of where not."""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sanakit.checkpoints.files.instructions import Name, Unread, follow
from sanakit.checkpoints.files.reader import read_tensors
from sanakit.checkpoints.files.torch_archive import find_state, read_torch
from sanakit.common.errors import CheckpointError

SHARED = ["one list", "in two places"]
VALUES: list[Any] = [
    None, True, False, 0, -7, 2**70, 1.5, "text", "ü", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1],
    [1, [2, [3]]],
    {}, {"a": 1}, {"a": {"b": (None, True)}, 3: []}, list(range(1100)), {n: str(n) for n in range(1100)},
    [SHARED, SHARED, (SHARED,)], [(), ((),), [()]],
]  # fmt: skip


def never(name: object, args: object = None) -> Any:
    raise AssertionError(name)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_those_that_were_written(protocol: int) -> None:
    for value in VALUES:
        found = follow(pickletools.genops(pickle.dumps(value, protocol)), never, never)
        assert found == value
        assert repr(found) == repr(value)  # true is no 1
    shared = follow(pickletools.genops(pickle.dumps([SHARED, SHARED], protocol)), never, never)
    assert shared[0] is shared[1]


@pytest.mark.parametrize("value", [set(), {1, 2}, frozenset({1, 2}), set(range(1100)), b"bytes", bytearray(b"ab")])
def test_plain_values_of_newer_protocols(value: object) -> None:
    for protocol in range(4, pickle.HIGHEST_PROTOCOL + 1):
        if not (isinstance(value, bytearray) and protocol < 5):
            assert follow(pickletools.genops(pickle.dumps(value, protocol)), never, never) == value


CALLS: dict[str, tuple[bytes, Any]] = {
    "pop": (b"K\x01K\x020.", 1),
    "pop mark": (b"K\x01(K\x02K\x031.", 1),
    "dup": (b"]2a.", "itself"),
    "append": (b"]K\x05a.", [5]),
    "set item": (b"}K\x01K\x02s.", {1: 2}),
    "reduce": (b"cmodule\nname\nK\x01\x85R.", ("module.name", (1,))),
    "new object": (b"cmodule\nname\nK\x01\x85\x81.", ("module.name", (1,))),
    "new object with names": (b"cmodule\nname\nK\x01\x85}\x92.", ("module.name", (1,))),
    "object": (b"(cmodule\nname\nK\x01K\x02o.", ("module.name", [1, 2])),
    "instance": (b"(K\x01K\x02imodule\nname\n.", ("module.name", [1, 2])),
    "built": (b"cmodule\nname\n)R}b.", ("module.name", ())),
    "by text": (b"\x8c\x01a\x8c\x01b\x93)R.", ("a.b", ())),
    "stored": (b"K\x07Q.", ("stored", 7)),
    "memo": (b"K\x08q\x05K\x090h\x05.", 8),
}


@pytest.mark.parametrize("what", CALLS)
def test_single_instructions(what: str) -> None:
    content, expected = CALLS[what]
    found = follow(pickletools.genops(content), lambda name, args: (name.path, args), lambda entry: ("stored", entry))
    if expected == "itself":
        assert found[0] is found
    else:
        assert found == expected


def test_an_object_that_is_not_read_keeps_its_entries_and_can_be_a_key() -> None:
    nothing: Callable[[Any, Any], Any] = lambda name, args: None  # noqa: E731
    found = follow(pickletools.genops(b"cmodule\nname\n)RK\x01K\x02s."), nothing, never)
    assert isinstance(found, Unread)
    assert found == {1: 2}
    assert follow(pickletools.genops(b"cm\nn\n)R(K\x01K\x02e."), nothing, never) == {}  # no list to append to
    key = next(iter(follow(pickletools.genops(b"}cm\nn\n)RK\x02s."), nothing, never)))
    assert isinstance(key, Unread)
    assert follow(pickletools.genops(b"cm\nn\n."), nothing, never) == Name("m.n")


@pytest.mark.parametrize(
    ("content", "message"), [(b"Pname\n.", "the instruction PERSID"), (b"\x82\x01.", "the instruction EXT1")]
)
def test_other_instructions_are_refused_by_name(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        follow(pickletools.genops(content), never, never)
    with pytest.raises(ValueError, match="have no end"):
        follow(iter(()), never, never)


def changed(path: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """The archive with one member changed."""
    with zipfile.ZipFile(path) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    (member,) = [each for each in members if each.endswith(f"/{name}")]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for each, content in members.items():
            archive.writestr(each, change(content) if each == member else content)
    return path


def test_archives_of_other_machines_and_of_too_few_numbers_are_told(tmp_path: Path) -> None:
    buffer, state = io.BytesIO(), {"a": torch.arange(6.0).view(2, 3)}
    torch.save(state, buffer)
    for name, change, message in (
        ("byteorder", lambda _: b"big", "its numbers begin with their high bytes"),
        ("data/0", lambda content: content[:-4], "data/0 should have 24 bytes"),
    ):
        path = tmp_path / "a.pth"
        path.write_bytes(buffer.getvalue())
        with pytest.raises(CheckpointError, match=message):
            read_torch(changed(path, name, change))
    path.write_bytes(buffer.getvalue())
    assert torch.equal(read_tensors([path])["a"], state["a"])


def test_where_the_tensors_of_a_checkpoint_are() -> None:
    one, other = torch.zeros(1), torch.ones(1)
    assert find_state([one]) == {}
    assert find_state({"step": 3}) == {}
    assert find_state({"w": one, "step": 3}) == {"w": one}
    assert find_state({"state_dict": {"w": one}, "top": other}) == {"w": one}
    assert find_state({"state_dict": {"step": 3}, "top": other}) == {"top": other}
    assert find_state({"state_dict": 5, "top": other}) == {"top": other}
