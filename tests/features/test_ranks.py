"""Two processes cache one data set together, and both then see all of it."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
import torch

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.ranks import Ranks
from sanakit.features.configs import FilesData, ScenesData
from sanakit.features.encoders import Encoders
from sanakit.features.open import latent_data
from sanakit.features.work import Demand, Work


def work(rank: int, rendezvous: Path, out: Path, bundle: ModelBundle, photos: Path, cache: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    encoders = Encoders(autoencoder=lambda: bundle.autoencoder, text=lambda: bundle.text_encoder)
    for config in (
        FilesData(path=str(photos), cache_folder=str(cache)),
        ScenesData(bank="tiny", num_captions=70, num_copies=2, cache_folder=str(cache)),
    ):
        demand = Demand(resolutions=(64,), batch_size=3, seed=0)
        data = latent_data(config, demand, Work(encoders=encoders, ranks=Ranks(rank, 2)))
        assert data.num_batches is not None
        batches = [data.batch(number) for number in range(data.num_batches)]
        torch.save([(batch.latent, batch.text.embeds) for batch in batches], out / f"{config.type}-{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the tiny bundle is handed over by forking")
def test_two_ranks_share_the_work(tmp_path: Path, tiny_bundle: ModelBundle, photos: Path) -> None:
    content = (photos / "5.png").read_bytes()
    (photos / "5.png").write_bytes(content[: len(content) // 2])
    context, out, cache = multiprocessing.get_context("fork"), tmp_path / "out", tmp_path / "cache"
    out.mkdir()
    arguments = (tmp_path / "rendezvous", out, tiny_bundle, photos, cache)
    ranks = [context.Process(target=work, args=(rank, *arguments)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
    assert [process.exitcode for process in ranks] == [0, 0]
    for kind, num_samples in (("files", 6), ("scenes", 140)):
        first, second = (torch.load(out / f"{kind}-{rank}.pt", weights_only=True) for rank in range(2))
        assert sum(len(latent) for latent, _ in first) == num_samples
        for (latent, embeds), (other_latent, other_embeds) in zip(first, second, strict=True):
            assert torch.equal(latent, other_latent)
            assert torch.equal(embeds, other_embeds)
    packs = list(cache.glob("latents-*/*.safetensors"))
    assert len(packs) >= 3  # both processes wrote
