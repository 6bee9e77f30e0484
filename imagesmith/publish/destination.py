"""How ``--output`` and ``--push`` name destinations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.engine import is_in_reach
from imagesmith.findings import ImagesmithError, error
from imagesmith.progress import Silent
from imagesmith.publish.archive import ArchivePublisher
from imagesmith.publish.engine import EnginePublisher
from imagesmith.publish.layout import LayoutPublisher, StorePublisher
from imagesmith.publish.publisher import Several

if TYPE_CHECKING:
    from imagesmith.progress import Progress
    from imagesmith.publish.publisher import Publisher
    from imagesmith.publish.registry import RegistryPublisher
    from imagesmith.store import Store


def destination(output: str | None, store: Store, progress: Progress | None = None) -> Publisher:
    """Give the destination that ``oci:DIR``, ``archive:FILE`` or ``docker`` names.

    None is the store, where later commands find the image by its name, and the Docker engine if one
    is in reach.

    Raises ImagesmithError (usage.output) for any other text.
    """
    engine = EnginePublisher(store, progress or Silent())
    if output is None:
        kept = StorePublisher(store)
        return Several((engine, kept)) if is_in_reach() else kept
    scheme, _, path = output.partition(":")
    if path and scheme == "oci":
        return LayoutPublisher(Path(path))
    if path and scheme == "archive":
        return ArchivePublisher(Path(path))
    if output == "docker":
        return engine
    raise ImagesmithError(
        error(
            "usage.output",
            output,
            f"{output!r} names no destination",
            "use oci:DIR for an OCI layout, archive:FILE for an archive, or docker for the Docker"
            " engine; a registry is named by --push REF",
        )
    )


def registry_at(
    reference: str, sign: str | None, store: Store, progress: Progress
) -> RegistryPublisher:
    """Give what pushes to a reference, and has that signed by a command if there is one.

    Raises ImagesmithError: usage.reference, usage.sign.
    """
    from imagesmith.publish.registry import RegistryPublisher
    from imagesmith.publish.sign import Signer
    from imagesmith.registry.reference import parse

    signer = None if sign is None else Signer.parse(sign)
    return RegistryPublisher(parse(reference), store, progress, signer)
