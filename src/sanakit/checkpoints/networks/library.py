"""Whether the transformers library works in this Python at all, so that no file of a user's is blamed for it."""

from __future__ import annotations

import sys

from sanakit.common.errors import SanakitError


def check_transformers() -> None:
    """Raises ``SanakitError`` where transformers cannot be imported, with what to change."""
    if sys.flags.optimize > 1:
        raise SanakitError(
            "transformers, which runs the text encoder, reads its own docstrings, and they are removed here by python "
            "-OO or PYTHONOPTIMIZE=2; leave that out, or set PYTHONOPTIMIZE=1"
        )
