"""The stages as commands: capture, lock, render, build, verify, push.

Each reads its options, calls one verb of the API, and gives a Result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagesmith.cli.app import app
from imagesmith.cli.command import Result, command
from imagesmith.cli.console import Console
from imagesmith.cli.options import (
    Apt,
    Base,
    Env,
    ImageName,
    InputType,
    LockOptions,
    ModelName,
    Name,
    NoCompare,
    Rtol,
    SamplesFile,
    Sign,
    Strings,
    Template,
    Version,
    model_image,
    workshop,
)


@command(app, "capture")
def capture_command(
    console: Console,
    target: Annotated[str, typer.Argument(help="file.py:function or module:function")],
    name: Name,
    bundle: Annotated[Path, typer.Option("--output", "-o", help="The bundle to write.")],
    version: Version = None,
    input_type: InputType = "doubles",
    env: Env = "auto",
    samples: SamplesFile = None,
    strings: Strings = "str",
) -> Result:
    """Pickle a function and note the environment that it runs in."""
    from imagesmith import pipeline
    from imagesmith.capture import bundle as bundles

    wish = pipeline.CaptureWish(target, name, version, input_type, strings, env, samples)
    captured = pipeline.captured(wish, workshop(console))
    bundles.write(captured, bundle)
    return Result(str(bundle), {"bundle": str(bundle), "digest": captured.digest})


@command(app, "lock")
def lock_command(
    console: Console,
    folder: Annotated[Path, typer.Option("--output", "-o", help="The folder of the lock.")],
    bundle: Annotated[
        Path | None, typer.Argument(help="A bundle that `capture` wrote; or name --env.")
    ] = None,
    env: Annotated[
        Path | None,
        typer.Option(
            "--env",
            metavar="PREFIX|FILE",
            help="An environment's folder, environment.yml, requirements.txt or pyproject.toml.",
        ),
    ] = None,
    python: Annotated[
        str | None, typer.Option("--python", metavar="X.Y", help="The Python of a file's lock.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Where to draw the report.")
    ] = None,
    base: Base = None,
    locking: LockOptions = LockOptions(),
) -> Result:
    """Lock for linux-64 what a bundle or an environment needs, and report what is missing there."""
    from imagesmith import pipeline
    from imagesmith.cli.report import show
    from imagesmith.resolve.files import PYLOCK, REPORT, write, write_page, write_report

    shop = workshop(console)
    wish = pipeline.BuildWish(base, locking.sources(), locking.wish(), locking.pip_resolver)
    wanted = pipeline.wanted(bundle, env, shop)
    minor = pipeline.python_of(wanted, python, shop)
    resolved = pipeline.resolved(wanted, pipeline.base_for(minor, base, shop), wish, shop)
    show(resolved.report)
    write_report(resolved, folder)
    if html:
        write_page(resolved, str(bundle or env), html)
    write(pipeline.lock_of(resolved, shop), folder)
    places = {"lock": folder, "pylock": folder / PYLOCK, "report": folder / REPORT}
    return Result(str(folder), {key: str(place) for key, place in places.items()})


@command(app, "render")
def render_command(
    console: Console,
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a pack.")],
    folder: Annotated[Path, typer.Option("--output", "-o", help="The folder of the context.")],
    template: Template = None,
    base: Base = None,
    apt: Apt = None,
    locking: LockOptions = LockOptions(),
) -> Result:
    """Write a build context that plain `docker build` takes, without a network."""
    from imagesmith import pipeline
    from imagesmith.capture.bundle import read
    from imagesmith.pack.archive import is_pack

    shop = workshop(console)
    wish = pipeline.BuildWish(
        base,
        locking.sources(),
        locking.wish(),
        locking.pip_resolver,
        template=template,
        apt=tuple(apt or ()),
    )
    if is_pack(bundle):
        from imagesmith.pipeline import render_pack

        render_pack(bundle, wish, folder, shop)
    else:
        pipeline.render_bundle(read(bundle), wish, folder, shop)
    return Result(str(folder), {"context": str(folder), "dockerfile": str(folder / "Dockerfile")})


@command(app, "build")
def build_command(
    console: Console,
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(help="file.py:function, module:function, bundle or pack; else a project's."),
    ] = None,
    name: ModelName = None,
    version: Version = None,
    input_type: InputType = "doubles",
    env: Env = "auto",
    samples: SamplesFile = None,
    strings: Strings = "str",
    base: Base = None,
    apt: Apt = None,
    locking: LockOptions = LockOptions(),
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not start the image.")] = False,
    rtol: Rtol = 1e-6,
    no_compare: NoCompare = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", metavar="oci:DIR|archive:FILE|docker", help="Where the image goes."
        ),
    ] = None,
    push: Annotated[
        str | None, typer.Option("--push", metavar="REF", help="And into which registry.")
    ] = None,
    sign: Sign = None,
    builder: Annotated[
        str, typer.Option("--builder", metavar="auto|layers|docker", help="What makes the image.")
    ] = "auto",
    template: Template = None,
    max_size: Annotated[
        str | None,
        typer.Option("--max-size", metavar="SIZE", help="The most that it may have, as 600MB."),
    ] = None,
) -> Result:
    """Make an image of a function and see that it answers; without a target, of all a project's."""
    from imagesmith import pipeline
    from imagesmith.project.model import Model, made
    from imagesmith.sizes import parse_size

    if target is None:
        from imagesmith.cli.project import build_project

        return build_project(console, context)
    wish = pipeline.BuildWish(
        base=base,
        sources=locking.sources(),
        lock=locking.wish(),
        pip_resolver=locking.pip_resolver,
        verify=not no_verify,
        rtol=rtol,
        compare=not no_compare,
        builder=builder,
        template=template,
        max_size=parse_size(max_size) if max_size else None,
        apt=tuple(apt or ()),
    )
    taking = pipeline.CaptureWish(target, name, version, input_type, strings, env, samples)
    found = made(Model("", taking, wish, output, push, sign), workshop(console))
    return Result(found.reference, found.as_dict())


@command(app, "pack")
def pack_command(
    console: Console,
    target: Annotated[str, typer.Argument(help="file.py:function, module:function or a bundle")],
    file: Annotated[Path, typer.Option("--output", "-o", help="The archive to write.")],
    name: ModelName = None,
    version: Version = None,
    input_type: InputType = "doubles",
    env: Env = "auto",
    samples: SamplesFile = None,
    strings: Strings = "str",
    base: Base = None,
    apt: Apt = None,
    locking: LockOptions = LockOptions(),
) -> Result:
    """Put all that an image is made of into one archive, to build it without a network."""
    from imagesmith import pipeline
    from imagesmith.pipeline import pack

    shop = workshop(console)
    taking = pipeline.CaptureWish(target, name, version, input_type, strings, env, samples)
    wish = pipeline.BuildWish(
        base, locking.sources(), locking.wish(), locking.pip_resolver, apt=tuple(apt or ())
    )
    image = pack(pipeline.captured(taking, shop), wish, file, shop)
    return Result(str(file), {"pack": str(file), "image": image.pinned})


@command(app, "verify")
def verify_command(
    console: Console,
    image: ImageName,
    samples: SamplesFile = None,
    rtol: Rtol = 1e-6,
    no_compare: NoCompare = False,
) -> Result:
    """Start an image and see that it answers; on the engine that DOCKER_HOST names, if it does."""
    from imagesmith import pipeline
    from imagesmith.engine import is_named

    shop = workshop(console, by_engine=is_named())
    found = model_image(image, shop)
    verdict = pipeline.verify_image(found, samples, shop, rtol=rtol, compare=not no_compare)
    data = {"image": found.pinned, "answered": verdict.answered, "compared": verdict.compared}
    return Result(found.pinned, data)


@command(app, "push")
def push_command(
    console: Console,
    image: ImageName,
    reference: Annotated[str, typer.Argument(metavar="REF", help="HOST/PATH[:TAG]")],
    sign: Sign = None,
) -> Result:
    """Push an image into a registry."""
    from imagesmith import pipeline
    from imagesmith.image.find import find_image
    from imagesmith.publish.destination import registry_at

    shop = workshop(console)
    registry = registry_at(reference, sign, shop.store, console)
    found = find_image(image, shop.store)
    pipeline.push(found, registry, shop)
    pushed = str(registry.reference.at(found.manifest.digest))
    return Result(pushed, {"image": found.pinned, "pushed": pushed})
