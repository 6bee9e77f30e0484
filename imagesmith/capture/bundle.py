"""A capture and its form on disk: the bundle, a folder of plain files.

func.pkl           the function, pickled by cloudpickle (protocol 5)
modules/           the local modules that it imports
environment.json   the environment it was captured in
capture.json       what to serve it as, and the digest of func.pkl and of each module
samples.json       inputs and the function's own answers, if samples were given
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from imagesmith.capture.audit import audit
from imagesmith.capture.environment import Environment
from imagesmith.findings import Finding, ImagesmithError, error, stop_on_errors
from imagesmith.names import check_input_type, check_name, check_strings
from imagesmith.store import canonical, folder_whole, sha256, sha256_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FUNCTION = "func.pkl"
MODULES = "modules"
_CAPTURE = "capture.json"
_ENVIRONMENT = "environment.json"
_SAMPLES = "samples.json"
_FORMAT = 3
_VERSION_DIGITS = 12


@dataclass(frozen=True)
class Answers:
    """What the function answered to the samples: given as one batch, and one by one."""

    batch: tuple[str, ...]
    single: tuple[str, ...]


@dataclass(frozen=True)
class Samples:
    """Inputs as Clipper's REST takes them, and the function's own answers (None: not asked)."""

    inputs: tuple[Any, ...]
    answers: Answers | None

    @classmethod
    def from_json(cls, data: Any) -> Samples:
        """Read the data of a bundle's samples.json; ValueError if it is something else."""
        match data:
            case {"inputs": list(inputs), "answers": None, **rest} if not rest:
                return cls(tuple(inputs), None)
            case {
                "inputs": list(inputs),
                "answers": {"batch": list(batch), "single": list(single), **more},
                **rest,
            } if not rest and not more:
                if not all(isinstance(answer, str) for answer in (*batch, *single)):
                    raise ValueError("an answer is no string")
                if not len(inputs) == len(batch) == len(single):
                    raise ValueError("there is not one answer for each input")
                return cls(tuple(inputs), Answers(tuple(batch), tuple(single)))
        raise ValueError('it has not the form of a bundle\'s samples: {"inputs", "answers"}')


@dataclass(frozen=True)
class Capture:
    """A function, frozen, with everything that is known of what it needs.

    ``input_type`` is one of Clipper's five, ``strings`` is "str" or "bytes" (what a string arrives
    as), ``python`` and ``cloudpickle`` are versions, ``modules`` the import names of the needed
    modules that are installed rather than local, ``recorded`` the versions of distributions that
    objects in the pickle say they were pickled by. ``folder`` is the bundle, ``files`` gives the
    digest of its func.pkl and of each file in modules/ by their path in it.
    """

    name: str
    version: str
    target: str
    input_type: str
    strings: str
    python: str
    cloudpickle: str
    modules: tuple[str, ...]
    environment: Environment
    samples: Samples | None
    files: Mapping[str, str]
    folder: Path
    digest: str
    recorded: Mapping[str, str] = field(default_factory=dict)

    @property
    def python_minor(self) -> str:
        """The Python version as X.Y."""
        return self.environment.minor


def seal(
    folder: Path,
    *,
    name: str,
    version: str | None,
    target: str,
    input_type: str,
    strings: str,
    cloudpickle: str,
    modules: tuple[str, ...],
    recorded: Mapping[str, str],
    environment: Environment,
    samples: Samples | None,
) -> Capture:
    """Make the Capture of a folder that holds func.pkl and modules/.

    Where ``version`` is None it is the first twelve hex digits of the digest.
    """
    files = _files(folder)
    digest = _digest(files, input_type, strings, cloudpickle, modules, environment)
    return Capture(
        name=name,
        version=version or digest.partition(":")[2][:_VERSION_DIGITS],
        target=target,
        input_type=input_type,
        strings=strings,
        python=environment.python,
        cloudpickle=cloudpickle,
        modules=modules,
        recorded=recorded,
        environment=environment,
        samples=samples,
        files=files,
        folder=folder,
        digest=digest,
    )


def is_bundle(folder: Path) -> bool:
    """Say whether a folder is a bundle, whole or damaged."""
    # pathlib's is_file raises where a name is too long or a folder is closed to us.
    return os.path.isfile(folder / _CAPTURE)  # noqa: PTH113


def renamed(capture: Capture, name: str | None, version: str | None) -> Capture:
    """Give the capture under another name or version; None leaves it as it is.

    Raises ImagesmithError (usage.name, usage.version) for what Clipper refuses.
    """
    other = replace(capture, name=name or capture.name, version=version or capture.version)
    stop_on_errors(check_name(other.name, other.version))
    return other


def write(capture: Capture, folder: Path) -> None:
    """Write the bundle of a capture; an older bundle in that folder gives way to it.

    Raises ImagesmithError: publish.occupied if the folder holds anything else, and
    publish.unwritable.
    """
    if not _is_free(folder):
        raise ImagesmithError(
            error(
                "publish.occupied",
                folder,
                f"{folder} holds something that is not a bundle",
                "name a new folder, or remove that one yourself",
            )
        )
    try:
        with folder_whole(folder) as beside:
            fill(capture, beside)
    except OSError as fault:
        raise ImagesmithError(
            error(
                "publish.unwritable",
                folder,
                f"the bundle cannot be written to {folder}: {fault.strerror}",
                "name another folder",
            )
        ) from fault


def fill(capture: Capture, folder: Path) -> None:
    """Write the files of a bundle into an empty folder."""
    (folder / MODULES).mkdir()
    for name in capture.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(capture.folder / name, folder / name)
    for name, data in texts(capture).items():
        (folder / name).write_bytes(data)


def texts(capture: Capture) -> dict[str, bytes]:
    """Give the files of a bundle beside the model's own, by name."""
    return {name: _pretty(data) for name, data in documents(capture).items()}


def documents(capture: Capture) -> dict[str, Any]:
    """Give the JSON documents of a bundle by file name."""
    described = {
        "format": _FORMAT,
        "name": capture.name,
        "version": capture.version,
        "target": capture.target,
        "input_type": capture.input_type,
        "strings": capture.strings,
        "cloudpickle": capture.cloudpickle,
        "modules": list(capture.modules),
        "recorded": dict(capture.recorded),
        "files": dict(capture.files),
    }
    always = {_CAPTURE: described, _ENVIRONMENT: capture.environment.as_json()}
    return always if capture.samples is None else {**always, _SAMPLES: asdict(capture.samples)}


def read(folder: Path) -> Capture:
    """Read a bundle that may come from anywhere; nothing is unpickled.

    Raises ImagesmithError as ``kept`` does, and capture.bad-pickle where func.pkl is no whole
    pickle, or names modules that the capture does not list.
    """
    capture = kept(folder)
    audit(folder / FUNCTION, capture)
    return capture


def kept(folder: Path) -> Capture:
    """Read a bundle that imagesmith keeps itself.

    Raises ImagesmithError: capture.not-a-bundle, and capture.damaged where func.pkl or modules/
    are not what capture.json says.
    """
    try:
        described = json.loads((folder / _CAPTURE).read_bytes())
        _check_texts(described)
        if described["format"] != _FORMAT:
            raise ValueError(f"it has format {described['format']}, not {_FORMAT}")
        sealed = seal(
            folder,
            name=described["name"],
            version=described["version"],
            target=described["target"],
            input_type=described["input_type"],
            strings=described["strings"],
            cloudpickle=described["cloudpickle"],
            modules=tuple(described["modules"]),
            recorded=dict(described["recorded"]),
            environment=Environment.from_json(json.loads((folder / _ENVIRONMENT).read_bytes())),
            samples=_read_samples(folder / _SAMPLES),
        )
        recorded = dict(described["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as fault:
        raise ImagesmithError(_not_a_bundle(folder, fault)) from fault
    if sealed.files != recorded:
        raise ImagesmithError(_damaged(folder, recorded, sealed.files))
    return sealed


def _read_samples(path: Path) -> Samples | None:
    if not path.is_file():
        return None
    return Samples.from_json(json.loads(path.read_bytes()))


def _check_texts(described: Mapping[str, Any]) -> None:
    """Raise ValueError, KeyError or TypeError where a text is missing or is not what it may be."""
    texts = ("name", "version", "target", "input_type", "strings", "cloudpickle")
    recorded = dict(described["recorded"])
    values = [*(described[key] for key in texts), *described["modules"], *recorded.values()]
    if not all(isinstance(value, str) for value in values):
        raise TypeError("something in it should be a string and is none")
    _, faults = check_input_type(described["input_type"])
    faults += check_strings(described["strings"])
    # A capture that was never named has no name.
    faults += check_name(described["name"] or "unnamed", described["version"])
    if faults:
        raise ValueError("; ".join(fault.message for fault in faults))


def _files(folder: Path) -> dict[str, str]:
    """Give the digest of func.pkl and of each file in modules/, by their path in the folder.

    Raises ValueError for a link.
    """
    inside = [folder / FUNCTION, folder / MODULES, *(folder / MODULES).rglob("*")]
    for path in inside:
        if path.is_symlink():  # it could lead anywhere on this machine
            raise ValueError(f"{path.relative_to(folder)} is a link")
    paths = [path for path in inside if path.is_file() or path == folder / FUNCTION]
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in sorted(paths)}


def _digest(
    files: Mapping[str, str],
    input_type: str,
    strings: str,
    cloudpickle: str,
    modules: tuple[str, ...],
    environment: Environment,
) -> str:
    """Digest what the model is, and nothing of how it is called, when and where it was taken."""
    needed = sorted({(d.name, d.version) for m in modules for d in environment.providers(m)})
    minor = environment.python.split(".")[:2]
    return sha256(canonical([dict(files), input_type, strings, minor, cloudpickle, needed]))


def _pretty(data: Any) -> bytes:
    return (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _is_free(folder: Path) -> bool:
    if not folder.exists():
        return True
    return folder.is_dir() and (is_bundle(folder) or not any(folder.iterdir()))


def _not_a_bundle(folder: Path, fault: Exception) -> Finding:
    return error(
        "capture.not-a-bundle",
        folder,
        f"{folder} is not a bundle: {fault}",
        "write one with `imagesmith capture TARGET --name N -o BUNDLE`",
    )


def _damaged(folder: Path, recorded: Mapping[str, str], found: Mapping[str, str]) -> Finding:
    changed = sorted(name for name, _ in recorded.items() ^ found.items())
    return error(
        "capture.damaged",
        folder,
        f"{', '.join(dict.fromkeys(changed))} in {folder} changed since the capture",
        "capture again rather than edit a bundle",
    )
