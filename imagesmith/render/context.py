"""The build context of a plan: all that a builder needs, without imagesmith and a network.

    Dockerfile   pylock.toml   requirements.txt   record.json   check.py   SHA256SUMS
    layers/NN-NAME.tar   one for each layer of the plan, the base's first

The same plan gives the same bytes, in any folder, on any host.
"""

from __future__ import annotations

import json
import os
import shutil
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from imagesmith.findings import ImagesmithError
from imagesmith.image.contents import members, refused
from imagesmith.image.find import damaged
from imagesmith.image.gunzip import gunzip
from imagesmith.image.layer import known_layer
from imagesmith.image.oci import Layer
from imagesmith.image.plan import key
from imagesmith.image.tar import write_tar
from imagesmith.partial import clear_partial
from imagesmith.publish.publisher import occupied, writing
from imagesmith.render import dockerfile as dockerfiles
from imagesmith.resolve import files as lock_files
from imagesmith.store import (
    CHUNK,
    folder_whole,
    hex_of,
    sha256_file,
)

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.image.plan import ImagePlan, PlannedLayer
    from imagesmith.image.sources import Compiler
    from imagesmith.render.dockerfile import Piece, Template
    from imagesmith.resolve.lock import Lock
    from imagesmith.store import Store

DOCKERFILE = "Dockerfile"
RECORD = "record.json"
SUMS = "SHA256SUMS"
LAYERS = "layers"
CHECK = "check.py"
_YEARS = 30 * 365 * 86400 * 10**9  # nanoseconds from 1970 on, which any file system can hold
_NAMES = {DOCKERFILE, RECORD, SUMS, LAYERS, CHECK, lock_files.PYLOCK, lock_files.REQUIREMENTS}


def render(
    plan: ImagePlan,
    store: Store,
    lock: Lock,
    compiler: Compiler,
    folder: Path,
    template: Path | None = None,
    *,
    base_reference: str | None = None,
) -> None:
    """Write the build context of a plan, whole or not at all.

    ``base_reference`` is as ``dockerfile`` takes it. An earlier context in the folder is replaced.

    Raises ImagesmithError: what ``check_place`` and ``dockerfile`` raise, build.wheel,
    build.package, build.file, build.bytecode, build.damaged (the base), publish.failed.
    """
    check_place(folder)
    source = dockerfiles.load(template)
    text = dockerfiles.written(plan, source, base_reference)
    place = folder.resolve()
    with writing(place):
        clear_partial(place.parent, place.name)
        with folder_whole(place) as beside:
            (beside / LAYERS).mkdir()
            layers = [
                {
                    "file": piece.file,
                    "comment": piece.comment,
                    "digest": _write_layer(piece, plan, store, compiler, beside),
                }
                for piece in dockerfiles.pieces(plan, with_base=base_reference is None)
            ]
            _write_texts(beside, text, lock, _record(plan, layers, source, base_reference))
            _settle(beside)


def check_place(folder: Path) -> None:
    """Raise ImagesmithError (publish.occupied) if the folder holds anything but a context."""
    with writing(folder):
        if not folder.exists():
            return
        if not folder.is_dir():
            raise occupied(folder, "a folder")
        names = {path.name for path in folder.iterdir()}
        if names and not (names <= _NAMES and _is_record(folder / RECORD)):
            raise occupied(folder, "a build context as imagesmith wrote it")


def _is_record(path: Path) -> bool:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and {"reference", "template", "layers"} <= record.keys()


def _write_layer(
    piece: Piece, plan: ImagePlan, store: Store, compiler: Compiler, folder: Path
) -> str:
    """Write one tar and give its digest, which is the layer's diff id."""
    path = folder / piece.file
    if isinstance(piece.layer, Layer):
        _unzip(piece.layer, plan, store, path)
        return piece.layer.diff_id
    try:
        with path.open("wb") as out:
            write_tar(members(piece.layer, store, compiler), out)
        return _expected(sha256_file(path), piece.layer, plan, store)
    except (ValueError, FileNotFoundError) as bad:
        raise ImagesmithError(refused(piece.layer, bad)) from bad


def _unzip(layer: Layer, plan: ImagePlan, store: Store, path: Path) -> None:
    """Write the tar of one of the base's layers."""
    blob = plan.base.blob(layer.blob.digest)
    try:
        with gunzip(blob) as compressed, path.open("wb") as out:
            shutil.copyfileobj(compressed, out, CHUNK)
        found = sha256_file(path)
        if found != layer.diff_id:
            raise ValueError(f"its layer is {found}, not {layer.diff_id}")
    except (ValueError, FileNotFoundError) as bad:
        if blob == store.path(layer.blob.digest):
            store.prove(layer.blob.digest, plan.base.reference)
        raise damaged(plan.base.reference, bad) from bad


def _expected(digest: str, layer: PlannedLayer, plan: ImagePlan, store: Store) -> str:
    """Give a layer's diff id; ValueError if the store knows it by another one."""
    known = known_layer(store, key(layer, plan.base), layer.comment)
    if known is not None and known.diff_id != digest:
        raise ValueError(f"its tar is {digest}, but was {known.diff_id} when it was built")
    return digest


def _record(
    plan: ImagePlan,
    layers: list[dict[str, str]],
    template: Template,
    base_reference: str | None,
) -> dict[str, Any]:
    """Say what the context is of: nothing of the host that wrote it, or of the time."""
    return {
        "reference": plan.reference,
        "base": {
            "reference": base_reference or plan.base.reference,
            "digest": plan.base.manifest.digest,
        },
        "layers": layers,
        "template": template.digest,
    }


def _write_texts(folder: Path, dockerfile: str, lock: Lock, record: dict[str, Any]) -> None:
    checked = {
        **lock_files.contents(lock),
        RECORD: json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n",
        CHECK: files("imagesmith.templates").joinpath(CHECK).read_bytes(),
    }
    for name, data in {DOCKERFILE: dockerfile.encode(), **checked}.items():
        (folder / name).write_bytes(data)
    digests = {name: sha256_file(folder / name) for name in checked}
    digests.update({layer["file"]: layer["digest"] for layer in record["layers"]})
    sums = (f"{hex_of(digest)}  {name}\n" for name, digest in sorted(digests.items()))
    (folder / SUMS).write_text("".join(sums))


def _settle(folder: Path) -> None:
    """Give every path the mode that it has on any host, and every file a time of its contents' own.

    BuildKit takes a file of the same size and time for the same, and sends it no second time.
    """
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
            continue
        path.chmod(0o644)
        time = int(hex_of(sha256_file(path))[:15], 16) % _YEARS
        os.utime(path, ns=(time, time))
