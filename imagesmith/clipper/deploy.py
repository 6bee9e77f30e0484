"""Deploying: replicas first, then the registration; undone in reverse when a step fails.

Clipper switches a model's current version at the moment of registration (contract D.1), so what is
registered must be able to answer already.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagesmith.clipper.manager import Model
from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.image import oci

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagesmith.clipper.client import Clipper
    from imagesmith.clipper.manager import ContainerManager
    from imagesmith.progress import Progress


@dataclass(frozen=True)
class Wish:
    """What the user wants of a deployment; times in microseconds as Clipper counts them."""

    app: str
    default_output: str = "None"
    slo_micros: int = 3_000_000
    replicas: int = 1
    batch_size: int = -1
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deployment:
    """What is there now."""

    app: str
    model: Model
    replicas: tuple[str, ...]


def deploy(
    image: oci.Image,
    wish: Wish,
    clipper: Clipper,
    manager: ContainerManager,
    progress: Progress,
) -> Deployment:
    """Start replicas of an image, register its model, and link it to the application.

    Raises ImagesmithError (register.…, reach.clipper); Clipper and the machine are then as before.
    """
    labels = image.config.labels
    model = Model(labels[oci.LABEL_MODEL], labels[oci.LABEL_VERSION], labels[oci.LABEL_INPUT_TYPE])
    clipper.ping()
    app = clipper.get_application(wish.app)
    findings = [*_obstacles(model, wish, app, clipper)]
    if findings:
        raise ImagesmithError(*findings)
    with ExitStack() as undo:
        replicas = []
        for _ in range(wish.replicas):
            replica = manager.start(image, model)
            undo.callback(manager.stop, replica)
            replicas.append(replica)
        progress.say("deploy", f"{len(replicas)} replica(s) of {image.reference} answer")
        _register(image, model, wish, app, clipper, undo)
        progress.say("deploy", f"application {wish.app} asks {image.reference}")
        undo.pop_all()
    return Deployment(wish.app, model, tuple(replicas))


def _obstacles(
    model: Model, wish: Wish, app: dict[str, Any] | None, clipper: Clipper
) -> Iterator[Finding]:
    """Find what Clipper would refuse, before anything is started."""
    if clipper.get_model(model.name, model.version) is not None:
        yield error(
            "register.exists",
            f"{model.name}:{model.version}",
            f"Clipper has {model.name}:{model.version} already",
            "build it under another version",
        )
    if app is None:
        return
    if app["input_type"] != model.input_type:
        yield error(
            "register.input-type",
            wish.app,
            f"application {wish.app} takes {app['input_type']}, the model {model.input_type}",
            "name another application with --app",
        )
    others = [name for name in app["linked_models"] if name != model.name]
    if others:
        yield error(
            "register.linked",
            wish.app,
            f"application {wish.app} is linked to {others[0]}; Clipper links one model only",
            "name another application with --app",
        )


def _register(
    image: oci.Image,
    model: Model,
    wish: Wish,
    app: dict[str, Any] | None,
    clipper: Clipper,
    undo: ExitStack,
) -> None:
    if app is None:
        clipper.add_app(wish.app, model.input_type, wish.default_output, wish.slo_micros)
        undo.callback(clipper.delete_app, wish.app)
    clipper.add_model(
        model.name, model.version, model.input_type, image.pinned, wish.labels, wish.batch_size
    )
    undo.callback(clipper.delete_versioned_model, model.name, model.version)
    if app is None or model.name not in app["linked_models"]:
        clipper.add_model_links(wish.app, model.name)
        undo.callback(clipper.delete_model_links, wish.app, model.name)
