"""The Dockerfile of a plan: its recipe in the words that everybody reads.

What a template is given, and the blocks that one may override, are public API (docs/dockerfile.md).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.image.plan import (
    CondaLayer,
    FilesLayer,
    PrefixLayer,
    WheelsLayer,
    base_python,
)
from imagesmith.image.system import SystemLayer
from imagesmith.render.fill import OURS, Fault, FaultError, fill, fill_bounded, own_source
from imagesmith.store import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from imagesmith.image.oci import ImageConfig, Layer
    from imagesmith.image.plan import ImagePlan, PlannedLayer

_FILES = ("lock", "runtime", "model")
_REMEDIES = {
    "template-missing": "name a file that can be read, in UTF-8",
    "template-name": "docs/dockerfile.md lists the names that a template may use",
    "template-block": "docs/dockerfile.md says what each block holds",
    "template-syntax": "mend the line",
    "template-endless": "take the loop out; what a template loops over should be short",
    "template": "mend the template, or build without --template",
}


@dataclass(frozen=True)
class Template:
    """A user's template, or imagesmith's own: what to call it, and its source."""

    path: Path | None
    source: str

    @property
    def digest(self) -> str:
        """The digest of the source, ``sha256:<hex>``."""
        return sha256(self.source.encode())


@dataclass(frozen=True)
class Piece:
    """One tar of the context: its name there, and the layer that it holds."""

    file: str
    block: str
    comment: str
    layer: PlannedLayer | Layer


def load(path: Path | None) -> Template:
    """Read a user's template, or imagesmith's own; ImagesmithError (build.template-missing)."""
    if path is None:
        return Template(None, own_source())
    try:
        return Template(path, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as bad:
        reason = getattr(bad, "strerror", None) or "it is not UTF-8"
        fault = Fault("template-missing", f"it cannot be read: {reason}")
        raise ImagesmithError(_finding(path, fault)) from bad


def pieces(
    plan: ImagePlan, *, with_base: bool, places: Sequence[str] | None = None
) -> Iterator[Piece]:
    """Give the tars of a plan's context in their order, with its base's or without.

    ``places`` are their paths there, where those are not the usual.
    """
    layers = [*(plan.base.layers if with_base else ()), *plan.layers]
    for number, layer in enumerate(layers):
        block, name = _place(layer)
        file = places[number] if places else f"layers/{number:02}-{name}.tar"
        yield Piece(file, block, layer.comment, layer)


def dockerfile(
    plan: ImagePlan, template: Path | None = None, *, base_reference: str | None = None
) -> str:
    """Render the Dockerfile of a plan, by a user's template if one is given.

    ``base_reference`` (``REPOSITORY@sha256:…``) is where builders pull the base; without it the
    base is in the context. Raises ImagesmithError: build.template…, and build.value for a value of
    the plan that no Dockerfile can hold.
    """
    return written(plan, load(template), base_reference)


def written(
    plan: ImagePlan,
    template: Template,
    base_reference: str | None,
    places: Sequence[str] | None = None,
) -> str:
    """Render the Dockerfile by a template that is read already; raises what dockerfile does.

    ``places`` is as ``pieces`` takes it.
    """
    data = _data(plan, base_reference, places)
    try:
        own = fill(OURS, own_source(), data)
    except FaultError as bad:
        raise ImagesmithError(_unwritable(plan, bad.fault)) from bad
    if template.path is None:
        return own
    try:
        return fill_bounded(template.path.name, template.source, data)
    except FaultError as bad:
        raise ImagesmithError(_finding(template.path, bad.fault)) from bad


def _place(layer: PlannedLayer | Layer) -> tuple[str, str]:
    """Give the block that a layer belongs to, and what its tar is called."""
    match layer:
        case SystemLayer():
            return "system", "system"
        case PrefixLayer():
            return "environment", "python"
        case CondaLayer(packages=(package,)):
            return "environment", package.name
        case CondaLayer():
            return "environment", "packages"
        case WheelsLayer(wheels=(wheel,)):
            return "environment", wheel.name
        case WheelsLayer():
            return "environment", "wheels"
        case FilesLayer(comment=comment) if comment in _FILES:
            return comment, comment
        case FilesLayer():
            return "environment", "files"
    return "base", "base"


def _data(
    plan: ImagePlan, base_reference: str | None, places: Sequence[str] | None = None
) -> dict[str, Any]:
    """Give what a template is given, as JSON data."""
    layers: dict[str, list[dict[str, str]]] = {"base": [], "system": [], "environment": []}
    layers.update({name: [] for name in _FILES})
    for piece in pieces(plan, with_base=base_reference is None, places=places):
        layers[piece.block].append({"file": piece.file, "comment": piece.comment})
    return {
        "reference": plan.reference,
        "base": {"reference": base_reference, "env": dict(plan.base.config.env)},
        "check": [_base_python(plan), "-I", "-B", "/context/check.py", "/checked"],
        "layers": layers,
        "config": _config(plan.config),
    }


def _base_python(plan: ImagePlan) -> str:
    laid = (PrefixLayer, CondaLayer, WheelsLayer)
    (first, *_) = (layer for layer in plan.layers if isinstance(layer, laid))
    return base_python(plan.base, first.python)


def _config(config: ImageConfig) -> dict[str, Any]:
    fields = asdict(config)
    lists = ("entrypoint", "cmd", "exposed_ports")
    return {**fields, **{name: list(fields[name]) for name in lists}}


def _finding(path: Path, fault: Fault) -> Finding:
    where = f"{path.name}, line {fault.line}" if fault.line else path.name
    remedy = f"did you mean {fault.match!r}? " if fault.match else ""
    message = f"{where}: {fault.message}"
    return error(f"build.{fault.kind}", path, message, remedy + _REMEDIES[fault.kind])


def _unwritable(plan: ImagePlan, fault: Fault) -> Finding:
    return error(
        "build.value",
        plan.reference,
        f"the image cannot be written down as a Dockerfile: {fault.message}",
        "change the value, or build with --builder layers",
    )
