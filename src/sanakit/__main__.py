"""``python -m sanakit``, for where the ``sanakit`` script is not on the PATH (under ``torchrun``, for instance)."""

import sys

from sanakit.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
