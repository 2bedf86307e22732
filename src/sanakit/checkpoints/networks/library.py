"""Whether the transformers library works in this Python at all, so that no file of a user's is blamed for it."""

from __future__ import annotations

import sys

from sanakit.common.errors import SanakitError, first_line


def check_transformers() -> None:
    """Raises ``SanakitError`` where transformers cannot be imported, with what to change."""
    if sys.flags.optimize > 1:
        raise SanakitError(
            "transformers, which runs the text encoder, reads its own docstrings, and they are removed here by python "
            "-OO or PYTHONOPTIMIZE=2; leave that out, or set PYTHONOPTIMIZE=1"
        )
    try:
        from transformers import AutoModel, AutoTokenizer  # noqa: F401, what comes with them is what fails
    except Exception as error:  # of another version, or beside a torchvision of another torch: in many ways
        raise SanakitError(
            f"transformers, which runs the text encoder, cannot be imported here ({first_line(error)}); "
            f"pip install -c constraints.txt . installs one that fits"
        ) from error
