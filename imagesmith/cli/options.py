"""Options that several commands take, and what those make of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from imagesmith.cli.console import Console
    from imagesmith.image.oci import Image
    from imagesmith.pipeline import Workshop
    from imagesmith.resolve import Sources, Wish


class ResolverName(StrEnum):
    """What chooses the versions of pip's packages."""

    UV = "uv"
    PIP_TOOLS = "pip-tools"


class DepsName(StrEnum):
    """Which of the captured packages the image gets."""

    NEEDED = "needed"
    ALL = "all"


Name = Annotated[str, typer.Option("--name", help="The model's name in Clipper.")]
ModelName = Annotated[
    str | None, typer.Option("--name", help="The model's name in Clipper; a bundle has one.")
]
Version = Annotated[
    str | None, typer.Option("--version", help="Its version; else of the capture's digest.")
]
InputType = Annotated[
    str, typer.Option("--input-type", help="bytes, integers, floats, doubles or strings.")
]
Env = Annotated[
    str, typer.Option("--env", metavar="auto|PREFIX", help="The environment to capture.")
]
Strings = Annotated[
    str, typer.Option("--strings", metavar="str|bytes", help="What inputs of type strings are.")
]
SamplesFile = Annotated[
    Path | None, typer.Option("--samples", help="A JSON list of inputs to try.")
]
Base = Annotated[
    str | None,
    typer.Option("--base", metavar="REF", help="The base: a name, digest, oci:DIR or HOST/PATH."),
]
Apt = Annotated[
    list[str] | None,
    typer.Option("--apt", metavar="NAME", help="A Debian package that the image gets."),
]
Rtol = Annotated[float, typer.Option("--rtol", help="How far two numbers may be apart.")]
NoCompare = Annotated[bool, typer.Option("--no-compare", help="Let the answers be what they are.")]
Template = Annotated[
    Path | None, typer.Option("--template", metavar="FILE", help="A Dockerfile template.")
]
Sign = Annotated[
    str | None,
    typer.Option(
        "--sign", metavar="COMMAND", help="Run after the push, as 'cosign sign {reference}'."
    ),
]
ImageName = Annotated[str, typer.Argument(help="NAME:VERSION, oci:DIR or archive:FILE")]


@dataclass(frozen=True)
class LockOptions:
    """What is locked, and from where."""

    index_url: Annotated[
        str | None, typer.Option("--index-url", help="The package index to lock from.")
    ] = None
    channel: Annotated[
        list[str] | None,
        typer.Option("--channel", metavar="URL", help="A conda channel to lock from."),
    ] = None
    deps: Annotated[
        DepsName, typer.Option("--deps", help="What the function needs, or all that is installed.")
    ] = DepsName.NEEDED
    allow_missing: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-missing", metavar="NAME", help="Leave it out though needed (a .so, too)."
        ),
    ] = None
    update: Annotated[
        list[str] | None,
        typer.Option("--update", metavar="NAME[==VERSION]", help="Take another version of it."),
    ] = None
    cuda: Annotated[
        str | None, typer.Option("--cuda", metavar="VERSION", help="The CUDA of the target.")
    ] = None
    pip_resolver: Annotated[
        ResolverName, typer.Option("--pip-resolver", help="What chooses pip's versions.")
    ] = ResolverName.UV

    def sources(self) -> Sources:
        """Give where packages come from."""
        from imagesmith.resolve import Sources

        return Sources(self.index_url, tuple(self.channel or ()), self.cuda)

    def wish(self) -> Wish:
        """Give what is wanted otherwise than it was captured."""
        from imagesmith.resolve import Wish

        pairs = (text.partition("==") for text in self.update or ())
        return Wish(
            everything=self.deps is DepsName.ALL,
            allow_missing=frozenset(self.allow_missing or ()),
            updates={name: version or None for name, _, version in pairs},
        )


def workshop(console: Console, *, by_engine: bool = False) -> Workshop:
    """Give where a command works: the user's store, and whatever can start containers here."""
    from imagesmith.pipeline import Workshop, runner_for
    from imagesmith.run.late import LateRunner
    from imagesmith.store import Store

    store = Store.default()
    runner = LateRunner(partial(runner_for, store, console, by_engine=by_engine))
    return Workshop(store, runner, console)


def model_image(text: str, shop: Workshop) -> Image:
    """Give the image of a model that a command names; raises what ``find_model`` raises."""
    from imagesmith.image.find import find_model

    return find_model(text, shop.store)
