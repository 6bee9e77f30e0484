"""What a registry gets of one model after another on the same environment.

The bytes are those by which the registry's folder grows, with all that it notes for itself, so that
none which was sent and kept is missed. Each model is the same function with 100 kB beside it that
nothing compresses.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Row
from benchmarks.models import small, with_weights
from benchmarks.tabular import Bench
from imagesmith.image import layout
from tests import engines

_MODELS = 20
_WEIGHTS = 100_000  # bytes
_NOBODY = engines.Engine("unix:///nowhere")


def rows() -> Iterator[Row]:
    """Push a first model, then one after another."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        at, registry = Bench(folder, _NOBODY), folder / "registry"
        bundle = small(at, folder / "store")
        with engines.docker_registry(registry) as service:
            sizes = [(0, 0, _bytes(registry / "data"))]
            for number in range(_MODELS + 1):
                layer, others = _push(at, bundle, number, service.address)
                sizes.append((layer, others, _bytes(registry / "data")))
    (_, _, before), (layer, _, after) = sizes[1:3]
    yield Row(
        "pushed after a model change",
        "kB",
        (after - before) / 1e3,
        "the model's layer",
        layer / 1e3,
        "beside + 64 kB",
    )
    parts = sum(layer + others for layer, others, _ in sizes[2:])
    yield Row(
        f"registry's growth by {_MODELS} models",
        "kB",
        (sizes[-1][2] - before) / 1e3,
        "their layers, configs, manifests",
        parts / 1e3,
    )


def _push(at: Bench, bundle: Path, number: int, registry: str) -> tuple[int, int]:
    """Build and push a model; gives the bytes of its layer, and of its config and manifest."""
    model = with_weights(bundle, at.folder / f"model-{number}", _WEIGHTS)
    out, store = at.folder / "layout", at.folder / "store"
    words = ("--version", f"v{number}", "--no-verify", "--output", f"oci:{out}")
    reference = f"{registry}/models/growth:v{number}"
    at.imagesmith(store, "build", model, *words, "--push", reference)
    image = layout.find(out, f"growth:v{number}")
    assert image is not None
    return image.layers[-1].blob.size, image.config_blob.size + image.manifest.size


def _bytes(folder: Path) -> int:
    """Give the bytes of all files in a folder."""
    if not folder.exists():
        return 0
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
