"""``sanakit version``"""

from __future__ import annotations

from contextlib import suppress

import sanakit
from sanakit.cli.terminal.console import print_json, say
from sanakit.cli.terminal.options import PrintJsonOption


def version(as_json: PrintJsonOption = False) -> None:
    """Print the versions of sanakit and of what it runs on."""
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    versions = {"sanakit": sanakit.__version__, "python": platform.python_version()}
    for name in ("torch", "transformers", "safetensors"):
        with suppress(PackageNotFoundError):  # transformers is an extra
            versions[name] = installed(name)
    if as_json:
        print_json(versions)
        return
    for name, number in versions.items():
        say(f"{name} {number}")
