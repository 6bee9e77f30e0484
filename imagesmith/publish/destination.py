"""How ``--output`` names a destination."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.findings import ImagesmithError, error
from imagesmith.publish.archive import ArchivePublisher
from imagesmith.publish.layout import LayoutPublisher, StorePublisher

if TYPE_CHECKING:
    from imagesmith.publish.publisher import Publisher
    from imagesmith.store import Store


def destination(output: str | None, store: Store) -> Publisher:
    """Give the destination that ``oci:DIR`` or ``archive:FILE`` names; None is the store.

    Raises ImagesmithError (usage.output) for any other text.
    """
    if output is None:
        return StorePublisher(store)
    scheme, _, path = output.partition(":")
    if path and scheme == "oci":
        return LayoutPublisher(Path(path))
    if path and scheme == "archive":
        return ArchivePublisher(Path(path))
    raise ImagesmithError(
        error(
            "usage.output",
            output,
            f"{output!r} names no destination",
            "use oci:DIR for an OCI layout or archive:FILE for an archive",
        )
    )
