"""``imagesmith --help`` beside a bare typer program with as many commands.

The bare program's commands take one argument and one option and do nothing, so it shows what
typer itself takes; both are processes, timed from outside.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import typer.main

from benchmarks.measure import COMMAND, Row, medians, run, timed
from imagesmith.cli.app import app

_BARE = """
import typer
app = typer.Typer(help="bare", no_args_is_help=True, add_completion=False, rich_markup_mode=None)
def command(a: str, b: int = 1) -> None:
    "Do nothing."
for number in range({count}):
    app.command(f"command-{{number}}")(command)
app()
"""


def rows() -> Iterator[Row]:
    """Measure both in turn."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(_BARE.format(count=_commands(typer.main.get_command(app))))
        ours, theirs = medians(
            lambda: timed(lambda: run(COMMAND, "--help")),
            lambda: timed(lambda: run(sys.executable, bare, "--help")),
        )
    yield Row("--help", "ms", 1000 * ours, "bare typer", 1000 * theirs, "ratio 1.5")


def _commands(command: object) -> int:
    inner = getattr(command, "commands", None)
    return 1 if inner is None else sum(map(_commands, inner.values()))
