"""What fills the cache: keys of all that decides, counts of what was there, and remarks about what is left out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from sanakit.common.user_cache import user_cache_folder
from sanakit.features import store as feature_store
from sanakit.features.batches import LatentBatch, PixelBatch
from sanakit.features.caching import Spent, cache_folder, cache_texts, fill_store, latent_key, tell_dropped
from sanakit.features.encoders import Encoders
from sanakit.features.store import FeatureStore, FeatureWriter, feature_key
from sanakit.features.work import Work
from sanakit.models.text.text_condition import TextCondition


def test_keys_are_of_all_that_decides(encoders: Encoders) -> None:
    assert feature_key("a", "b") == hashlib.sha256(b"a\nb").hexdigest()
    facts: dict[str, Any] = {"picture": "p", "height": 64, "width": 32, "rule": "r", "encoding": "e"}
    key = latent_key(**facts, encoders=encoders)
    assert key == feature_key("latent", "p", "64x32", "r", "e", encoders.latent_id)
    others = {latent_key(**{**facts, name: 7}, encoders=encoders) for name in ("height", "width")}
    others |= {latent_key(**{**facts, name: "x"}, encoders=encoders) for name in ("picture", "rule", "encoding")}
    assert len(others | {key}) == 6


def test_where_features_are_kept(tmp_path: Path) -> None:
    assert cache_folder(None) == user_cache_folder() / "features"
    assert cache_folder(tmp_path) == cache_folder(str(tmp_path)) == tmp_path


def test_what_is_missing_is_computed_and_told(tmp_path: Path, encoders: Encoders) -> None:
    told: list[tuple[int, int, str]] = []
    work = Work(encoders=encoders, on_progress=lambda *one: told.append(one))
    store, asked = FeatureStore(tmp_path), list[list[str]]()

    def compute(missing: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        asked.append(list(missing))
        yield from ((key, torch.full((2,), float(len(key)))) for key in missing if key != "bad")

    assert fill_store(store, ["a", "bb"], compute, work, what="things") == Spent(reused=0, computed=2)
    assert told == [(1, 2, "things"), (2, 2, "things")]
    assert fill_store(store, ["a", "ccc", "bad", "bb"], compute, work, what="things") == Spent(reused=2, computed=1)
    assert fill_store(store, ["a"], compute, work, what="things") == Spent(reused=1, computed=0)
    assert asked == [["a", "bb"], ["ccc", "bad"]]
    assert store.get("ccc").tolist() == [3.0, 3.0]
    assert "bad" not in store


def test_texts_are_encoded_once_each_and_alone_under_another_key(tmp_path: Path, encoders: Encoders) -> None:
    store, work = FeatureStore(tmp_path), Work(encoders=encoders)
    keys, spent = cache_texts(["a longer text", "a", "a", "b"], store, work)
    assert (list(keys), spent) == (["a longer text", "a", "b"], Spent(reused=0, computed=3))
    for text, key in keys.items():
        expected = encoders.text.encode([text])[0].embeds[0]
        torch.testing.assert_close(store.get(key), expected, rtol=1e-4, atol=1e-4)
    exact, spent = cache_texts(["a", "c"], store, work, exact=True)
    assert spent == Spent(reused=0, computed=2)
    assert exact["a"] != keys["a"]
    assert cache_texts(["c"], store, work, exact=True)[1] == Spent(reused=1, computed=0)


@pytest.mark.parametrize(
    ("number", "shown"), [(1, "k0 (why)"), (5, "k0 (why), k1 (why), k2 (why), k3 (why), k4 (why)"), (6, "and 1 more")]
)
def test_the_first_five_are_named(number: int, shown: str, caplog: pytest.LogCaptureFixture) -> None:
    source: Any = SimpleNamespace(path="photos")
    with caplog.at_level(logging.WARNING):
        tell_dropped("are odd", {}, source)
        assert caplog.text == ""
        tell_dropped("are odd", {f"k{n}": "why" for n in range(number)}, source)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{number} samples of photos are odd and are left out: k0 (why)")
    assert record.getMessage().endswith(shown)


def test_batches_go_to_a_device_whole() -> None:
    text = TextCondition(torch.zeros(1, 2, 3), torch.ones(1, 2, dtype=torch.bool))
    moved = LatentBatch(torch.zeros(1, 4, 2, 2), text).to("meta")
    assert {moved.latent.device.type, moved.text.embeds.device.type, moved.text.mask.device.type} == {"meta"}
    assert PixelBatch(torch.zeros(1, 3, 2, 2)).to("meta").pixels.device.type == "meta"


def test_encoders_are_let_go_and_come_back(encoders: Encoders) -> None:
    calls: list[str] = []
    own = Encoders(
        autoencoder=lambda: (calls.append("autoencoder"), encoders.autoencoder)[1],
        text=lambda: (calls.append("text"), encoders.text)[1],
    )
    with own.loaded() as same:
        assert same is own
        assert (own.compression, own.latent_channels, own.text_channels) == (16, 4, 32)
    assert calls == ["autoencoder", "text"]
    assert own.text_channels == 32  # without the language model
    assert calls == ["autoencoder", "text"]
    assert own.compression == 16
    assert calls == ["autoencoder", "text", "autoencoder"]
    with pytest.raises(ValueError, match="broken"), own.loaded():
        raise ValueError("broken")
    assert own.latent_channels == 4
    assert calls == ["autoencoder", "text", "autoencoder", "autoencoder"]


def test_entries_of_odd_lengths_lie_behind_each_other(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    tensors = {"b": torch.arange(3, dtype=torch.uint8), "a": torch.tensor([1.5, 2.5]), "c": torch.arange(5)}
    with store.writer() as writer:
        for key, tensor in tensors.items():
            writer.put(key, tensor)
    again = FeatureStore(tmp_path)
    assert (len(again), "a" in again, "x" in again) == (3, True, False)
    for key, tensor in tensors.items():
        assert torch.equal(again.get(key), tensor)


def test_packs_are_written_after_a_minute_or_128_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, flushed = [100.0], list[int]()
    monkeypatch.setattr(feature_store.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(
        FeatureWriter, "flush", lambda self: (flushed.append(len(self._pending)), self._pending.clear())
    )
    writer = FeatureWriter(tmp_path)
    for moment, key in ((1000.0, "a"), (1059.9, "b"), (1060.0, "c"), (2000.0, "d"), (2059.0, "e")):
        now[0] = moment  # counted from the first that was put
        writer.put(key, torch.zeros(2))
    assert flushed == [3]
    large = FeatureWriter(tmp_path)
    for number, size in enumerate((64_000_000, 63_999_999, 1)):
        large.put(str(number), torch.zeros(size, dtype=torch.uint8))
    assert flushed == [3, 3]
