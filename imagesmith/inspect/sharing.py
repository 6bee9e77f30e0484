"""What other images of the store share with one, and what it adds to them alone.

A registry keeps a layer once, and so does an engine as long as all below it are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imagesmith.image.oci import Image
    from imagesmith.inspect.contents import Contents


@dataclass(frozen=True)
class Share:
    """Some layers of an image: how many, and their bytes, compressed and not."""

    layers: int
    compressed: int
    uncompressed: int


@dataclass(frozen=True)
class Sharing:
    """What each other image shares, by its pinned reference, the most first; and what none has."""

    others: tuple[tuple[str, Share], ...]
    alone: Share


def share(contents: Iterable[Contents]) -> Share:
    """Add up some layers."""
    layers = tuple(contents)
    compressed = sum(one.layer.blob.size for one in layers)
    return Share(len(layers), compressed, sum(one.size for one in layers))


def sharing(image: Image, contents: Sequence[Contents], others: Iterable[Image]) -> Sharing:
    """Hold an image's layers against those of other images; itself may be among them."""
    found: list[tuple[str, Share]] = []
    elsewhere: set[str] = set()
    for other in others:
        if other.pinned == image.pinned:
            continue
        theirs = {layer.diff_id for layer in other.layers}
        common = share(one for one in contents if one.layer.diff_id in theirs)
        if common.layers:
            found.append((other.pinned, common))
        elsewhere |= theirs
    found.sort(key=lambda pair: (-pair[1].uncompressed, pair[0]))
    return Sharing(tuple(found), share(c for c in contents if c.layer.diff_id not in elsewhere))
