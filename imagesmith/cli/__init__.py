"""The command line: options in, one result on stdout, everything else on stderr."""

from __future__ import annotations


def main() -> None:
    """Run the ``imagesmith`` command."""
    from imagesmith.cli.app import app

    app()
