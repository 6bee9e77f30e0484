"""The file that names a project's models: ``[tool.imagesmith]`` of pyproject.toml, or
imagesmith.toml with the same tables at its top.

    [tool.imagesmith]                  # holds for all models
    input-type = "doubles"

    [tool.imagesmith.models.iris]      # named iris, unless it says otherwise
    target = "iris.py:predict"
"""

from __future__ import annotations

import difflib
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from imagesmith.findings import Finding, ImagesmithError, error, stop_on_errors
from imagesmith.names import check_input_type, check_name
from imagesmith.pipeline import BuildWish, CaptureWish
from imagesmith.project.keys import KEYS, Part
from imagesmith.project.model import Model
from imagesmith.resolve import Sources, Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

PYPROJECT = "pyproject.toml"
OWN = "imagesmith.toml"
MODELS = "models"
_CODE = "usage.project"


def read(folder: Path, given: Mapping[str, Any]) -> tuple[Model, ...]:
    """Read a folder's project: its models in the file's order.

    ``given`` (by key, as TOML would have it) takes the place of what the file says of any model.
    Raises ImagesmithError (usage.project, usage.name, usage.version, usage.input-type) with every
    fault that the file has.
    """
    path, table = _table(folder)
    reading = _Reading(path, "tool.imagesmith" if path.name == PYPROJECT else "")
    models = reading.models(table, given)
    stop_on_errors(reading.findings)
    return models


def _table(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Find the project's file, and give its table."""
    own, pyproject = folder / OWN, folder / PYPROJECT
    tool = _document(pyproject).get("tool") if pyproject.is_file() else None
    table = tool.get("imagesmith") if isinstance(tool, dict) else None
    if own.is_file():
        if table is not None:
            why = f"{PYPROJECT} beside it has a [tool.imagesmith] as well"
            raise ImagesmithError(error(_CODE, own, why, "keep one of the two"))
        return own, _document(own)
    if isinstance(table, dict):
        return pyproject, table
    raise ImagesmithError(
        error(
            _CODE,
            folder.absolute(),
            "no target is named, and no project is in this folder",
            "name a target (file.py:function), or list models in [tool.imagesmith] of"
            f" {PYPROJECT}, or in {OWN}",
        )
    )


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as fault:
        why, remedy = f"it cannot be read: {fault.strerror}", "see who may read it"
    except RecursionError:
        why, remedy = "this is not TOML: it is nested too deeply", "mend that place"
    except ValueError as fault:  # of the encoding or of TOML
        why, remedy = f"this is not TOML: {fault}", "mend that place"
    raise ImagesmithError(error(_CODE, path, why, remedy))


@dataclass
class _Reading:
    """A project's file while it is read, and what is to be said of it."""

    path: Path
    prefix: str  # of every table's name
    findings: list[Finding] = field(default_factory=list)

    def models(self, table: dict[str, Any], given: Mapping[str, Any]) -> tuple[Model, ...]:
        """Read the models of a table."""
        here = dict(table)
        tables = here.pop(MODELS, None)
        shared = self.settings(here, "")
        for key in [key for key in shared if KEYS[key].own]:
            self.refuse("", key, "it is of one model", "give it to each model that it is for")
            del shared[key]
        if not isinstance(tables, dict) or not tables:
            self.refuse("", MODELS, "there are no models", f"add [{self.name(MODELS)}.NAME] tables")
            return ()
        models = [
            self.model(title, own, shared, given)
            for title, own in tables.items()
            if self.is_model(title, own)
        ]
        found = tuple(model for model in models if model is not None)
        self.findings += _clashes(found, self.place)
        return found

    def is_model(self, title: str, own: Any) -> bool:
        """Say whether a model is a table, under a name that lines can bear; refuse it if not."""
        if not title or not title.isprintable():
            self.refuse(MODELS, title, "no line could bear this name", "name it otherwise")
            return False
        if not isinstance(own, dict):
            self.refuse(MODELS, title, "it is no table", f"write [{self.name(MODELS)}.{title}]")
            return False
        return True

    def model(
        self, title: str, own: dict[str, Any], shared: dict[str, Any], given: Mapping[str, Any]
    ) -> Model | None:
        """Read one model's table."""
        table = f"{MODELS}.{title}"
        settings = {"name": title, **shared, **self.settings(own, table), **given}
        if "target" not in own:
            remedy = 'add target = "file.py:function" (or module:function, or a bundle)'
            self.refuse(table, "target", "it is not there", remedy)
        self.findings += self.misnamed(table, settings)
        if "target" not in settings:
            return None
        return model_of(title, settings)

    def settings(self, table: dict[str, Any], name: str) -> dict[str, Any]:
        """Give what a table says, without what it may not say."""
        settings = {}
        for key, value in table.items():
            if key not in KEYS:
                near = difflib.get_close_matches(key, [*KEYS, MODELS], n=1)
                also = f"did you mean {near[0]}? " if near else ""
                self.refuse(
                    name, key, "there is no such key", f"{also}`imagesmith build --help` has them"
                )
            elif not KEYS[key].kind.fits(value):
                words = KEYS[key].kind.words
                self.refuse(name, key, f"it is not {words}", f"write it as {words}")
            else:
                settings[key] = value
        return settings

    def misnamed(self, table: str, settings: dict[str, Any]) -> Iterator[Finding]:
        """Find what Clipper would refuse of a model, and where the file says it."""
        for found in check_name(settings["name"], settings.get("version")):
            yield replace(found, subject=self.place(table, found.code.partition(".")[2]))
        _, faults = check_input_type(settings.get("input-type", CaptureWish.input_type))
        for found in faults:
            yield replace(found, subject=self.place(table, "input-type"))

    def name(self, table: str) -> str:
        """Give a table's full name in the file."""
        return ".".join(filter(None, (self.prefix, table)))

    def place(self, table: str, key: str) -> str:
        """Say where in the file a key is, or should be."""
        name = self.name(table)
        where = f"[{name}] {key}" if name else key
        return _printable(f"{self.path.name}: {where}")

    def refuse(self, table: str, key: str, why: str, remedy: str) -> None:
        """Say what must be mended."""
        self.findings.append(error(_CODE, self.place(table, key), f"{key!r}: {why}", remedy))


def model_of(title: str, settings: Mapping[str, Any]) -> Model:
    """Make a model of settings by key; the wishes' own defaults hold for what is not set."""
    fields: dict[Part, dict[str, Any]] = defaultdict(dict)
    for key, value in settings.items():
        fields[KEYS[key].part][KEYS[key].field] = KEYS[key].kind.made(value)
    return Model(
        title,
        CaptureWish(**fields[Part.CAPTURE]),
        BuildWish(
            sources=Sources(**fields[Part.SOURCES]),
            lock=Wish(**fields[Part.LOCK]),
            **fields[Part.BUILD],
        ),
        **fields[Part.MODEL],
    )


def _clashes(models: tuple[Model, ...], place: Callable[[str, str], str]) -> Iterator[Finding]:
    """Find what two models may not share: a name with its version, a file, a registry's tag."""

    def key_and_value(model: Model) -> Iterator[tuple[str, str]]:
        version = model.capture.version
        yield "version", f"{model.capture.name}:{version}" if version else f"{model.capture.name}"
        if model.output and model.output.startswith("archive:"):
            yield "output", model.output
        if model.push:
            yield "push", model.push

    first: dict[tuple[str, str], str] = {}
    for model in models:
        for key, value in key_and_value(model):
            before = first.setdefault((key, value), model.title)
            if before != model.title:
                yield error(
                    _CODE,
                    place(f"{MODELS}.{model.title}", key),
                    f"{model.title} and {before} would both be {value}",
                    f"give one of them another {key}",
                )


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
