"""The walk with packs: one is written instead of an image, or walked from instead of a capture."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error
from imagesmith.pipeline.building import builder_for, carried_out, check_builder
from imagesmith.pipeline.planning import plan_for, planned_of, runtime_folder
from imagesmith.pipeline.wishes import BuildWish, CaptureWish

if TYPE_CHECKING:
    from imagesmith.capture.bundle import Capture
    from imagesmith.image.oci import Image
    from imagesmith.image.plan import ImagePlan
    from imagesmith.pack.read import Packed
    from imagesmith.pipeline.wishes import Workshop
    from imagesmith.publish.publisher import Publisher


def pack(capture: Capture, wish: BuildWish, file: Path, shop: Workshop) -> Image:
    """Write a pack: all that the image of a capture is made of; gives that image.

    Raises ImagesmithError with the findings of the stage that cannot go on; nothing is written
    then.
    """
    from imagesmith.build.layers import LayersBuilder
    from imagesmith.pack.write import check_place, write

    check_place(file)
    planned, lock = plan_for(capture, wish, shop)
    image = LayersBuilder(shop.store, shop.progress).build(planned)
    size = write(file, image, planned, capture, lock, runtime_folder(), shop.store)
    shop.progress.say("pack", f"{image.pinned} is in {file}, {size / 1e6:.1f} MB")
    return image


def build_pack(taking: CaptureWish, wish: BuildWish, publisher: Publisher, shop: Workshop) -> Image:
    """Do what ``build`` does with a pack, whose file is the target; nobody else is asked.

    Raises ImagesmithError: usage.pack for what a pack has of its own, build.pack where it is not
    whole or this imagesmith makes another image of it, and what ``build`` raises.
    """
    from imagesmith.capture.bundle import renamed
    from imagesmith.pack.read import unpacked
    from imagesmith.pack.same import SameAsPacked
    from imagesmith.progress import Noting
    from imagesmith.record.make import Build

    began = time.time()
    publisher.check()
    check_builder(wish.builder, wish.template)
    _check_taking(taking, wish)
    noting = Noting(shop.progress)
    shop = replace(shop, progress=noting)
    with unpacked(Path(taking.target), shop.store) as packed:
        capture = renamed(packed.capture, taking.name, taking.version)
        planned = _plan_of_pack(packed, capture, shop)
        builder, shop = builder_for(planned, packed.lock, wish, shop)
        if capture == packed.capture:
            builder = SameAsPacked(builder, packed)
        lock, template, codes = packed.lock, wish.template, noting.codes
        made = Build(capture, planned, lock, builder.name, template, None, None, began, codes)
        return carried_out(builder, made, wish, publisher, shop)


def render_pack(file: Path, wish: BuildWish, folder: Path, shop: Workshop) -> None:
    """Do what ``render_bundle`` does with a pack; nobody else is asked.

    Raises ImagesmithError: usage.pack, build.pack, and what rendering raises.
    """
    from imagesmith.image.compiler import BaseCompiler
    from imagesmith.pack.read import unpacked
    from imagesmith.render import check_place, load, render

    check_place(folder)
    load(wish.template)
    _check_taking(CaptureWish(str(file), None), wish)
    with unpacked(file, shop.store) as packed:
        planned = _plan_of_pack(packed, packed.capture, shop)
        compiler = BaseCompiler(shop.store, planned.base)
        render(planned, shop.store, packed.lock, compiler, folder, wish.template)
    shop.progress.say("render", f"{len(planned.layers)} layers over {planned.base.reference}")


def _check_taking(taking: CaptureWish, wish: BuildWish) -> None:
    """Raise ImagesmithError (usage.pack) for what can only be said when a pack is made."""
    own = BuildWish()
    kept = replace(wish, base=own.base, pip_resolver=own.pip_resolver, apt=own.apt)
    kept = replace(kept, sources=own.sources, lock=own.lock)
    if (taking, wish) != (CaptureWish(taking.target, taking.name, taking.version), kept):
        raise ImagesmithError(
            error(
                "usage.pack",
                taking.target,
                "a pack has its own input type, environment, samples, lock and base",
                "leave those options out, or pack the target again with them",
            )
        )


def _plan_of_pack(packed: Packed, capture: Capture, shop: Workshop) -> ImagePlan:
    lock, base, system = packed.lock, packed.base, packed.system
    return planned_of(capture, lock, base, packed.runtime, packed.created, system, shop)
