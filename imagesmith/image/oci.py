"""OCI images: manifest and config as frozen data, and their one canonical serialisation.

Sources: OCI image-spec 1.1 (manifest.md, config.md, annotations.md); ``Healthcheck`` is Docker's
own field, which the image-spec reserves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagesmith.store import canonical, hex_of, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from imagesmith.store import Store

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
EMPTY_CONFIG = b"{}"  # of a manifest that is no image's
_INDEXES = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
_LONGEST = 16 << 20  # bytes of a manifest or a config
REF_NAME = "org.opencontainers.image.ref.name"

# Annotations that the image-spec names.
TITLE = "org.opencontainers.image.title"
VERSION = "org.opencontainers.image.version"
CREATED = "org.opencontainers.image.created"  # RFC 3339
BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"

# Labels of ours, on bases and on the images made from them.
LABEL_BASE = "io.imagesmith.base"  # marks a closure base, its value the flavour
LABEL_TOOLCHAIN = "io.imagesmith.toolchain"  # marks a base with a compiler, as the former does
LABEL_BASE_DIGEST = "io.imagesmith.base.digest"
LABEL_PYTHON = "io.imagesmith.python"  # X.Y
LABEL_EXECUTABLE = "io.imagesmith.executable"  # where that Python is, unless in /usr/bin
LABEL_GLIBC = "io.imagesmith.glibc"  # X.Y
LABEL_RPC = "io.imagesmith.rpc"  # of Clipper, the version that the runtime speaks
LABEL_PACKAGES = "io.imagesmith.packages"  # of Debian, "name=version name=version …", sorted
LABEL_SYSTEM = "io.imagesmith.system"  # those above the base, likewise
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
        """Read a descriptor; ValueError if it is none."""
        try:
            media_type, digest, size = data["mediaType"], data["digest"], data["size"]
        except (KeyError, TypeError):
            raise ValueError("it holds a descriptor without mediaType, digest and size") from None
        if not isinstance(media_type, str) or not isinstance(size, int) or size < 0:
            raise ValueError(f"it holds a descriptor that is none: {data}")
        hex_of(str(digest))
        return cls(media_type, digest, size)


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
        """Read the ``config`` object of an image's config.

        Raises AttributeError or TypeError where it is none.
        """
        return cls(
            env=dict(entry.partition("=")[::2] for entry in data.get("Env") or ()),
            entrypoint=tuple(map(str, data.get("Entrypoint") or ())),
            cmd=tuple(map(str, data.get("Cmd") or ())),
            user=str(data.get("User") or ""),
            working_dir=str(data.get("WorkingDir") or "/"),
            labels={name: str(value) for name, value in (data.get("Labels") or {}).items()},
            exposed_ports=tuple(map(str, data.get("ExposedPorts") or ())),
            healthcheck=data.get("Healthcheck"),
        )


@dataclass(frozen=True)
class Image:
    """An image by its manifest; ``blobs`` is the folder that holds its blobs by hex digest.

    ``annotations`` are the manifest's.
    """

    reference: str
    manifest: Descriptor
    layers: tuple[Layer, ...]
    config: ImageConfig
    config_blob: Descriptor
    blobs: Path
    annotations: Mapping[str, str] = field(default_factory=dict)

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
    store: Store,
    reference: str,
    layers: tuple[Layer, ...],
    config: ImageConfig,
    created: str,
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """Write config and manifest of these layers (already in the store) and give the image.

    ``created`` is an RFC 3339 time, ``annotations`` are the manifest's. The bytes depend on the
    arguments alone.
    """
    noted = dict(annotations or {})
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
            **({"annotations": noted} if noted else {}),
        }
    )
    manifest = Descriptor(MANIFEST, store.add(manifest_bytes), len(manifest_bytes))
    return Image(reference, manifest, layers, config, config_blob, store.blobs, noted)


def artifact(
    subject: Descriptor,
    artifact_type: str,
    blobs: Sequence[tuple[Descriptor, str]],
    annotations: Mapping[str, str],
) -> bytes:
    """Give the manifest of an artifact that refers to an image's (image-spec, manifest.md).

    ``blobs`` are what it holds, each with the name of the file that it is; beside them it needs
    ``EMPTY_CONFIG``.
    """
    empty = Descriptor(EMPTY, sha256(EMPTY_CONFIG), len(EMPTY_CONFIG))
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": empty.as_dict(),
            "layers": [{**blob.as_dict(), "annotations": {TITLE: name}} for blob, name in blobs],
            "subject": subject.as_dict(),
            **({"annotations": dict(annotations)} if annotations else {}),
        }
    )


def load(blobs: Path, manifest: Descriptor, reference: str) -> Image:
    """Read an image back from a folder of blobs.

    Raises ValueError where manifest or config are not what their digests say, or not those of one
    OCI image with gzip layers, and OSError where one is not there.
    """
    _expect(manifest, MANIFEST)
    manifest_json = _verified(blobs, manifest)
    try:
        config_blob = Descriptor.from_dict(manifest_json["config"])
        _expect(config_blob, CONFIG)
        config_json = _verified(blobs, config_blob)
        layers = _layers(manifest_json, config_json)
        config = ImageConfig.from_dict(config_json.get("config") or {})
        annotations = {k: str(v) for k, v in (manifest_json.get("annotations") or {}).items()}
    except (KeyError, TypeError, AttributeError) as bad:
        raise ValueError(f"its manifest or config is not an image's: {bad}") from bad
    return Image(reference, manifest, layers, config, config_blob, blobs, annotations)


def _layers(manifest: dict[str, Any], config: dict[str, Any]) -> tuple[Layer, ...]:
    blobs = [Descriptor.from_dict(blob) for blob in manifest["layers"]]
    for blob in blobs:
        _expect(blob, LAYER_GZIP)
    diff_ids = [str(diff_id) for diff_id in config["rootfs"]["diff_ids"]]
    for diff_id in diff_ids:
        hex_of(diff_id)
    if len(blobs) != len(diff_ids):
        raise ValueError(f"it has {len(blobs)} layers, but {len(diff_ids)} diff ids")
    history = [entry for entry in config.get("history") or () if not entry.get("empty_layer")]
    comments = [str(entry.get("comment") or "") for entry in history]
    if len(comments) != len(blobs):  # it may be left out, and nothing depends on it
        comments = [""] * len(blobs)
    return tuple(map(Layer, blobs, diff_ids, comments))


def _expect(blob: Descriptor, media_type: str) -> None:
    """Refuse what the rest of imagesmith does not read, in words that lead on."""
    if blob.media_type == media_type:
        return
    if blob.media_type in _INDEXES:
        raise ValueError("it is an index of several platforms; copy the one for linux/amd64 out")
    raise ValueError(f"it holds {blob.media_type!r} where {media_type!r} should be")


def _verified(blobs: Path, blob: Descriptor) -> dict[str, Any]:
    path = blobs / hex_of(blob.digest)
    if path.stat().st_size != blob.size:
        raise ValueError(f"the blob {blob.digest} is damaged: it has not {blob.size} bytes")
    if blob.size > _LONGEST:
        raise ValueError(f"the blob {blob.digest} is too long for a manifest or a config")
    data = path.read_bytes()
    if sha256(data) != blob.digest:
        raise ValueError(f"the blob {blob.digest} is damaged")
    return json_object(data)


def json_object(data: bytes) -> dict[str, Any]:
    """Read a JSON object; ValueError if it is none."""
    try:
        parsed = json.loads(data)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    if not isinstance(parsed, dict):
        raise ValueError("its JSON is not an object")
    return parsed
