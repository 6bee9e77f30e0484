"""How ``--output`` and ``--push`` name destinations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error
from imagesmith.progress import Silent
from imagesmith.publish.archive import ArchivePublisher
from imagesmith.publish.engine import EnginePublisher
from imagesmith.publish.layout import LayoutPublisher, StorePublisher

if TYPE_CHECKING:
    from imagesmith.progress import Progress
    from imagesmith.publish.publisher import Publisher
    from imagesmith.store import Store


def destination(output: str | None, store: Store, progress: Progress | None = None) -> Publisher:
    """Give the destination that ``oci:DIR``, ``archive:FILE`` or ``docker`` names.

    None is the store.

    Raises ImagesmithError (usage.output) for any other text.
    """
    if output is None:
        return StorePublisher(store)
    scheme, _, path = output.partition(":")
    if path and scheme == "oci":
        return LayoutPublisher(Path(path))
    if path and scheme == "archive":
        return ArchivePublisher(Path(path))
    if output == "docker":
        return EnginePublisher(store, progress or Silent())
    raise ImagesmithError(
        error(
            "usage.output",
            output,
            f"{output!r} names no destination",
            "use oci:DIR for an OCI layout, archive:FILE for an archive, or docker for the Docker"
            " engine; a registry is named by --push REF",
        )
    )
