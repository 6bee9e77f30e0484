"""Closure bases, and the toolchains beside them: found in the store, or made there from Debian's
packages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.base import debian
from imagesmith.base.flavour import CLOSURE, TOOLCHAIN, Flavour
from imagesmith.findings import ImagesmithError, error
from imagesmith.image import layout, oci
from imagesmith.image.find import damaged
from imagesmith.image.layer import plain_size, write_layer
from imagesmith.partial import scratch
from imagesmith.presence import use_file
from imagesmith.progress import Silent
from imagesmith.registry.pull import pull
from imagesmith.registry.reference import names_registry, parse
from imagesmith.store import key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagesmith.progress import Progress
    from imagesmith.store import Store

LABEL_RECIPE = "io.imagesmith.base-recipe"
# A base is a function of its packages alone, so that hosts which should agree share one.
_CREATED = "1970-01-01T00:00:00Z"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def make(store: Store, python: str, progress: Progress, flavour: Flavour = CLOSURE) -> oci.Image:
    """Make the base for Python X.Y from today's packages; the same packages, the same digest.

    Raises ImagesmithError: build.base…, build.bytecode, or reach.base.
    """
    from imagesmith.base import tree  # bases are found more often than made

    try:
        store.sweep()
        with scratch() as folder:
            packages = debian.fetch(python, flavour.packages, folder)
            root = folder / "root"
            used = tree.lay_out(packages, flavour, python, root)
            layer = write_layer(store, tree.members(root), f"Debian {debian.SUITES[python]}")
        config = _config(python, used, flavour)
        image = oci.assemble(store, f"{flavour.name}:{python}", (layer,), config, _CREATED)
        layout.put(store.root, image)
    except OSError as bad:
        raise store.failure(bad) from bad
    except ValueError as bad:
        raise damaged(str(store.root), bad) from bad
    megabytes = layer.blob.size / 1e6
    progress.say("base", f"{image.pinned}: {len(used)} Debian packages, {megabytes:.0f} MB")
    return image


def ensure(store: Store, python: str, progress: Progress, flavour: Flavour = CLOSURE) -> oci.Image:
    """Give the base for Python X.Y, made if the store lacks it; raises what ``make`` raises."""
    name = f"{flavour.name}:{python}"
    try:
        if image := _whole(store, name, flavour):
            return image
        with store.making("bases", name):
            return _whole(store, name, flavour) or make(store, python, progress, flavour)
    except OSError as bad:
        raise store.failure(bad) from bad


def toolchain(store: Store, python: str, progress: Progress) -> oci.Image:
    """Give the image that wheels for Python X.Y are built in: the base, a compiler and headers.

    It is no base: no image stands on it. Raises what ``make`` raises.
    """
    return ensure(store, python, progress, TOOLCHAIN)


def find(store: Store, reference: str, progress: Progress | None = None) -> oci.Image | None:
    """Find a base by name ("closure-base:3.11", "3.11"), by digest, the one in "oci:DIR", or the
    one that a registry has under "HOST/PATH[:TAG][@DIGEST]".

    The blobs of one from elsewhere are then in the store, each checked against its digest; one
    that is not as our own bases are is made so (see ``adopt``).

    Raises ImagesmithError: usage.base where that folder holds several images, build.damaged where
    what is there cannot be read, and what ``pull`` and ``adopt`` raise.
    """
    try:
        found = _found(store, reference, progress)
        if found is None or TOOLCHAIN.label in found.config.labels or not _is_here(found):
            return None
        use_file(store.path(found.manifest.digest))
        if _is_ours(found):
            return found
        from imagesmith.base.adopt import adopt

        return adopt(found, store)
    except (ValueError, OSError) as bad:
        raise damaged(reference, bad) from bad


def _is_here(image: oci.Image) -> bool:
    """Say whether all of an image is there: a blob that was found damaged is dropped."""
    return all(image.blob(blob.digest).is_file() for blob in image.descriptors())


def _is_ours(image: oci.Image) -> bool:
    """Say whether an image is a base as we make them, with all that the stages ask of one."""
    return len(image.layers) == 1 and {oci.LABEL_PYTHON, oci.LABEL_GLIBC} <= set(
        image.config.labels
    )


def take(store: Store, reference: str, python: str | None, progress: Progress) -> oci.Image:
    """Make the base ``closure-base:X.Y`` from another image, named as ``find`` takes it.

    Raises ImagesmithError: usage.base where there is no such image, and what ``find`` raises.
    """
    from imagesmith.base.adopt import adopt

    try:
        found = _found(store, reference, progress)
        if found is None:
            raise ImagesmithError(
                error(
                    "usage.base",
                    reference,
                    f"there is no image {reference!r}",
                    "name it as HOST/PATH:TAG, or oci:DIR",
                )
            )
        made = adopt(found, store, python)
        name = f"{CLOSURE.name}:{made.config.labels[oci.LABEL_PYTHON]}"
        labels = {**made.config.labels, CLOSURE.label: CLOSURE.kind, LABEL_RECIPE: CLOSURE.recipe}
        config = replace(made.config, labels=labels)
        image = oci.assemble(store, name, made.layers, config, _CREATED)
        with store.making("bases", name):  # whoever makes it, too, would put it in this one's place
            layout.put(store.root, image)
    except (ValueError, OSError) as bad:
        raise damaged(reference, bad) from bad
    progress.say("base", f"{image.pinned}: from {reference}")
    return image


def _found(store: Store, reference: str, progress: Progress | None) -> oci.Image | None:
    if reference.startswith("oci:"):
        return _taken(_only(Path(reference.removeprefix("oci:"))), store)
    if names_registry(reference):
        with store.making("pulls", key_of(reference)):
            return pull(parse(reference), store, progress or Silent())
    return layout.find(store.root, _name(reference))


def available(store: Store) -> list[oci.Image]:
    """Give the closure bases in the store, by name; ImagesmithError (build.damaged)."""
    try:
        images = list(layout.images(store.root))
    except (ValueError, OSError) as bad:
        raise damaged(str(store.root), bad) from bad
    return [image for image in images if CLOSURE.label in image.config.labels]


def described(image: oci.Image, store: Store) -> dict[str, Any]:
    """Say of a base what a user chooses one by, as JSON data; ``size`` is in bytes, unpacked."""
    labels = image.config.labels
    sizes = (plain_size(store, layer, image.blob(layer.blob.digest)) for layer in image.layers)
    return {
        "base": image.pinned,
        "kind": labels[CLOSURE.label],
        "python": labels[oci.LABEL_PYTHON],
        "glibc": labels[oci.LABEL_GLIBC],
        "size": sum(sizes),
    }


def _name(reference: str) -> str:
    return f"{CLOSURE.name}:{reference}" if reference in debian.SUITES else reference


def _whole(store: Store, name: str, flavour: Flavour) -> oci.Image | None:
    """Give the base in the store if it is there, whole, and of this recipe."""
    try:
        image = layout.find(store.root, name)
    except (ValueError, FileNotFoundError):  # damaged: it is made again
        return None
    if image is None or image.config.labels.get(LABEL_RECIPE) != flavour.recipe:
        return None
    whole = all(store.has(blob.digest, blob.size) for blob in image.descriptors())
    return image if whole else None


def _only(folder: Path) -> oci.Image | None:
    images = list(layout.images(folder))
    if len(images) > 1:
        names = ", ".join(image.reference for image in images)
        raise ImagesmithError(
            error(
                "usage.base",
                folder,
                f"the folder holds {len(images)} images ({names}), so which is the base is unclear",
                "name a folder that holds the base alone",
            )
        )
    return images[0] if images else None


def _taken(image: oci.Image | None, store: Store) -> oci.Image | None:
    if image is None:
        return None
    for blob in image.descriptors():
        if not store.has(blob.digest):
            store.add_file(image.blob(blob.digest), expected=blob.digest)
    return replace(image, blobs=store.blobs)


def _config(python: str, packages: Sequence[debian.Package], flavour: Flavour) -> oci.ImageConfig:
    from imagesmith.runtime.wire import RPC_VERSION

    (libc,) = (package for package in packages if package.name == "libc6")
    labels = {
        flavour.label: flavour.kind,
        LABEL_RECIPE: flavour.recipe,
        oci.LABEL_PYTHON: python,
        oci.LABEL_RPC: str(RPC_VERSION),
        oci.LABEL_GLIBC: libc.version.partition("-")[0],
        oci.LABEL_PACKAGES: " ".join(map(str, packages)),
    }
    return oci.ImageConfig(env={"PATH": _PATH, **flavour.env}, labels=labels)
