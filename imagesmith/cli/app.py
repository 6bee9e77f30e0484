"""The commands. Each reads its options, calls one verb of the API, and gives a Result.

Whatever is heavy is imported where it is used: ``imagesmith --help`` answers at once.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagesmith.cli.command import Result, command
from imagesmith.cli.console import Console
from imagesmith.findings import ImagesmithError, error

if TYPE_CHECKING:
    from imagesmith.clipper.client import Clipper
    from imagesmith.clipper.endpoints import Endpoints
    from imagesmith.clipper.manager import ContainerManager
    from imagesmith.image.oci import Image
    from imagesmith.pipeline import Workshop
    from imagesmith.publish.registry import RegistryPublisher
    from imagesmith.resolve import Sources, Wish

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
base_app = typer.Typer(help="The base images that models' images stand on.", no_args_is_help=True)
clipper_app = typer.Typer(help="The embedded Clipper of this machine.", no_args_is_help=True)
app.add_typer(base_app, name="base")
app.add_typer(clipper_app, name="clipper")


class ManagerName(StrEnum):
    """What runs the replicas of a deployment."""

    LOCAL = "local"
    DOCKER = "docker"


class ResolverName(StrEnum):
    """What chooses the versions of pip's packages."""

    UV = "uv"
    PIP_TOOLS = "pip-tools"


class DepsName(StrEnum):
    """Which of the captured packages the image gets."""

    NEEDED = "needed"
    ALL = "all"


# Options that several commands take.
Name = Annotated[str, typer.Option("--name", help="The model's name in Clipper.")]
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
Rtol = Annotated[float, typer.Option("--rtol", help="How far two numbers may be apart.")]
NoCompare = Annotated[bool, typer.Option("--no-compare", help="Let the answers be what they are.")]
Template = Annotated[
    Path | None, typer.Option("--template", metavar="FILE", help="A Dockerfile template.")
]
QueryPort = Annotated[int, typer.Option("--query-port", help="Where queries are taken.")]
ManagementPort = Annotated[
    int, typer.Option("--management-port", help="Where models are registered.")
]
RpcPort = Annotated[int, typer.Option("--rpc-port", help="Where replicas connect.")]
App = Annotated[str | None, typer.Option("--app", help="The application; else the model's name.")]
DefaultOutput = Annotated[
    str, typer.Option("--default-output", help="The answer when the model gives none in time.")
]
SloMs = Annotated[int, typer.Option("--slo-ms", min=1, help="The time a query may take.")]
Replicas = Annotated[int, typer.Option("--replicas", min=1, help="How many to start.")]
BatchSize = Annotated[
    int, typer.Option("--batch-size", help="The largest batch; -1 lets Clipper choose.")
]


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
        typer.Option("--allow-missing", metavar="NAME", help="Leave it out though it is needed."),
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
    captured = pipeline.captured(wish, _workshop(console))
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

    shop = _workshop(console)
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
    bundle: Annotated[Path, typer.Argument(help="A bundle that `capture` wrote.")],
    folder: Annotated[Path, typer.Option("--output", "-o", help="The folder of the context.")],
    template: Template = None,
    base: Base = None,
    locking: LockOptions = LockOptions(),
) -> Result:
    """Write a build context that plain `docker build` takes, without a network."""
    from imagesmith import pipeline
    from imagesmith.capture.bundle import read

    wish = pipeline.BuildWish(
        base, locking.sources(), locking.wish(), locking.pip_resolver, template=template
    )
    pipeline.render_bundle(read(bundle), wish, folder, _workshop(console))
    return Result(str(folder), {"context": str(folder), "dockerfile": str(folder / "Dockerfile")})


@command(app, "build")
def build_command(
    console: Console,
    target: Annotated[str, typer.Argument(help="file.py:function, module:function or a bundle")],
    name: Annotated[str | None, typer.Option("--name", help="The model's name in Clipper.")] = None,
    version: Version = None,
    input_type: InputType = "doubles",
    env: Env = "auto",
    samples: SamplesFile = None,
    strings: Strings = "str",
    base: Base = None,
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
    builder: Annotated[
        str, typer.Option("--builder", metavar="auto|layers|docker", help="What makes the image.")
    ] = "auto",
    template: Template = None,
) -> Result:
    """Make an image of a function and see that it answers."""
    from imagesmith import pipeline
    from imagesmith.publish.destination import destination
    from imagesmith.publish.publisher import Several

    shop = _workshop(console)
    publisher = destination(output, shop.store, console)
    registry = _registry(push, shop) if push else None
    if registry:
        publisher = Several((publisher, registry))
    publisher.check()
    pipeline.check_builder(builder, template)
    taking = pipeline.CaptureWish(target, name, version, input_type, strings, env, samples)
    wish = pipeline.BuildWish(
        base,
        locking.sources(),
        locking.wish(),
        locking.pip_resolver,
        not no_verify,
        rtol,
        not no_compare,
        builder,
        template,
    )
    image = pipeline.build(pipeline.captured(taking, shop), wish, publisher, shop)
    data = {"image": image.pinned, "digest": image.manifest.digest}
    if registry is None:
        return Result(image.pinned, data)
    pushed = str(registry.reference.at(image.manifest.digest))
    return Result(pushed, {**data, "pushed": pushed})


@command(app, "push")
def push_command(
    console: Console,
    image: Annotated[str, typer.Argument(help="NAME:VERSION, oci:DIR or archive:FILE")],
    reference: Annotated[str, typer.Argument(metavar="REF", help="HOST/PATH[:TAG]")],
) -> Result:
    """Push an image into a registry."""
    from imagesmith.image.find import find_image

    shop = _workshop(console)
    registry = _registry(reference, shop)
    found = find_image(image, shop.store)
    registry.publish(found)
    pushed = str(registry.reference.at(found.manifest.digest))
    return Result(pushed, {"image": found.pinned, "pushed": pushed})


@command(app, "diff")
def diff_command(
    console: Console,
    before: Annotated[str, typer.Argument(metavar="A", help="A bundle, lock, prefix or image.")],
    after: Annotated[str, typer.Argument(metavar="B", help="What to hold against it.")],
) -> Result:
    """Say what two environments differ in: captured, locked, or in an image."""
    from imagesmith import diff
    from imagesmith.cli.report import changed

    store = _workshop(console).store
    pictures = [diff.picture(one, store) for one in (before, after)]
    found = diff.changes(*pictures)
    sizes = [diff.size(one) for one in pictures]
    data = {"changes": [change.as_dict() for change in found], "sizes": sizes}
    return Result(changed(found, sizes), data)


@command(app, "verify")
def verify_command(
    console: Console,
    image: Annotated[str, typer.Argument(help="NAME:VERSION, oci:DIR or archive:FILE")],
    samples: SamplesFile = None,
    rtol: Rtol = 1e-6,
    no_compare: NoCompare = False,
) -> Result:
    """Start an image and see that it answers; on the engine that DOCKER_HOST names, if it does."""
    from imagesmith import pipeline
    from imagesmith.engine import is_named

    shop = _workshop(console, by_engine=is_named())
    found = _image(image, shop)
    verdict = pipeline.verify_image(found, samples, shop, rtol=rtol, compare=not no_compare)
    data = {"image": found.pinned, "answered": verdict.answered, "compared": verdict.compared}
    return Result(found.pinned, data)


@command(app, "run")
def run_command(
    console: Console,
    image: Annotated[str, typer.Argument(help="NAME:VERSION, oci:DIR or archive:FILE")],
    query_port: QueryPort = 1337,
    management_port: ManagementPort = 1338,
    rpc_port: RpcPort = 7000,
) -> Result:
    """Serve an image here until interrupted; by this machine's engine, if DOCKER_HOST names it."""
    from imagesmith.clipper.endpoints import Endpoints
    from imagesmith.clipper.local import serve
    from imagesmith.engine import is_named_here

    shop = _workshop(console, by_engine=is_named_here())
    endpoints = Endpoints(query=query_port, management=management_port, rpc=rpc_port)
    tell = partial(print, flush=True)  # who reads a pipe waits for the line, not for the end
    serve(_image(image, shop), endpoints, shop.runner, shop.store, console, tell)
    return Result("")


@command(app, "deploy")
def deploy_command(
    console: Console,
    image: Annotated[str, typer.Argument(help="NAME:VERSION, oci:DIR or archive:FILE")],
    clipper: Annotated[
        str | None, typer.Option("--clipper", metavar="URL", help="Its management address.")
    ] = None,
    rpc: Annotated[
        str | None, typer.Option("--rpc", metavar="HOST:PORT", help="Where replicas connect.")
    ] = None,
    application: App = None,
    default_output: DefaultOutput = "None",
    slo_ms: SloMs = 3000,
    replicas: Replicas = 1,
    batch_size: BatchSize = -1,
    label: Annotated[list[str] | None, typer.Option("--label", help="A label in Clipper.")] = None,
    manager: Annotated[
        ManagerName, typer.Option("--manager", help="What runs the replicas.")
    ] = ManagerName.LOCAL,
    network: Annotated[
        str, typer.Option("--network", help="Their network, with --manager docker.")
    ] = "clipper_network",
) -> Result:
    """Start replicas of an image and register them."""
    from imagesmith.clipper.deploy import Wish, deploy

    shop = _workshop(console)
    found = _image(image, shop)
    wish = Wish(
        app=application or found.reference.partition(":")[0],
        default_output=default_output,
        slo_micros=slo_ms * 1000,
        replicas=replicas,
        batch_size=batch_size,
        labels=tuple(label or ()),
    )
    client, runs_them = _manager(manager, clipper, rpc, network, shop)
    with client:
        done = deploy(found, wish, client, runs_them, console)
    data = {"app": done.app, "model": done.model.name, "version": done.model.version}
    return Result(done.app, {**data, "image": found.pinned, "replicas": list(done.replicas)})


@command(base_app, "build")
def base_build_command(
    console: Console,
    python: Annotated[
        str | None, typer.Option("--python", help="The minor version, as 3.11.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="REF", help="An image: HOST/PATH:TAG, oci:DIR.")
    ] = None,
) -> Result:
    """Make the base of a Python version from Debian's packages, or from another image."""
    from imagesmith import base
    from imagesmith.store import Store

    if source is not None:
        made = base.take(Store.default(), source, python, console)
    elif python is not None:
        made = base.ensure(Store.default(), python, console)
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


@command(base_app, "list")
def base_list_command(console: Console) -> Result:
    """Name the bases that are there."""
    from imagesmith import base

    names = [image.pinned for image in base.available(_workshop(console).store)]
    return Result("\n".join(names), {"bases": names})


@command(clipper_app, "up")
def clipper_up_command(
    console: Console,
    query_port: QueryPort = 1337,
    management_port: ManagementPort = 1338,
    rpc_port: RpcPort = 7000,
) -> Result:
    """Start the embedded Clipper in the background."""
    from imagesmith.clipper.endpoints import Endpoints
    from imagesmith.clipper.local import bring_up

    shop = _workshop(console)
    endpoints = Endpoints(query=query_port, management=management_port, rpc=rpc_port)
    return _listening(bring_up(endpoints, shop.runner, shop.store))


@command(clipper_app, "down")
def clipper_down_command(console: Console) -> Result:
    """Stop the embedded Clipper and the replicas that were deployed to it."""
    from imagesmith.clipper.local import take_down

    shop = _workshop(console)
    stopped = take_down(shop.runner, shop.store)
    return Result("down" if stopped else "it was not running", {"stopped": stopped})


@command(clipper_app, "status")
def clipper_status_command(console: Console) -> Result:
    """Say where the embedded Clipper listens."""
    from imagesmith.clipper import daemon
    from imagesmith.clipper.local import state_folder

    running = daemon.status(state_folder(_workshop(console).store))
    return _listening(running.endpoints) if running else Result("it is not running", {"up": False})


def _listening(endpoints: Endpoints) -> Result:
    data = {
        "up": True,
        "query": f"http://{endpoints.host}:{endpoints.query}",
        "management": f"http://{endpoints.host}:{endpoints.management}",
        "rpc": f"{endpoints.host}:{endpoints.rpc}",
    }
    return Result("\n".join(f"{key}: {data[key]}" for key in ("query", "management", "rpc")), data)


def _workshop(console: Console, *, by_engine: bool = False) -> Workshop:
    from imagesmith.pipeline import Workshop, runner_for
    from imagesmith.run.late import LateRunner
    from imagesmith.store import Store

    store = Store.default()
    runner = LateRunner(partial(runner_for, store, console, by_engine=by_engine))
    return Workshop(store, runner, console)


def _registry(reference: str, shop: Workshop) -> RegistryPublisher:
    from imagesmith.publish.registry import RegistryPublisher
    from imagesmith.registry.reference import parse

    return RegistryPublisher(parse(reference), shop.store, shop.progress)


def _manager(
    kind: ManagerName, clipper: str | None, rpc: str | None, network: str, shop: Workshop
) -> tuple[Clipper, ContainerManager]:
    """Reach a Clipper, and give what runs replicas for it."""
    from imagesmith.clipper import local

    if kind is ManagerName.LOCAL:
        return local.connection(clipper, rpc, shop.runner, shop.store)
    from imagesmith.clipper.docker_manager import DockerContainerManager
    from imagesmith.publish.engine import EnginePublisher

    client, _ = local.reach(clipper, shop.store)
    loader = EnginePublisher(shop.store, shop.progress)
    return client, DockerContainerManager(loader, network, local.address(rpc) if rpc else None)


def _image(text: str, shop: Workshop) -> Image:
    from imagesmith.image.find import find_model

    return find_model(text, shop.store)
