"""A look into an image as an HTML page: the sizes as a treemap, then as tables."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from imagesmith.findings import ImagesmithError, error
from imagesmith.inspect.owners import Kind
from imagesmith.inspect.treemap import Frame, squarified
from imagesmith.pages import draw
from imagesmith.sizes import in_words
from imagesmith.store import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagesmith.inspect.contents import Contents, Part
    from imagesmith.inspect.look import Look

_TEMPLATE = "inspect.html.j2"
_CANVAS = Frame(0, 0, 1200, 660)
_FONTS = (30, 24, 19, 15, 12)  # sizes that a label may have
_WIDE = 0.56  # of a letter, by the font's size
_MARGIN = 8
_HEX = 12


@dataclass(frozen=True)
class Label:
    """A text in a tile: where its first line begins, and how big it is."""

    text: str
    size: str  # the second line, "" where there is no room for one
    x: float
    y: float
    font: int


@dataclass(frozen=True)
class Tile:
    """What one owner has in a layer, as a rectangle; ``byte_code`` is the part of it that is."""

    frame: Frame
    byte_code: Frame | None
    kind: str
    title: str
    label: Label | None


def write_page(look: Look, path: Path) -> None:
    """Draw a look into an image. Raises ImagesmithError (usage.output)."""
    try:
        write_whole(path, page(look))
    except OSError as fault:
        raise ImagesmithError(
            error(
                "usage.output",
                path,
                f"the page cannot be written to {path}: {fault.strerror}",
                "choose another file with --html",
            )
        ) from fault


def page(look: Look) -> bytes:
    """Draw a look into an image; the page needs no other file."""
    frames = squarified([one.size for one in look.contents], _CANVAS)
    layers = zip(look.contents, frames, strict=True)
    parts, total = look.parts, look.total
    return draw(
        _TEMPLATE,
        image=look.image,
        canvas=_CANVAS,
        groups=[
            {"frame": frame, "tiles": list(_tiles(number, one, frame))}
            for number, (one, frame) in enumerate(layers, 1)
        ],
        kinds=[kind for kind in Kind if any(part.owner.kind is kind for part in parts)],
        totals={
            "layers": str(total.layers),
            "uncompressed": in_words(total.uncompressed),
            "compressed": in_words(total.compressed),
            "of it byte code": in_words(sum(part.byte_code for part in parts)),
            "that no other image here has": in_words(look.sharing.alone.uncompressed),
        },
        parts=[_row(part, total.uncompressed) for part in parts],
        layers=[_layer(number, one) for number, one in enumerate(look.contents, 1)],
        shared=[(name, _words(asdict(share))) for name, share in look.sharing.others],
        built=look.built,
    )


def _tiles(number: int, one: Contents, frame: Frame) -> Iterator[Tile]:
    """Lay a layer's parts out in its frame."""
    frames = squarified([part.size for part in one.parts], frame)
    for part, place in zip(one.parts, frames, strict=True):
        byte_code = _below(place, part) if part.byte_code else None
        title = f"{part.owner}: {in_words(part.size)}"
        if part.byte_code:
            title += f", of it {in_words(part.byte_code)} byte code"
        title += f" (layer {number})"
        yield Tile(place, byte_code, str(part.owner.kind), title, label(part, place))


def _below(frame: Frame, part: Part) -> Frame:
    """Give the lower part of a tile, which stands for byte code."""
    return frame.split(part.files / part.size, sideways=False)[1]


def label(part: Part, frame: Frame) -> Label | None:
    """Write an owner's name as big as its tile allows, its size below; None if it does not fit."""
    name, size = part.owner.name or str(part.owner.kind), in_words(part.size)
    largest = max(_FONTS[-1], math.sqrt(frame.area) / 5)  # what is bigger is written bigger
    for lines in ((name, size), (name,)):
        for font in (font for font in _FONTS if font <= largest):
            width = max(map(len, lines)) * font * _WIDE + 2 * _MARGIN
            height = font * (1.2 if len(lines) == 1 else 2.4) + _MARGIN
            if width <= frame.width and height <= frame.height:
                place = frame.x + _MARGIN, frame.y + _MARGIN / 2 + font
                return Label(name, size if len(lines) > 1 else "", *place, font)
    return None


def _row(part: Part, total: int) -> dict[str, Any]:
    return {
        "owner": str(part.owner),
        "kind": str(part.owner.kind),
        "size": in_words(part.size),
        "byte_code": in_words(part.byte_code) if part.byte_code else "",
        "share": f"{100 * part.size / total:.1f}",
    }


def _layer(number: int, one: Contents) -> dict[str, Any]:
    return {
        "number": number,
        "holds": one.holds,
        "all": ", ".join(str(part.owner) for part in one.parts),
        "compressed": in_words(one.layer.blob.size),
        "uncompressed": in_words(one.size),
        "digest": one.layer.blob.digest[: len("sha256:") + _HEX],
    }


def _words(share: dict[str, int]) -> dict[str, str]:
    layers = share.pop("layers")
    return {"layers": str(layers), **{name: in_words(size) for name, size in share.items()}}
