"""All that there is to say of an image, as data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from imagesmith.image import layout, oci
from imagesmith.image.find import damaged
from imagesmith.inspect.contents import Contents, Part, contents, gathered
from imagesmith.inspect.sharing import Share, Sharing, share, sharing
from imagesmith.store import hex_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imagesmith.image.oci import Image
    from imagesmith.store import Store

BUILDS = "builds"  # the kind of the facts about how images were built, by manifest


@dataclass(frozen=True)
class Look:
    """An image, what its layers hold, what is shared, and how it was built.

    ``base`` is the name of the image that it stands on, or its digest, "" if nobody says;
    ``record`` what was remembered of its build, None where it was built elsewhere.
    """

    image: Image
    contents: tuple[Contents, ...]
    sharing: Sharing
    base: str
    record: Mapping[str, Any] | None

    @property
    def total(self) -> Share:
        """All its layers."""
        return share(self.contents)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What each owner has in the whole image, the biggest first."""
        return gathered(part for one in self.contents for part in one.parts)

    @property
    def distributions(self) -> tuple[Part, ...]:
        """Those of them that are distributions."""
        return tuple(part for part in self.parts if part.owner.name)

    @property
    def built(self) -> dict[str, str]:
        """How it was built, by what is told: the base, the config, the record."""
        config = self.image.config
        labels = {f"label {name}": value for name, value in sorted(config.labels.items())}
        known = {
            "base": self.base,
            "Python": config.labels.get(oci.LABEL_PYTHON, ""),
            "glibc": config.labels.get(oci.LABEL_GLIBC, ""),
            "user": config.user,
            "entrypoint": " ".join(config.entrypoint),
            **labels,
            **dict(_flat(self.record or {})),
        }
        return {name: value for name, value in known.items() if value}

    def as_json(self) -> dict[str, Any]:
        """Give all of it as plain JSON data; sizes are in bytes."""
        shared = [{"image": name, **asdict(common)} for name, common in self.sharing.others]
        config = self.image.config.as_dict()
        return {
            "image": self.image.pinned,
            "digest": self.image.manifest.digest,
            "total": asdict(self.total),
            "layers": [_layer(one) for one in self.contents],
            "parts": [_part(part) for part in self.parts],
            "shared": shared,
            "alone": asdict(self.sharing.alone),
            "built": {"base": self.base, "config": config, "record": self.record},
        }


def look(image: Image, store: Store) -> Look:
    """Look into an image, and at what the store knows of it.

    Raises ImagesmithError: build.damaged for what cannot be read, build.store.
    """
    holds = contents(image, store)
    try:
        others = tuple(layout.images(store.root))
    except (ValueError, OSError) as bad:
        raise damaged(str(store.root), bad) from bad
    record = store.recall(BUILDS, hex_of(image.manifest.digest))
    return Look(image, holds, sharing(image, holds, others), _base(image, others), record)


def _base(image: Image, others: tuple[Image, ...]) -> str:
    digest = image.config.labels.get(oci.LABEL_BASE_DIGEST, "")
    return next((other.pinned for other in others if other.manifest.digest == digest), digest)


def _layer(one: Contents) -> dict[str, Any]:
    return {
        "digest": one.layer.blob.digest,
        "diff_id": one.layer.diff_id,
        "comment": one.layer.comment,
        "compressed": one.layer.blob.size,
        "uncompressed": one.size,
        "parts": [_part(part) for part in one.parts],
    }


def _part(part: Part) -> dict[str, Any]:
    return {**asdict(part.owner), "size": part.size, "byte_code": part.byte_code}


def _flat(record: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Give what a record tells as texts by name; what lies deeper has a name of several words."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name} ")
        elif value is not None:
            yield f"{above}{name}", value if isinstance(value, str) else json.dumps(value)
