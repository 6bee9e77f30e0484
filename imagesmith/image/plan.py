"""The plan of an image, all of it data: its base, its layers in order, its config.

The order goes from what most images share to what changes most, so that a registry and an engine
find what they already have: system packages, prefix or conda's packages, the heavy ones first,
wheels likewise, lock, runtime, model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from imagesmith.image import bytecode, oci, system
from imagesmith.image.sbom import SBOM, sbom
from imagesmith.image.system import SystemLayer
from imagesmith.image.wheel import ENVIRONMENT
from imagesmith.resolve.files import PACKAGES, REQUIREMENTS, packages, requirements
from imagesmith.store import canonical, sha256, sha256_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from imagesmith.capture.bundle import Capture
    from imagesmith.image.system import SystemPackage
    from imagesmith.resolve.lock import Artifact, Lock, LockedPackage, LockedWheel
    from imagesmith.store import Store

AnyArtifact = TypeVar("AnyArtifact", "LockedPackage", "LockedWheel")
MODEL = "model"
RUNTIME = "container"
READY = "model_is_ready.check"
_ABOUT = "opt/imagesmith"

# A wheel or package of this many bytes has a layer of its own; smaller ones share one.
HEAVY = 1 << 20
# Docker's limit for a chain of layers (overlay2), of which the base has some.
_LIMIT = 127


@dataclass(frozen=True)
class PrefixLayer:
    """The environment's frame: a venv without pip over the base's Python."""

    python: str
    executable: str  # the base's interpreter, absolute

    @property
    def comment(self) -> str:
        """What the layer is, in a line."""
        return f"environment of Python {self.python}"


@dataclass(frozen=True)
class CondaLayer:
    """Some locked conda packages, installed, with their byte code."""

    packages: tuple[LockedPackage, ...]
    python: str

    @property
    def comment(self) -> str:
        """What the layer is, in a line."""
        return ", ".join(f"{package.name} {package.version}" for package in self.packages)


@dataclass(frozen=True)
class WheelsLayer:
    """Some locked wheels, installed, with their byte code."""

    wheels: tuple[LockedWheel, ...]
    python: str

    @property
    def comment(self) -> str:
        """What the layer is, in a line."""
        return ", ".join(f"{wheel.name} {wheel.version}" for wheel in self.wheels)


@dataclass(frozen=True)
class SourceFile:
    """A file on the disk and the digest that it is known to have."""

    path: Path
    digest: str


@dataclass(frozen=True)
class FilesLayer:
    """Files and links by their path in the image: from the disk, or their bytes as they are.

    The Python sources among ``files`` have their byte code beside them: a container could not
    keep it, and would compile them again at every start.
    """

    comment: str
    files: Mapping[str, SourceFile] = field(default_factory=dict)
    texts: Mapping[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def sources(self) -> Mapping[str, SourceFile]:
        """The Python sources."""
        return {path: file for path, file in self.files.items() if path.endswith(".py")}


PlannedLayer = SystemLayer | PrefixLayer | CondaLayer | WheelsLayer | FilesLayer


@dataclass(frozen=True)
class ImagePlan:
    """What an executor needs to make the image; the same plan gives the same digest."""

    reference: str
    base: oci.Image
    layers: tuple[PlannedLayer, ...]
    config: oci.ImageConfig
    created: str

    @property
    def system(self) -> tuple[SystemPackage, ...]:
        """Debian's packages above the base."""
        return next((one.packages for one in self.layers if isinstance(one, SystemLayer)), ())

    @property
    def annotations(self) -> dict[str, str]:
        """What the manifest says of the image: nothing of the host, the time or the revision."""
        name, _, version = self.reference.partition(":")
        return {
            oci.TITLE: name,
            oci.VERSION: version,
            oci.CREATED: self.created,
            oci.BASE_NAME: self.base.reference,
            oci.BASE_DIGEST: self.base.manifest.digest,
        }


def plan(
    capture: Capture,
    lock: Lock,
    base: oci.Image,
    runtime: Path,
    store: Store,
    created: str,
    packages: tuple[SystemPackage, ...] = (),
) -> ImagePlan:
    """Lay out the image of a capture, with Debian ``packages`` above the base.

    ``runtime`` is the folder of the runtime's sources; ``created`` an RFC 3339 time. What the lock
    names is in the store.
    """
    system = (SystemLayer(packages),) if packages else ()
    layers: tuple[PlannedLayer, ...] = (
        *system,
        *environment(lock, base, store, room=_LIMIT - len(base.layers) - len(system) - 3),
        _lock_layer(lock, base, created, packages),
        _runtime_layer(runtime),
        _model_layer(capture),
    )
    reference = f"{capture.name}:{capture.version}"
    return ImagePlan(reference, base, layers, _config(capture, base, packages), created)


def environment(
    lock: Lock, base: oci.Image, store: Store, room: int = _LIMIT - 8
) -> tuple[PlannedLayer, ...]:
    """Lay out what a lock names, which is in the store: a conda prefix where it has packages, else
    a venv over the base's Python. There is ``room`` for so many layers."""
    minor = lock.target.python
    frame = () if lock.packages else (PrefixLayer(minor, base_python(base, minor)),)
    heavy = _heavy(lock.artifacts, store, room - 2)  # the frame or the light packages; light wheels
    return (
        *frame,
        *(CondaLayer(group, minor) for group in _grouped(lock.packages, heavy)),
        *(WheelsLayer(group, minor) for group in _grouped(lock.wheels, heavy)),
    )


def base_python(base: oci.Image, python: str) -> str:
    """Give the absolute path of a base's Python X.Y."""
    return base.config.labels.get(oci.LABEL_EXECUTABLE, f"/usr/bin/python{python}")


def _heavy(artifacts: Sequence[Artifact], store: Store, room: int) -> frozenset[Artifact]:
    """Choose what has a layer of its own, the heaviest if there is not room for all."""
    size = {artifact: _size(artifact, store) for artifact in artifacts}
    heavy = sorted((a for a in artifacts if size[a] >= HEAVY), key=lambda a: -size[a])
    return frozenset(heavy[:room])


def _size(artifact: Artifact | SystemPackage, store: Store) -> int:
    return store.path(artifact.digest).stat().st_size


def _grouped(
    artifacts: Sequence[AnyArtifact], heavy: frozenset[Artifact]
) -> Iterator[tuple[AnyArtifact, ...]]:
    """Give each heavy artifact a group of its own, in their order; the light ones share the last.

    Python goes before all: it is what most environments share.
    """
    for artifact in sorted(artifacts, key=lambda artifact: artifact.name != "python"):
        if artifact in heavy:
            yield (artifact,)
    if light := tuple(artifact for artifact in artifacts if artifact not in heavy):
        yield light


def _lock_layer(
    lock: Lock, base: oci.Image, created: str, system: tuple[SystemPackage, ...]
) -> FilesLayer:
    # Without pylock.toml: its URLs say where this host's wheels came from, which is nothing that
    # the image is a function of, nor anybody's business who pulls it.
    texts = {f"{_ABOUT}/{REQUIREMENTS}": requirements(lock)}
    if lock.packages:
        texts[f"{_ABOUT}/{PACKAGES}"] = packages(lock)
    texts[f"{_ABOUT}/{SBOM}"] = sbom(lock, base, created, system)
    return FilesLayer("lock", texts=texts)


def _runtime_layer(runtime: Path) -> FilesLayer:
    return FilesLayer(
        "runtime",
        files={
            f"{RUNTIME}/imagesmith/runtime/{path.name}": SourceFile(path, sha256_file(path))
            for path in runtime.glob("*.py")
        },
        # The one place that the image's user can write under a read-only root.
        links={READY: f"/dev/shm/{READY}"},  # noqa: S108
    )


def _model_layer(capture: Capture) -> FilesLayer:
    return FilesLayer(
        "model",
        files={
            f"{MODEL}/{name}": SourceFile(capture.folder / name, digest)
            for name, digest in capture.files.items()
        },
        texts={f"{MODEL}/metadata.json": _metadata(capture)},
    )


def _metadata(capture: Capture) -> bytes:
    """Say what the container must know of its model, and nothing that names one deployment."""
    return canonical(
        {
            "input_type": capture.input_type,
            "strings": capture.strings,
            "python": capture.python_minor,
            "cloudpickle": capture.cloudpickle,
            "modules": list(capture.modules),
        }
    )


def search_path(base: oci.Image) -> str:
    """Give the PATH of an image with an environment: that goes before the base's own programs."""
    path = base.config.env.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    return f"/{ENVIRONMENT}/bin:{path}"


def _config(
    capture: Capture, base: oci.Image, packages: tuple[SystemPackage, ...]
) -> oci.ImageConfig:
    system = {oci.LABEL_SYSTEM: " ".join(map(str, packages))} if packages else {}
    return oci.ImageConfig(
        env={
            **base.config.env,
            "PATH": search_path(base),
            "PYTHONPATH": f"/{RUNTIME}",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",  # the image's user could not write it anyway
            "CLIPPER_MODEL_PATH": f"/{MODEL}",
            "CLIPPER_MODEL_NAME": capture.name,
            "CLIPPER_MODEL_VERSION": capture.version,
            "CLIPPER_INPUT_TYPE": capture.input_type,
        },
        entrypoint=(
            f"/{ENVIRONMENT}/bin/python",
            "-m",
            "imagesmith.runtime.closure_container",
        ),
        user="1000:1000",
        working_dir=f"/{RUNTIME}",
        labels={
            **{k: v for k, v in base.config.labels.items() if k != oci.LABEL_BASE},
            oci.LABEL_MODEL: capture.name,
            oci.LABEL_VERSION: capture.version,
            oci.LABEL_INPUT_TYPE: capture.input_type,
            oci.LABEL_MODULES: canonical(list(capture.modules)).decode(),
            oci.LABEL_BASE_DIGEST: base.manifest.digest,
            **system,
        },
        healthcheck={
            "Test": ["CMD", "test", "-f", f"/{READY}"],
            "Interval": 3_000_000_000,
            "Timeout": 3_000_000_000,
            "Retries": 1,
        },
    )


def weight(layer: PlannedLayer, store: Store) -> int:
    """Give the bytes of what a layer is made from, which says how long that takes."""
    match layer:
        case PrefixLayer():
            return 0
        case SystemLayer() | CondaLayer():
            return sum(_size(package, store) for package in layer.packages)
        case WheelsLayer():
            return sum(_size(wheel, store) for wheel in layer.wheels)
        case FilesLayer():
            there = (file.path for file in layer.files.values() if file.path.is_file())
            return sum(path.stat().st_size for path in there)  # who makes it says what is not


def key(layer: PlannedLayer, base: oci.Image) -> Any:
    """Give the JSON data that a layer's bytes are a function of."""
    compiler = [base.manifest.digest, bytecode.RECIPE]  # byte code is the base's interpreter's
    match layer:
        case SystemLayer():
            return ["system", system.RECIPE, [[p.name, p.digest] for p in layer.packages]]
        case PrefixLayer():
            return ["prefix", layer.python, layer.executable]
        case CondaLayer():
            packages = [[p.subdir, p.filename, p.digest] for p in layer.packages]
            return ["conda", layer.python, compiler, packages]
        case WheelsLayer():
            wheels = [[wheel.filename, wheel.digest] for wheel in layer.wheels]
            return ["wheels", layer.python, compiler, wheels]
        case FilesLayer():
            files = {path: file.digest for path, file in layer.files.items()}
            texts = {path: sha256(text) for path, text in layer.texts.items()}
            return ["files", compiler if layer.sources else None, files, texts, dict(layer.links)]
