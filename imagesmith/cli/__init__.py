"""The command line: options in, one result on stdout, everything else on stderr."""

from __future__ import annotations

from importlib import import_module

# In the order in which --help has their commands.
_COMMANDS = ("walk", "images", "serving", "cache")


def main() -> None:
    """Run the ``imagesmith`` command."""
    from imagesmith.cli.app import app

    for name in _COMMANDS:
        import_module(f"imagesmith.cli.{name}")
    app()
