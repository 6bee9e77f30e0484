"""Deploying: replicas first, then the registration; undone in reverse when a step fails.

Clipper switches a model's current version at the moment of registration (contract D.1), so what is
registered must be able to answer already.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from imagesmith.clipper.manager import Model
from imagesmith.findings import Finding, ImagesmithError, Severity, error, stop_on_errors, warning
from imagesmith.image import oci

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imagesmith.clipper.client import Clipper
    from imagesmith.clipper.manager import ContainerManager
    from imagesmith.progress import Progress

# Clipper takes any name, and pastes it as it is into the regular expression of a URL.
_APP = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_SLO = 2**31 - 1  # an int of Clipper's


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

    Raises ImagesmithError (usage.…, register.…, reach.clipper); Clipper and the machine are then
    as before, and what could not be taken back is told as a finding.
    """
    stop_on_errors(_misuses(wish))
    labels = image.config.labels
    model = Model(labels[oci.LABEL_MODEL], labels[oci.LABEL_VERSION], labels[oci.LABEL_INPUT_TYPE])
    clipper.ping()
    app = clipper.get_application(wish.app)
    stop_on_errors(_obstacles(model, wish, app, clipper))
    with ExitStack() as stack:
        undo = _Undo(stack, progress)
        replicas = []
        for _ in range(wish.replicas):
            replica = manager.start(image, model)
            undo.later("a replica", manager.stop, replica)
            replicas.append(replica)
        progress.say("deploy", f"{len(replicas)} replica(s) of {image.reference} answer")
        _register(image, model, wish, app, clipper, undo)
        progress.say("deploy", f"application {wish.app} asks {image.reference}")
        stack.pop_all()
    return Deployment(wish.app, model, tuple(replicas))


@dataclass(frozen=True)
class _Undo:
    """Takes back what was done, the last first, when its stack is left by an exception."""

    stack: ExitStack
    progress: Progress

    def later(self, what: str, step: Callable[..., object], *arguments: str) -> None:
        """Note what takes a step back."""
        self.stack.callback(self._take_back, what, partial(step, *arguments))

    def _take_back(self, what: str, step: Callable[[], object]) -> None:
        try:
            step()
        except ImagesmithError as failure:  # the others are taken back all the same
            for finding in failure.findings:
                left = f"{what} could not be taken back: {finding.message}"
                self.progress.find(replace(finding, severity=Severity.WARNING, message=left))


def _misuses(wish: Wish) -> Iterator[Finding]:
    """Find what no Clipper would take, or what it would take to everybody's harm."""
    if not _APP.fullmatch(wish.app):
        yield error(
            "usage.app",
            wish.app,
            f"{wish.app!r} is not a name of an application that Clipper can serve",
            "use letters, digits, hyphens and underscores only",
        )
    if wish.batch_size < 1 and wish.batch_size != -1:
        yield error(
            "usage.batch-size",
            wish.batch_size,
            f"a batch of {wish.batch_size} is none",
            "give a positive size, or -1 to let Clipper choose",
        )
    if not 0 < wish.slo_micros <= _LONGEST_SLO:
        yield error(
            "usage.slo",
            f"{wish.slo_micros} us",
            f"Clipper cannot count {wish.slo_micros} us",
            f"give a time of up to {_LONGEST_SLO // 1000} ms",
        )
    for label in wish.labels:
        if set(label) & set(",:"):
            yield error(
                "usage.label",
                label,
                f"the label {label!r} holds a comma or a colon, which Clipper refuses",
                "leave them out",
            )


def _obstacles(
    model: Model, wish: Wish, app: dict[str, Any] | None, clipper: Clipper
) -> Iterator[Finding]:
    """Find what this Clipper would refuse, before anything is started."""
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
    undo: _Undo,
) -> None:
    if app is None:
        clipper.add_app(wish.app, model.input_type, wish.default_output, wish.slo_micros)
        undo.later("the application", clipper.delete_app, wish.app)
    else:
        _tell_what_stays(wish, app, undo.progress)
    clipper.add_model(
        model.name, model.version, model.input_type, image.pinned, wish.labels, wish.batch_size
    )
    undo.later("the model", clipper.delete_versioned_model, model.name, model.version)
    # Asked anew: Clipper keeps the links of a deleted application for the next of its name (D.2).
    linked = clipper.get_linked_models(wish.app)
    for other in linked:
        if other != model.name:
            clipper.delete_model_links(wish.app, other)
    if model.name not in linked:
        clipper.add_model_links(wish.app, model.name)
        undo.later("the link", clipper.delete_model_links, wish.app, model.name)


def _tell_what_stays(wish: Wish, app: dict[str, Any], progress: Progress) -> None:
    wanted = {"default_output": wish.default_output, "latency_slo_micros": wish.slo_micros}
    kept = {name: app[name] for name in wanted if app[name] != wanted[name]}
    if kept:
        what = ", ".join(f"{name} {value!r}" for name, value in kept.items())
        progress.find(
            warning(
                "register.app-kept",
                wish.app,
                f"application {wish.app} was there already and keeps its {what}",
                "name another application with --app to have other ones",
            )
        )
