"""The embedded builder: writes an image's layers itself, without an engine, bit for bit."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError
from imagesmith.image import oci
from imagesmith.image.compiler import BaseCompiler
from imagesmith.image.contents import members, refused
from imagesmith.image.layer import layer_of
from imagesmith.image.plan import key

if TYPE_CHECKING:
    from imagesmith.image.plan import ImagePlan, PlannedLayer
    from imagesmith.progress import Progress
    from imagesmith.store import Store

# Layers made at a time; each has some megabytes in flight, whatever the number of cores.
_AT_A_TIME = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class LayersBuilder:
    """Makes each layer that the store lacks, side by side on the cores there are."""

    store: Store
    progress: Progress

    def build(self, plan: ImagePlan) -> oci.Image:
        """Make the image; its blobs are then in the store.

        Raises ImagesmithError: build.wheel, build.package, build.file, build.bytecode, build.layer
        (the base's), build.store.
        """
        self.store.sweep()
        with (
            self.progress.count("build", "layers", len(plan.layers)) as advance,
            ThreadPoolExecutor(_AT_A_TIME) as pool,
        ):

            def make(planned: PlannedLayer) -> oci.Layer:
                layer = self._layer(planned, plan.base)
                advance(1)
                return layer

            layers = (*plan.base.layers, *pool.map(make, plan.layers))
        try:
            image = oci.assemble(self.store, plan.reference, layers, plan.config, plan.created)
        except OSError as bad:
            raise self.store.failure(bad) from bad
        size = sum(layer.blob.size for layer in image.layers)
        self.progress.say("build", f"{len(layers)} layers, {size / 1e6:.1f} MB compressed")
        return image

    def _layer(self, planned: PlannedLayer, base: oci.Image) -> oci.Layer:
        contents = partial(members, planned, self.store, BaseCompiler(self.store, base))
        try:
            return layer_of(self.store, key(planned, base), contents, planned.comment)
        except (ValueError, FileNotFoundError) as bad:
            raise ImagesmithError(refused(planned, bad)) from bad
        except OSError as bad:
            raise self.store.failure(bad) from bad
