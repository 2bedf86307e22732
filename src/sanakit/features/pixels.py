"""A user's pictures, in any layout, as micro-batches of pixels for an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path
from sanakit.common.pixels import to_signed
from sanakit.common.seeds import derived_digest
from sanakit.data.buckets import assign_bins, training_bins
from sanakit.data.open import open_data
from sanakit.data.order import BatchOrder, Microbatch
from sanakit.data.sources.data_source import DataSource
from sanakit.features.batches import NamedSample, OrderedData, PixelBatch
from sanakit.features.caching import kept_samples, tell_fates
from sanakit.features.configs import FilePictures
from sanakit.features.file_latents import NUM_THREADS, fit_named
from sanakit.features.identity import identity_of_files
from sanakit.features.work import Demand


class FilePixels(OrderedData):
    """Micro-batches of pictures of a data set on disk, each brought to its bin, or a window of that."""

    def __init__(
        self, source: DataSource, samples: Sequence[int], order: BatchOrder, *, crop: int | None, seed: int
    ) -> None:
        """
        Args:
            samples: indices into the source, by the index that ``order`` knows them under.
        """
        super().__init__(order)
        self._source, self._samples, self._crop, self._seed = source, samples, crop, seed

    def describe(self, number: int) -> list[NamedSample]:
        """The samples of a micro-batch."""
        indices = [self._samples[index] for index in self._order[number].indices]
        return [NamedSample(self._source[index].key, self._source.file_of(index), "") for index in indices]

    def batch(self, number: int) -> PixelBatch:
        micro = self._order[number]
        with ThreadPoolExecutor(min(NUM_THREADS, len(micro.indices))) as threads:
            return PixelBatch(to_signed(list(threads.map(lambda index: self._picture(index, micro), micro.indices))))

    def _picture(self, place: int, micro: Microbatch) -> NDArray[np.uint8]:
        index = self._samples[place]
        picture = fit_named(self._source, index, micro.height, micro.width)
        if self._crop is None:
            return picture
        digest = derived_digest("window", self._seed, micro.epoch, self._source[index].key)
        top = int.from_bytes(digest[:8], "big") % (micro.height - self._crop + 1)
        left = int.from_bytes(digest[8:16], "big") % (micro.width - self._crop + 1)
        return picture[top : top + self._crop, left : left + self._crop]


def open_pictures(config: FilePictures, demand: Demand, *, multiple: int, crop: int | None) -> FilePixels:
    """See ``pixel_data``."""
    resolutions = demand.resolutions
    shortest = min((int(training_bins(r, multiple=multiple).sizes.min()) for r in resolutions), default=0)
    if crop is not None and (crop < 1 or crop > shortest or crop % multiple):
        raise RequestError(
            f"a window of {crop} px does not fit: it must be a multiple of {multiple} px of at most {shortest} px, "
            f"the shortest side of a bin at {', '.join(map(str, resolutions))} px"
        )
    source = open_data(as_path(config.path), min_size=config.min_size, need_captions=False, also=config.also)
    if source.has_latents():
        raise RequestError(f"{source.path} holds latents, and an autoencoder is trained on pictures")
    tell_fates(source)
    samples = kept_samples(source, config.leave_out)
    demand.on_identity(identity_of_files(source, samples))
    sizes = [(source[index].height, source[index].width) for index in samples]
    bins = assign_bins(sizes, resolutions, multiple=multiple)
    order = BatchOrder(bins, batch_size=demand.batch_size, seed=demand.seed)
    return FilePixels(source, samples, order, crop=crop, seed=demand.seed)
