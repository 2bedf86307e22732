"""SHA-256 of the files of a data set, kept in the user's cache so that a large one is not read whole each time."""

from __future__ import annotations

from collections.abc import Mapping

from sanakit.common.user_cache import cached_facts, recall, remember
from sanakit.data.sources.data_source import DataSource


def recall_digests(source: DataSource) -> dict[str, str]:
    """Those of the last time by stamp; empty if there are none."""
    content = recall(cached_facts("digests", source.path))
    return content if isinstance(content, dict) else {}


def remember_digests(source: DataSource, digests: Mapping[str, str]) -> None:
    remember(cached_facts("digests", source.path), digests)
