"""Looking at images and at what they stand on: inspect, diff, base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagesmith.cli.app import app, base_app
from imagesmith.cli.command import Result, command
from imagesmith.cli.console import Console
from imagesmith.cli.options import ImageName, workshop
from imagesmith.findings import ImagesmithError, error

if TYPE_CHECKING:
    from imagesmith.base.flavour import Flavour


@command(app, "inspect")
def inspect_command(
    console: Console,
    image: ImageName,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Where to draw the sizes.")
    ] = None,
) -> Result:
    """Say what an image holds, how big each thing is, and what other images share with it."""
    from imagesmith.cli.inspection import shown
    from imagesmith.image.find import find_image
    from imagesmith.inspect.look import look
    from imagesmith.inspect.page import write_page

    store = workshop(console).store
    seen = look(find_image(image, store), store)
    if html:
        write_page(seen, html)
        console.say("inspect", f"the sizes are drawn in {html}")
    return Result(shown(seen), seen.as_json())


@command(app, "diff")
def diff_command(
    console: Console,
    before: Annotated[str, typer.Argument(metavar="A", help="A bundle, lock, prefix or image.")],
    after: Annotated[str, typer.Argument(metavar="B", help="What to hold against it.")],
) -> Result:
    """Say what two environments differ in: captured, locked, or in an image."""
    from imagesmith import diff
    from imagesmith.cli.report import changed

    store = workshop(console).store
    pictures = [diff.picture(one, store) for one in (before, after)]
    found = diff.changes(*pictures)
    sizes = [diff.size(one) for one in pictures]
    data = {"changes": [change.as_dict() for change in found], "sizes": sizes}
    return Result(changed(found, sizes), data)


@command(base_app, "build")
def base_build_command(
    console: Console,
    python: Annotated[
        str | None, typer.Option("--python", help="The minor version, as 3.11.")
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", metavar="closure|pyspark", help="What it is to run.")
    ] = "closure",
    source: Annotated[
        str | None, typer.Option("--from", metavar="REF", help="An image: HOST/PATH:TAG, oci:DIR.")
    ] = None,
) -> Result:
    """Make the base of a Python version from Debian's packages, or from another image."""
    from imagesmith import base
    from imagesmith.store import Store

    flavour = _flavour(kind, source)
    if source is not None:
        made = base.take(Store.default(), source, python, console)
    elif python is not None:
        made = base.ensure(Store.default(), python, console, flavour)
    else:
        raise ImagesmithError(
            error(
                "usage.python",
                "--python",
                "no Python is named, nor an image to take one from",
                "name one with --python, as 3.11, or an image with --from",
            )
        )
    return Result(made.pinned, {"base": made.pinned, "labels": dict(made.config.labels)})


def _flavour(kind: str, source: str | None) -> Flavour:
    """Give what a base is to be; ImagesmithError (usage.kind) if there is no such kind of it."""
    from imagesmith.base.flavour import BASES, CLOSURE

    if kind in BASES and (source is None or BASES[kind] is CLOSURE):
        return BASES[kind]
    raise ImagesmithError(
        error(
            "usage.kind",
            kind,
            f"no base of the kind {kind!r} is made" + (" from another image" if source else ""),
            f"name one of {', '.join(BASES)}, or --from alone",
        )
    )


@command(base_app, "list")
def base_list_command(console: Console) -> Result:
    """Name the bases that are there, with their Python, glibc and size."""
    from imagesmith import base
    from imagesmith.cli.report import bases

    store = workshop(console).store
    found = [base.described(image, store) for image in base.available(store)]
    return Result(bases(found), {"bases": found})
