"""The embedded builder: writes an image's layers itself, without an engine, bit for bit."""

from __future__ import annotations

import errno
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from imagesmith.findings import Finding, ImagesmithError, error
from imagesmith.image import oci
from imagesmith.image.bytecode import base_python, compile_wheel
from imagesmith.image.contents import members
from imagesmith.image.layer import layer_of
from imagesmith.image.plan import key
from imagesmith.image.unpack import unpacked

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.image.plan import ImagePlan, PlannedLayer
    from imagesmith.progress import Progress
    from imagesmith.resolve.lock import LockedWheel
    from imagesmith.store import Store


@dataclass(frozen=True)
class LayersBuilder:
    """Makes each layer that the store lacks, side by side on the cores there are."""

    store: Store
    progress: Progress

    def build(self, plan: ImagePlan) -> oci.Image:
        """Make the image; its blobs are then in the store.

        Raises ImagesmithError: build.wheel, build.store.
        """
        with (
            self.progress.count("build", "layers", len(plan.layers)) as advance,
            ThreadPoolExecutor(os.cpu_count()) as pool,
        ):

            def make(planned: PlannedLayer) -> oci.Layer:
                layer = self._layer(planned, plan.base)
                advance(1)
                return layer

            layers = (*plan.base.layers, *pool.map(make, plan.layers))
            image = oci.assemble(self.store, plan.reference, layers, plan.config, plan.created)
        size = sum(layer.blob.size for layer in image.layers)
        self.progress.say("build", f"{len(layers)} layers, {size / 1e6:.1f} MB compressed")
        return image

    def _layer(self, planned: PlannedLayer, base: oci.Image) -> oci.Layer:
        contents = partial(members, planned, self.store, partial(self._bytecode, base))
        try:
            return layer_of(self.store, key(planned, base), contents, planned.comment)
        except (ValueError, KeyError, zipfile.BadZipFile) as bad:
            raise ImagesmithError(
                error(
                    "build.wheel",
                    planned.comment,
                    f"the layer of {planned.comment} cannot be made: {bad}",
                    "the wheel is not well-formed: lock another version of it",
                )
            ) from bad
        except OSError as bad:
            raise ImagesmithError(_store_failed(self.store, bad)) from bad

    def _bytecode(self, base: oci.Image, wheel: LockedWheel, prefix: str) -> Path:
        """Compile a wheel with the base's own Python, which lies in its one layer."""
        root = unpacked(self.store, base.blob(base.layers[0].blob.digest), base.layers[0])
        return compile_wheel(
            self.store,
            base.manifest.digest,
            base_python(root, base.config.labels[oci.LABEL_PYTHON]),
            self.store.path(wheel.digest),
            wheel.digest,
            prefix,
        )


def _store_failed(store: Store, bad: OSError) -> Finding:
    remedy = "name another folder with IMAGESMITH_CACHE, or mend this one"
    if bad.errno == errno.ENOSPC:
        remedy = "free some space there, or name another folder with IMAGESMITH_CACHE"
    return error("build.store", store.root, f"the store cannot be written: {bad.strerror}", remedy)
