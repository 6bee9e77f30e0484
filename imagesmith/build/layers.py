"""The embedded builder: writes an image's layers itself, without an engine, bit for bit."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from imagesmith.build.builder import nobody
from imagesmith.findings import ImagesmithError
from imagesmith.image import oci
from imagesmith.image.compiler import BaseCompiler
from imagesmith.image.contents import members, refused
from imagesmith.image.layer import kept_layer, layer_of
from imagesmith.image.plan import HEAVY, key, weight

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imagesmith.image.plan import ImagePlan, PlannedLayer
    from imagesmith.progress import Progress
    from imagesmith.store import Store

# Layers made at a time; each has some megabytes in flight, whatever the number of cores.
_AT_A_TIME = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class LayersBuilder:
    """Makes each layer that the store lacks, side by side on the cores there are."""

    name: ClassVar[str] = "layers"

    store: Store
    progress: Progress

    def build(self, plan: ImagePlan, made: Callable[[oci.Layer], None] = nobody) -> oci.Image:
        """Make the image; its blobs are then in the store.

        ``made`` is told the layers only where one had to be made: else the image is there at once.
        Raises ImagesmithError: build.wheel, build.package, build.file, build.bytecode, build.layer
        (the base's), build.store.
        """
        try:
            self.store.sweep()
            known = [self._known(planned, plan.base) for planned in plan.layers]
            new = known.count(None)
            found = self._make(plan, known, made) if new else filter(None, known)
            layers = (*plan.base.layers, *found)
            image = oci.assemble(
                self.store,
                plan.reference,
                layers,
                plan.config,
                plan.created,
                plan.annotations,
            )
        except OSError as bad:
            raise self.store.failure(bad) from bad
        size = sum(layer.blob.size for layer in layers) / 1e6
        of_them = f"{new} of them new" if new else "none of them new"
        self.progress.say("build", f"{len(layers)} layers, {size:.1f} MB compressed, {of_them}")
        return image

    def _known(self, planned: PlannedLayer, base: oci.Image) -> oci.Layer | None:
        return kept_layer(self.store, key(planned, base), planned.comment)

    def _make(
        self,
        plan: ImagePlan,
        known: list[oci.Layer | None],
        made: Callable[[oci.Layer], None],
    ) -> list[oci.Layer]:
        """Make the layers that are not known; they are told of in their order."""
        layers = []
        with (
            self.progress.count("build", "layers", len(known)) as advance,
            ThreadPoolExecutor(_AT_A_TIME) as pool,
        ):
            making = {
                place: pool.submit(self._layer, plan.layers[place], plan.base)
                for place in self._begun(plan.layers)
                if known[place] is None
            }
            try:
                for below in plan.base.layers:
                    made(below)
                for place, there in enumerate(known):
                    one = there or making[place].result()
                    made(one)
                    advance(1)
                    layers.append(one)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return layers

    def _begun(self, layers: Sequence[PlannedLayer]) -> list[int]:
        """Give the places of layers in the order in which they are begun.

        First those up to the lowest heavy one, for which an engine waits; then what takes longest,
        so that the others are made beside it.
        """
        weights = [weight(planned, self.store) for planned in layers]
        lowest = next((place for place, size in enumerate(weights) if size >= HEAVY), 0)
        return sorted(range(len(layers)), key=lambda place: (place > lowest, -weights[place]))

    def _layer(self, planned: PlannedLayer, base: oci.Image) -> oci.Layer:
        contents = partial(members, planned, self.store, BaseCompiler(self.store, base))
        try:
            return layer_of(self.store, key(planned, base), contents, planned.comment)
        except (ValueError, FileNotFoundError) as bad:
            raise ImagesmithError(refused(planned, bad)) from bad
        except OSError as bad:
            raise self.store.failure(bad) from bad
