"""The same model made into an image by others, and the sizes of what they make.

Each has the function and the locked versions, begins without a build cache, and ends with the
image in the engine, which has its base already. Ours has the wheels in the store, but no layer and
no byte code of them. What others download, they download; uv is measured with its cache full as
well. The runs are taken in turn, and three, since some take minutes.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cold_build import OF_WHEELS
from benchmarks.measure import Row
from benchmarks.peers import base, bentoml, mlflow, uv
from benchmarks.peers.contender import Contender
from benchmarks.peers.size import unpacked
from benchmarks.tabular import Bench, base_archive, bench, copied, without
from imagesmith.resolve.files import REQUIREMENTS

_TIMES = 3
_TIME = "image in the engine, cold"
_SIZE = "image's size, uncompressed"


def rows() -> Iterator[Row]:
    """Measure ours, and each peer that can make an image here."""
    with tempfile.TemporaryDirectory() as name, bench(Path(name)) as at:
        ours, *others = contenders = list(_contenders(at))
        for _ in range(_TIMES):
            for contender in contenders:
                contender.run(at)
        if ours.fault:
            raise SystemExit(ours.fault)
        below = base.size(at, base.OURS)
        same, smaller = unpacked(at.folder / "store", at.folder / "lock", at.folder / "unpacked")
    for other in others:
        limit = f"skipped: {other.fault}" if other.fault else other.limit
        yield Row(_TIME, "s", ours.time, other.title, other.time, limit)
    whole = "base + wheels + byte code"
    yield Row(_SIZE, "MB", ours.size, whole, (below + same) / 1e6, "1.02 x")
    yield Row(_SIZE, "MB", ours.size, f"{whole} of compileall", (below + smaller) / 1e6, "")
    for other in {other.image: other for other in others if not other.fault}.values():
        yield Row(_SIZE, "MB", ours.size, other.title, other.size, "1 x")


def _contenders(at: Bench) -> Iterator[Contender]:
    """Give ours, then the peers."""
    store, fresh, lock = (at.folder / name for name in ("store", "fresh", "lock"))
    bundle = at.bundle(store, 1.0)
    image = at.imagesmith(store, "build", bundle, "--no-verify").partition("@")[0]
    at.imagesmith(store, "lock", bundle, "--output", lock)
    bases = base_archive(store, at.folder)
    words = ("build", bundle, "--no-verify", "--output", "docker")

    def forget() -> None:
        without(copied(store, fresh), *OF_WHEELS)
        base.nothing_but_bases(at, bases)

    yield Contender("imagesmith", image, "", forget, lambda: at.imagesmith(fresh, *words))
    for peer in (uv, bentoml, mlflow):
        yield from peer.contenders(at, bundle, lock / REQUIREMENTS, bases)
