"""The application that the commands are added to.

Whatever is heavy is imported where it is used: ``imagesmith --help`` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
base_app = typer.Typer(help="The base images that models' images stand on.", no_args_is_help=True)
cache_app = typer.Typer()
clipper_app = typer.Typer(help="The embedded Clipper of this machine.", no_args_is_help=True)
app.add_typer(base_app, name="base")
app.add_typer(cache_app, name="cache")
app.add_typer(clipper_app, name="clipper")


def _print_version(wanted: bool) -> None:
    if wanted:
        from imagesmith import __version__

        sys.stdout.write(f"imagesmith {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Turn a Python prediction function and its environment into a locked image for Clipper."""
