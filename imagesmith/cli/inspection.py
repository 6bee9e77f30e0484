"""What there is to say of an image, as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagesmith.cli.columns import columns
from imagesmith.sizes import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagesmith.inspect.look import Look
    from imagesmith.inspect.sharing import Share

_BIGGEST = 10
_LONGEST = 100  # characters of what is said of the build
_HEX = 12  # digits of a digest, after its algorithm


def shown(look: Look) -> str:
    """Put a look into an image on lines: layers, the biggest, what is shared, how it was built."""
    sections = (_layers(look), _biggest(look), _shared(look), _built(look))
    return "\n\n".join([look.image.pinned, *("\n".join(lines) for lines in sections)])


def _layers(look: Look) -> Iterator[str]:
    rows = [("layer", "holds", "compressed", "uncompressed", "digest")]
    for number, one in enumerate(look.contents, 1):
        digest = one.layer.blob.digest[: len("sha256:") + _HEX]
        sizes = in_words(one.layer.blob.size), in_words(one.size)
        rows.append((str(number), one.holds, *sizes, digest))
    total = look.total
    rows.append(("", "all", in_words(total.compressed), in_words(total.uncompressed), ""))
    return columns(rows, numbers={2, 3})


def _biggest(look: Look) -> Iterator[str]:
    every = look.distributions
    if not every:
        yield "no distributions"
        return
    number = f"the biggest {_BIGGEST} of {len(every)}" if len(every) > _BIGGEST else "distributions"
    rows = [(number, "from", "size", "of it byte code")]
    for part in every[:_BIGGEST]:
        sizes = in_words(part.size), in_words(part.byte_code)
        rows.append((str(part.owner), str(part.owner.kind), *sizes))
    rest = [part for part in look.parts if not part.owner.name]
    rows += [(str(p.owner), "", in_words(p.size), in_words(p.byte_code)) for p in rest]
    yield from columns(rows, numbers={2, 3})


def _shared(look: Look) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("shared with", "layers", "compressed", "uncompressed")]
    rows += [_share(name, common) for name, common in look.sharing.others]
    rows.append(_share("this image alone has", look.sharing.alone))
    return columns(rows, numbers={1, 2, 3})


def _share(name: str, share: Share) -> tuple[str, ...]:
    return name, str(share.layers), in_words(share.compressed), in_words(share.uncompressed)


def _built(look: Look) -> Iterator[str]:
    rows = [(name, _short(value)) for name, value in look.built.items()]
    return columns([("built", ""), *rows])


def _short(text: str) -> str:
    """Give a text as it fits on a line; --json and --html have all of it."""
    if "\n" in text:
        return f"{len(text.splitlines())} lines"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
