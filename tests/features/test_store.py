"""The cache of features: whole or nothing, shared by processes, and nothing damaged comes out of it."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from sanakit.common.errors import OutputError, PictureError
from sanakit.features import store as feature_store
from sanakit.features.store import FeatureStore, feature_key

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.uint8, torch.int64]


def tensor_of(number: int, *, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    return torch.randn(2, 3, 1 + number % 4, generator=generator).mul(50).abs().to(dtype)


def key_of(number: int) -> str:
    return feature_key("test", str(number))


def fill(store: FeatureStore, numbers: range) -> None:
    with store.writer() as writer:
        for number in numbers:
            writer.put(key_of(number), tensor_of(number))


def packs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_was_put_comes_back(tmp_path: Path, dtype: torch.dtype) -> None:
    with FeatureStore(tmp_path / "new" / "folder").writer() as writer:
        for number in range(9):
            writer.put(key_of(number), tensor_of(number, dtype=dtype))
    again = FeatureStore(tmp_path / "new" / "folder")
    assert len(again) == 9
    for number in range(9):
        found = again.get(key_of(number))
        assert found.dtype == dtype
        assert torch.equal(found, tensor_of(number, dtype=dtype))
    assert again.missing([key_of(20), key_of(3), key_of(20)]) == [key_of(20)]
    with pytest.raises(KeyError):
        again.get(key_of(20))


def test_entries_of_all_dtypes_share_a_pack_that_safetensors_opens(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    with store.writer() as writer:
        for number, dtype in enumerate(DTYPES):
            writer.put(key_of(number), tensor_of(number, dtype=dtype)[:, 1:, :])  # a part of a larger tensor
        writer.put(key_of(9), torch.tensor(3, dtype=torch.uint8))
    (path,) = packs(tmp_path)
    with safe_open(path, "pt") as file:
        by_key = {name.partition(".")[0]: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for number, dtype in enumerate(DTYPES):
        expected = tensor_of(number, dtype=dtype)[:, 1:, :]
        assert torch.equal(store.get(key_of(number)), expected)
        assert torch.equal(by_key[key_of(number)], expected)
    assert store.get(key_of(9)).item() == 3


def test_many_entries_are_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "PACK_BYTES", 20_000)
    store = FeatureStore(tmp_path)
    with store.writer() as writer:
        for number in range(1000):
            writer.put(key_of(number), torch.full((40,), float(number)))  # 160 bytes
    assert len(packs(tmp_path)) == 8
    assert [store.get(key_of(number))[0].item() for number in range(1000)] == list(range(1000))


def test_changing_a_tensor_after_it_was_put_changes_nothing(tmp_path: Path) -> None:
    store, tensor = FeatureStore(tmp_path), torch.ones(3)
    with store.writer() as writer:
        writer.put(key_of(0), tensor)
        tensor.zero_()
    assert store.get(key_of(0)).tolist() == [1, 1, 1]


def test_what_was_done_before_an_error_is_kept(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)

    def interrupted() -> None:
        with store.writer() as writer:
            writer.put(key_of(0), tensor_of(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert FeatureStore(tmp_path).missing([key_of(0), key_of(1)]) == [key_of(1)]


def test_the_older_of_two_equal_entries_counts(tmp_path: Path) -> None:
    first, second = FeatureStore(tmp_path), FeatureStore(tmp_path)
    for store, value in ((first, 1.0), (second, 2.0)):
        with store.writer() as writer:
            writer.put(key_of(0), torch.tensor([value]))
    second.refresh()
    assert [store.get(key_of(0)).item() for store in (first, second, FeatureStore(tmp_path))] == [1, 1, 1]


@pytest.mark.parametrize("seed", range(6))
def test_a_changed_byte_is_found_and_only_what_it_hits_is_lost(tmp_path: Path, seed: int) -> None:
    fill(FeatureStore(tmp_path), range(20))
    (path,) = packs(tmp_path)
    content = bytearray(path.read_bytes())
    header = int.from_bytes(content[:8], "little")
    place = random.Random(seed).randrange(8 + header, len(content))
    content[place] ^= 1 << seed
    path.write_bytes(content)
    store, keys = FeatureStore(tmp_path), [key_of(number) for number in range(20)]
    missing = store.missing(keys)
    assert len(missing) == 1
    with pytest.raises(KeyError):
        store.get(missing[0])
    fill(store, range(20))
    assert FeatureStore(tmp_path).missing(keys) == []
    for number in range(20):
        assert torch.equal(store.get(key_of(number)), tensor_of(number))


@pytest.mark.parametrize("length", [0, 7, 60, 1500, -1])
def test_a_pack_that_was_cut_off_is_removed_and_computed_again(tmp_path: Path, length: int) -> None:
    fill(FeatureStore(tmp_path), range(20))
    fill(FeatureStore(tmp_path), range(20, 25))
    path, other = packs(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    store = FeatureStore(tmp_path)
    assert len(store.missing(key_of(number) for number in range(25))) == 20
    assert packs(tmp_path) == [other]


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_header_gives_nothing_wrong(tmp_path: Path, seed: int) -> None:
    fill(FeatureStore(tmp_path), range(20))
    (path,) = packs(tmp_path)
    content = bytearray(path.read_bytes())
    content[random.Random(seed).randrange(8 + int.from_bytes(content[:8], "little"))] ^= 1 << (seed % 7)
    path.write_bytes(content)
    store, keys = FeatureStore(tmp_path), [key_of(number) for number in range(20)]
    missing = store.missing(keys)
    for number in range(20):
        if key_of(number) not in missing:
            assert torch.equal(store.get(key_of(number)), tensor_of(number))
    fill(store, range(20))
    assert store.missing(keys) == []


def test_damage_that_comes_while_the_store_is_open_is_told(tmp_path: Path) -> None:
    fill(FeatureStore(tmp_path), range(3))
    store = FeatureStore(tmp_path)
    (path,) = packs(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    last = max(range(3), key=lambda number: store._index[key_of(number)].end)
    with pytest.raises(PictureError, match="is damaged"):
        store.get(key_of(last))


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        fill(FeatureStore(tmp_path), range(3))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        fill(FeatureStore(tmp_path / "cache"), range(1))


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_store import FeatureStore, feature_store, key_of, tensor_of
feature_store.PACK_BYTES = 300
store, first = FeatureStore(Path(sys.argv[1])), int(sys.argv[2])
while True:
    with store.writer() as writer:
        for number in range(first, first + 60):
            writer.put(key_of(number), tensor_of(number))
        print("ready", flush=True)
    if first == 0:
        break
"""


def test_two_processes_write_at_once_and_one_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    here = str(Path(__file__).parent)
    whole = subprocess.Popen([*command, "0", here], stdout=subprocess.PIPE)
    killed = subprocess.Popen([*command, "30", here], stdout=subprocess.PIPE)
    assert killed.stdout is not None
    killed.stdout.readline()
    killed.send_signal(signal.SIGKILL)
    assert whole.wait(60) == 0
    killed.wait(60)
    store = FeatureStore(tmp_path)
    assert store.missing(key_of(number) for number in range(60)) == []
    for number in range(90):
        if key_of(number) in store:
            assert torch.equal(store.get(key_of(number)), tensor_of(number))


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / ".old.safetensors.x.part", tmp_path / ".new.safetensors.x.part"
    for path, age in ((old, 90_000), (new, 10)):
        path.mkdir()
        (path / "half").write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    fill(FeatureStore(tmp_path), range(1))
    assert (old.exists(), new.exists()) == (False, True)


def test_keys_follow_from_their_facts() -> None:
    assert feature_key("a", "b") == feature_key("a", "b")
    assert len({feature_key("a", "b"), feature_key("ab"), feature_key("b", "a"), feature_key("a")}) == 4
    assert json.loads(json.dumps(feature_key("\udcff 🍎"))) == feature_key("\udcff 🍎")
