"""OCI images: manifest and config as frozen data, and their one canonical serialisation.

Sources: OCI image-spec 1.1 (manifest.md, config.md); ``Healthcheck`` is Docker's own field, which
the image-spec reserves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagesmith.store import canonical, hex_of, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imagesmith.store import Store

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
REF_NAME = "org.opencontainers.image.ref.name"

# Labels of ours, on bases and on the images made from them.
LABEL_BASE = "io.imagesmith.base"  # marks a closure base, its value the flavour
LABEL_BASE_DIGEST = "io.imagesmith.base.digest"
LABEL_PYTHON = "io.imagesmith.python"  # X.Y
LABEL_GLIBC = "io.imagesmith.glibc"  # X.Y
LABEL_INPUT_TYPE = "io.imagesmith.input-type"
LABEL_MODULES = "io.imagesmith.modules"  # what the function needs, a JSON list
LABEL_MODEL = "io.imagesmith.model"
LABEL_VERSION = "io.imagesmith.version"


@dataclass(frozen=True)
class Descriptor:
    """A blob by media type, digest (``sha256:<hex>``) and size in bytes."""

    media_type: str
    digest: str
    size: int

    def as_dict(self) -> dict[str, Any]:
        """Give the descriptor as the image-spec writes it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Descriptor:
        """Read a descriptor; ValueError or KeyError if it is none."""
        hex_of(data["digest"])
        return cls(str(data["mediaType"]), data["digest"], int(data["size"]))


@dataclass(frozen=True)
class Layer:
    """One layer: its compressed blob, the digest of its tar (diff id), and what made it."""

    blob: Descriptor
    diff_id: str
    comment: str


@dataclass(frozen=True)
class ImageConfig:
    """What a container starts with; the part of an image's config that is not its layers."""

    env: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = "/"
    labels: Mapping[str, str] = field(default_factory=dict)
    exposed_ports: tuple[str, ...] = ()
    healthcheck: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give the config's ``config`` object as the image-spec writes it."""
        fields: dict[str, Any] = {
            "Env": [f"{name}={value}" for name, value in self.env.items()],
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.cmd),
            "User": self.user,
            "WorkingDir": self.working_dir,
            "Labels": dict(self.labels),
            "ExposedPorts": {port: {} for port in self.exposed_ports},
            "Healthcheck": self.healthcheck,
        }
        return {name: value for name, value in fields.items() if value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ImageConfig:
        """Read the ``config`` object of an image's config."""
        return cls(
            env=dict(entry.partition("=")[::2] for entry in data.get("Env") or ()),
            entrypoint=tuple(data.get("Entrypoint") or ()),
            cmd=tuple(data.get("Cmd") or ()),
            user=data.get("User") or "",
            working_dir=data.get("WorkingDir") or "/",
            labels=data.get("Labels") or {},
            exposed_ports=tuple(data.get("ExposedPorts") or ()),
            healthcheck=data.get("Healthcheck"),
        )


@dataclass(frozen=True)
class Image:
    """An image by its manifest; ``blobs`` is the folder that holds its blobs by hex digest."""

    reference: str
    manifest: Descriptor
    layers: tuple[Layer, ...]
    config: ImageConfig
    config_blob: Descriptor
    blobs: Path

    @property
    def pinned(self) -> str:
        """The reference with its digest, as imagesmith prints it everywhere."""
        return f"{self.reference}@{self.manifest.digest}"

    def blob(self, digest: str) -> Path:
        """Give the file that holds one of the image's blobs."""
        return self.blobs / hex_of(digest)

    def descriptors(self) -> tuple[Descriptor, ...]:
        """Give every blob of the image, the manifest last."""
        return (*(layer.blob for layer in self.layers), self.config_blob, self.manifest)


def assemble(
    store: Store, reference: str, layers: tuple[Layer, ...], config: ImageConfig, created: str
) -> Image:
    """Write config and manifest of these layers (already in the store) and give the image.

    ``created`` is an RFC 3339 time. The bytes depend on the arguments alone.
    """
    config_bytes = canonical(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": created,
            "config": config.as_dict(),
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [
                {"created": created, "created_by": "imagesmith", "comment": layer.comment}
                for layer in layers
            ],
        }
    )
    config_blob = Descriptor(CONFIG, store.add(config_bytes), len(config_bytes))
    manifest_bytes = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config_blob.as_dict(),
            "layers": [layer.blob.as_dict() for layer in layers],
        }
    )
    manifest = Descriptor(MANIFEST, store.add(manifest_bytes), len(manifest_bytes))
    return Image(reference, manifest, layers, config, config_blob, store.blobs)


def load(blobs: Path, manifest: Descriptor, reference: str) -> Image:
    """Read an image back from a folder of blobs.

    Raises ValueError where manifest or config are not what their digests say or not an image of
    ours, and OSError where one is not there.
    """
    manifest_json = _verified(blobs, manifest)
    config_blob = Descriptor.from_dict(manifest_json["config"])
    config_json = _verified(blobs, config_blob)
    diff_ids = config_json["rootfs"]["diff_ids"]
    history = [h for h in config_json.get("history", ()) if not h.get("empty_layer")]
    comments = [h.get("comment", "") for h in history] or [""] * len(diff_ids)
    layers = tuple(
        Layer(Descriptor.from_dict(blob), diff_id, comment)
        for blob, diff_id, comment in zip(manifest_json["layers"], diff_ids, comments, strict=True)
    )
    config = ImageConfig.from_dict(config_json.get("config", {}))
    return Image(reference, manifest, layers, config, config_blob, blobs)


def _verified(blobs: Path, blob: Descriptor) -> dict[str, Any]:
    data = (blobs / hex_of(blob.digest)).read_bytes()
    if sha256(data) != blob.digest:
        raise ValueError(f"the blob {blob.digest} is damaged")
    parsed: dict[str, Any] = json.loads(data)
    return parsed
