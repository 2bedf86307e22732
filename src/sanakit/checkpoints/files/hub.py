"""Model sources that are not on this machine yet: Hugging Face hub ids, in the standard cache.

All variables of the hub's own client are honoured (``HF_HOME``, ``HF_HUB_OFFLINE``, ``HF_ENDPOINT``, ``HF_TOKEN``,
``HF_HUB_DISABLE_PROGRESS_BARS`` and so on), because that client does the work.
"""

from __future__ import annotations

import errno
import logging
import re
import shlex
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from glob import escape
from pathlib import Path
from typing import Any

from sanakit.checkpoints.files.hub_check import Listing, Snapshot, faults, listing_of
from sanakit.checkpoints.files.hub_files import FOLDERS, choose_files
from sanakit.checkpoints.files.weight_names import is_weight_file
from sanakit.common.byte_counts import readable_bytes
from sanakit.common.errors import CheckpointError, DownloadError, OutputError, RequestError, SanakitError
from sanakit.common.paths import as_path

_NAME = r"(?!.*(?:--|\.\.))[A-Za-z0-9_][A-Za-z0-9_.-]*"
_HUB_ID = re.compile(rf"(?P<repo>{_NAME}/{_NAME})")
_HUB_ADDRESS = re.compile(rf"hf://(?P<repo>{_NAME}/{_NAME})(?:/(?P<path>.*?))?/?")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class HubOptions:
    """Which files of a model are wanted, and how a hub id becomes files on this machine; the usual loader arguments."""

    variant: str | None = None  # "fp16" or "bf16" files, of a folder on this machine too
    revision: str | None = None
    cache_dir: Path | None = None
    local_files_only: bool = False
    token: str | None = None
    trust_remote_code: str | bool | None = None  # the one source whose own code may run; False is None, True names none
    commits: Mapping[str, str] = field(default_factory=dict)  # of parts that a model borrows, by component

    def trusts(self, source: str | Path) -> bool:
        """Whether code that comes with this source may be run."""
        named = self.trust_remote_code
        return bool(named) and not isinstance(named, bool) and _place_of(str(named)) == _place_of(source)

    def for_source(self, source: str | Path) -> HubOptions:
        """The same, for a command that loads others too: what is trusted may be one of those."""
        return self if self.trusts(source) else replace(self, trust_remote_code=None)

    def check_trust(self, *sources: str | Path | None) -> None:
        """Raises RequestError where the source whose code may run is none of these, all that a command loads."""
        named = [source for source in sources if source is not None]
        if self.trust_remote_code not in (None, False) and not any(map(self.trusts, named)):
            raise RequestError(
                f"trust_remote_code={self.trust_remote_code} is no source whose own code could be run here; that would "
                f"be {' or '.join(map(str, named))}"
            )

    @property
    def for_others(self) -> HubOptions:
        """For the parts that a model borrows: revision and variant are the model's own."""
        return replace(self, revision=None, variant=None, commits={})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    """What is wanted of one repository."""

    repo: str
    path: str  # a file or a folder in it, "" for all of it
    folders: Collection[str]
    hub: HubOptions
    with_code: bool = False

    def files(self, paths: list[str]) -> list[str]:
        """The needed ones of all files of the repository."""
        if is_weight_file(self.path):
            if self.path not in paths:
                raise CheckpointError(
                    f"{self.repo} has no file {self.path}; its page is https://huggingface.co/{self.repo}"
                )
            return [self.path]
        prefix = f"{self.path}/" if self.path else ""
        inside = [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]
        where = f"{self.repo}/{self.path}".rstrip("/")
        chosen = choose_files(
            inside, variant=self.hub.variant, folders=self.folders, with_code=self.with_code, where=where
        )
        return [prefix + path for path in chosen]


def resolve_source(source: str | Path, *, folders: Collection[str] = FOLDERS, hub: HubOptions | None = None) -> Path:
    """A path on this machine for a path, ``org/name``, or ``hf://org/name[/folder or file]``; a local path always wins.

    Args:
        folders: wanted of a diffusers repository; only their files and one variant are downloaded.
        hub: as in every loader of the ecosystem.

    Raises:
        CheckpointError: no such path and no hub id either, or the repository holds no model that can be read, or its
            place in the cache holds files that it does not have.
        DownloadError: it is not on this machine, or damaged there, and could not be fetched; the sentence says what to
            do.
        OutputError: the cache cannot be written.
    """
    local = as_path(source)
    if local.exists():
        return local
    repo, path = parse_address(str(source))
    hub = hub or HubOptions()
    request = _Request(repo=repo, path=path, folders=folders, hub=hub, with_code=hub.trusts(source))
    from huggingface_hub import constants

    if hub.local_files_only or constants.is_offline_mode():
        asked = "local_files_only was asked for" if hub.local_files_only else "HF_HUB_OFFLINE is set"
        return _from_cache(request, f"{asked}; download it once without that")
    try:
        snapshot = _download(request)
    except SanakitError:
        raise
    except Exception as error:  # the client raises its own kinds, those of its HTTP library, and OSError
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
            where = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
            raise OutputError(f"{repo} could not be stored in {_cache_folder(request)} ({where})") from error
        return _from_cache(request, _reason(error, request))
    return snapshot / path


def _place_of(source: str | Path) -> str:
    """The same for a place on this machine in any of its names."""
    local = as_path(source)
    return str(local.resolve()) if local.exists() else str(source)


def parse_address(source: str) -> tuple[str, str]:
    """``hf://org/name/path`` or ``org/name`` -> repository and path in it.

    Raises:
        CheckpointError: it has neither form.
    """
    if match := _HUB_ID.fullmatch(source):
        return match["repo"], ""
    if match := _HUB_ADDRESS.fullmatch(source):
        return match["repo"], match["path"] or ""
    hint = ""
    if is_weight_file(source) and source.count("/") > 1 and source[0] not in "./~":
        hint = f" (for a file on the Hugging Face hub write hf://{source})"
    raise CheckpointError(f"there is no file or folder {source!r}, and it is not a hub id such as org/name{hint}")


def _download(request: _Request) -> Path:
    """The snapshot folder with the needed files in it."""
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache

    hub = request.hub
    repo = HfApi(token=hub.token).model_info(request.repo, revision=hub.revision, files_metadata=True)
    listing = listing_of(repo.siblings or [])
    wanted = request.files(list(listing))
    absent = [
        name
        for name in wanted
        if not isinstance(try_to_load_from_cache(request.repo, name, hub.cache_dir, repo.sha), str)
    ]
    if absent:
        size = readable_bytes(sum(listing[name].num_bytes or 0 for name in absent), decimals=1)
        logger.info("downloading %s: %d files, %s, to %s", request.repo, len(absent), size, _cache_folder(request))
    patterns = [escape(name) for name in wanted]
    where: dict[str, Any] = {"revision": hub.revision, "cache_dir": hub.cache_dir, "token": hub.token}
    folder = Path(snapshot_download(request.repo, **where, allow_patterns=patterns))
    if (snapshot := Snapshot.around(folder)) is not None:
        _heal(snapshot, wanted, listing if snapshot.commit == repo.sha else snapshot.listing(), request)
    return folder


def _heal(snapshot: Snapshot, names: Collection[str], listing: Listing, request: _Request) -> None:
    """Fetch damaged files again, once."""
    from huggingface_hub import hf_hub_download

    where: dict[str, Any] = {
        "revision": snapshot.commit,
        "cache_dir": request.hub.cache_dir,
        "token": request.hub.token,
    }
    for name, fault in faults(snapshot, names, listing).items():
        logger.warning("%s %s; it is fetched again", snapshot.folder / name, fault)
        if not snapshot.is_linked(name):  # the client leaves what stands there
            (snapshot.folder / name).unlink()
        hf_hub_download(request.repo, name, **where, force_download=True)
        if left := faults(snapshot, [name], listing):
            raise DownloadError(
                f"the hub gave {name} of {request.repo} twice and it {left[name]}; it is damaged on its way, so try "
                f"again later or from another network"
            )
    _refuse_strangers(snapshot, names, listing)


def _refuse_strangers(snapshot: Snapshot, names: Collection[str], listing: Listing) -> None:
    """A file that the repository does not have may change what its model does, and who put it there is not known."""
    if stranger := next(snapshot.strangers(names, listing), None):
        raise CheckpointError(
            f"{snapshot.folder / stranger} lies in the hub's cache and is no file of {snapshot.repo}; remove it"
        )


def _from_cache(request: _Request, reason: str) -> Path:
    """What an earlier download has left; complete, as far as the cached listing can tell."""
    from huggingface_hub import get_cached_repo_tree, snapshot_download
    from huggingface_hub.errors import CachedRepoTreeNotFoundError, IncompleteSnapshotError, LocalEntryNotFoundError

    where: dict[str, Any] = {"revision": request.hub.revision, "cache_dir": request.hub.cache_dir}
    wanted: list[str] | None
    try:
        wanted = request.files([file.path for file in get_cached_repo_tree(request.repo, **where)])
    except CachedRepoTreeNotFoundError:  # made by an older client; then the readers will find what is missing
        wanted = None
    patterns = [escape(name) for name in wanted] if wanted is not None else None
    missing = request.repo + (f" at revision {request.hub.revision}" if request.hub.revision else "")
    try:
        folder = Path(snapshot_download(request.repo, **where, allow_patterns=patterns, local_files_only=True))
        _check_cached(folder, wanted, request, reason)
        if (folder / request.path).exists():
            return folder / request.path
        missing = f"{request.path} of {missing}"
    except IncompleteSnapshotError as error:
        named = re.search(r"missing \((.*?)\)\. ", str(error))
        missing = f"a part of {missing} ({named[1] if named else 'some files'})"
    except LocalEntryNotFoundError:
        pass
    raise DownloadError(f"{missing} is not on this machine (looked in {_cache_folder(request)}): {reason}")


def _check_cached(folder: Path, wanted: list[str] | None, request: _Request, reason: str) -> None:
    """Refuse damaged files where none can be fetched."""
    if (snapshot := Snapshot.around(folder)) is None:
        return
    listing = snapshot.listing()
    names = wanted or [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    with suppress(CheckpointError):  # of an incomplete folder, which whoever reads it tells
        names = request.files(names)
    for name, fault in faults(snapshot, names, listing).items():
        place = f" --cache-dir {shlex.quote(str(request.hub.cache_dir))}" if request.hub.cache_dir else ""
        raise DownloadError(
            f"{folder / name} is damaged (it {fault}) and is fetched again as soon as the hub can be asked, or "
            f"`hf cache rm model/{request.repo}{place}` removes it: {reason}"
        )
    _refuse_strangers(snapshot, names, listing)


def _reason(error: Exception, request: _Request) -> str:
    """Why the hub did not give it, and what to do about it."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    page = f"https://huggingface.co/{request.repo}"
    first: BaseException | None = error
    while first is not None and getattr(first, "response", None) is None:  # the client hides what came first
        first = first.__cause__
    match first or error:
        case GatedRepoError():
            return f"its owners ask you to accept their terms at {page} first, then log in with `hf auth login`"
        case RepositoryNotFoundError():
            return "no such repository on the hub, or it is private; check the name, or log in with `hf auth login`"
        case RevisionNotFoundError():
            return f"the repository has no revision {request.hub.revision!r}; see {page}"
        case HfHubHTTPError(response=answer) if answer is not None:
            return f"the hub answered with status {answer.status_code}; try again later, or name a local folder"
    return f"the hub could not be reached ({type(error).__name__}); connect once, or name a local folder"


def _cache_folder(request: _Request) -> Path:
    from huggingface_hub import constants

    return request.hub.cache_dir or Path(constants.HF_HUB_CACHE)
