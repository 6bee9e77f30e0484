"""The command line: options in, one result on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys
from importlib import import_module

# In the order in which --help has their commands.
_COMMANDS = ("walk", "images", "serving", "cache")


def main() -> None:
    """Run the ``imagesmith`` command."""
    if sys.getfilesystemencoding() != "utf-8":
        # As in an image, whatever the locale here: names of files are part of what is built.
        again = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONUTF8": "1"})  # noqa: S606
    from imagesmith.cli.app import app

    for name in _COMMANDS:
        import_module(f"imagesmith.cli.{name}")
    app()
