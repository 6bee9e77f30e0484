"""Bundles of models of any size, none of which takes training."""

import json
import os
import shutil
from pathlib import Path

from benchmarks.tabular import Bench, environment
from imagesmith.capture.bundle import MODULES
from imagesmith.store import CHUNK, sha256_file

_FUNCTION = "def predict(inputs):\n    return ['0' for _ in inputs]\n"
_WEIGHTS = f"{MODULES}/weights.bin"


def small(at: Bench, store: Path) -> Path:
    """Capture a function that needs next to nothing, and have all of its image but models made."""
    (at.folder / "model.py").write_text(_FUNCTION)
    bundle = at.folder / "bundle"
    target = ("model.py:predict", "--name", "growth", "--input-type", "doubles")
    at.imagesmith(store, "capture", *target, "--env", environment(), "--output", bundle)
    at.imagesmith(store, "build", bundle, "--no-verify", "--output", f"oci:{at.folder}/small")
    return bundle


def with_weights(bundle: Path, grown: Path, size: int) -> Path:
    """Copy a bundle, with so many random bytes beside its modules, which nothing compresses."""
    shutil.copytree(bundle, grown)
    with (grown / _WEIGHTS).open("wb") as file:
        for begin in range(0, size, CHUNK):
            file.write(os.urandom(min(CHUNK, size - begin)))
    described = json.loads((grown / "capture.json").read_bytes())
    described["files"][_WEIGHTS] = sha256_file(grown / _WEIGHTS)
    (grown / "capture.json").write_text(json.dumps(described))
    return grown
