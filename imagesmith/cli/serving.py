"""Serving images: run, deploy, and the embedded Clipper."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from imagesmith.cli.app import app, clipper_app
from imagesmith.cli.command import Result, command
from imagesmith.cli.console import Console
from imagesmith.cli.options import ImageName, model_image, workshop

if TYPE_CHECKING:
    from imagesmith.clipper.client import Clipper
    from imagesmith.clipper.endpoints import Endpoints
    from imagesmith.clipper.manager import ContainerManager
    from imagesmith.pipeline import Workshop


class ManagerName(StrEnum):
    """What runs the replicas of a deployment."""

    LOCAL = "local"
    DOCKER = "docker"


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


@command(app, "run", holds=False)  # it lasts; the container that it starts holds its layers
def run_command(
    console: Console,
    image: ImageName,
    query_port: QueryPort = 1337,
    management_port: ManagementPort = 1338,
    rpc_port: RpcPort = 7000,
) -> Result:
    """Serve an image here until interrupted; by this machine's engine, if DOCKER_HOST names it."""
    from imagesmith.clipper.endpoints import Endpoints
    from imagesmith.clipper.local import serve
    from imagesmith.engine import is_named_here

    shop = workshop(console, by_engine=is_named_here())
    endpoints = Endpoints(query=query_port, management=management_port, rpc=rpc_port)
    tell = partial(print, flush=True)  # who reads a pipe waits for the line, not for the end
    serve(model_image(image, shop), endpoints, shop.runner, shop.store, console, tell)
    return Result("")


@command(app, "deploy")
def deploy_command(
    console: Console,
    image: ImageName,
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

    shop = workshop(console)
    found = model_image(image, shop)
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

    shop = workshop(console)
    endpoints = Endpoints(query=query_port, management=management_port, rpc=rpc_port)
    return _listening(bring_up(endpoints, shop.runner, shop.store))


@command(clipper_app, "down")
def clipper_down_command(console: Console) -> Result:
    """Stop the embedded Clipper and the replicas that were deployed to it."""
    from imagesmith.clipper.local import take_down

    shop = workshop(console)
    stopped = take_down(shop.runner, shop.store)
    return Result("down" if stopped else "it was not running", {"stopped": stopped})


@command(clipper_app, "status")
def clipper_status_command(console: Console) -> Result:
    """Say where the embedded Clipper listens."""
    from imagesmith.clipper import daemon
    from imagesmith.clipper.local import state_folder

    running = daemon.status(state_folder(workshop(console).store))
    return _listening(running.endpoints) if running else Result("it is not running", {"up": False})


def _listening(endpoints: Endpoints) -> Result:
    data = {
        "up": True,
        "query": f"http://{endpoints.host}:{endpoints.query}",
        "management": f"http://{endpoints.host}:{endpoints.management}",
        "rpc": f"{endpoints.host}:{endpoints.rpc}",
    }
    return Result("\n".join(f"{key}: {data[key]}" for key in ("query", "management", "rpc")), data)


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
