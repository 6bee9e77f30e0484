"""environment.yml as `conda env export` writes it and `conda env create` reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imagesmith.capture.channels import Condarc, read_condarc
from imagesmith.capture.match_spec import parse_spec
from imagesmith.capture.requirements_txt import Context, take_line
from imagesmith.capture.yaml_nodes import YamlError, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from imagesmith.capture.specification import Draft
    from imagesmith.capture.yaml_nodes import Entry

_KEYS = {"name", "channels", "dependencies", "variables", "prefix", "platforms", "category"}
_AS = "write it as conda does: NAME, NAME=VERSION or NAME>=VERSION,<VERSION"
_ANEW = "write it anew: conda env export > environment.yml"


def read_environment_yml(path: Path, draft: Draft) -> None:
    """Take what an environment file asks for.

    Its channels count; where it names none those of the user's condarc files, else conda's own.
    """
    condarc, findings = read_condarc(None, draft.environ)
    draft.findings.extend(findings)
    text = draft.text_of(path, path)
    if text is None:
        return
    try:
        top = read_yaml(text)
    except YamlError as broken:
        for fault in broken.faults:
            where = path if fault.line is None else f"{path}:{fault.line}"
            draft.refuse(where, fault.message, fault.remedy)
        return
    if top is None or top.entries is None:
        what = "is empty" if top is None else "holds something else"
        draft.refuse(path, f"it {what}, where name, channels and dependencies belong", _ANEW)
    else:
        _Reader(path, condarc, draft).take(top.entries)


@dataclass(frozen=True)
class _Reader:
    """Takes the entries of one file."""

    path: Path
    condarc: Condarc
    draft: Draft

    def where(self, entry: Entry) -> str:
        """Give file and line of an entry."""
        return f"{self.path}:{entry.line}"

    def take(self, entries: Iterable[Entry]) -> None:
        """Take the entries of the file's mapping."""
        given = self._unique(entries)
        self.draft.name = _name(given.get("name"))
        self._take_channels(given.get("channels"))
        for item in self._listed(given.get("dependencies")):
            self._take_dependency(item)
        if "dependencies" not in given:
            remedy = "list them below `dependencies:`, each after `- `"
            self.draft.refuse(self.path, "it names no dependencies", remedy)
        if variables := given.get("variables"):
            remedy = "set them where the image is deployed"
            self.draft.note(self.where(variables), "variables are not taken", remedy)
        python = (spec.version for spec in self.draft.conda if spec.name == "python")
        self.draft.python = next(python, None)

    def _unique(self, entries: Iterable[Entry]) -> dict[str | None, Entry]:
        """Give the entries by key; keys that stand there twice are refused, unknown ones told."""
        first: dict[str | None, Entry] = {}
        for entry in entries:
            known = first.setdefault(entry.key, entry)
            if known is not entry:
                message = f"{entry.key!r} stands here again: it is already in line {known.line}"
                self.draft.refuse(
                    self.where(entry), message, "keep one of them, with all that belongs there"
                )
            elif entry.key not in _KEYS:
                message = f"{entry.key!r} is none of conda's keys, and is passed over"
                self.draft.warn(self.where(entry), message, "use name, channels and dependencies")
        return first

    def _listed(self, entry: Entry | None) -> tuple[Entry, ...]:
        """Give the items of a list, () where there is nothing; anything else is refused."""
        if entry is None or entry.is_nothing:
            return ()
        if entry.items is None:
            remedy = f"put each item on a line of its own, after `- `, below `{entry.key}:`"
            self.draft.refuse(self.where(entry), f"{entry.key!r} holds no list", remedy)
        return entry.items or ()

    def _take_channels(self, entry: Entry | None) -> None:
        named = [item for item in self._listed(entry) if item.text != "nodefaults"]
        for item in named:
            self.draft.channels.extend(self._urls(item.text or "", self.where(item)))
        if not named:
            for channel in self.condarc.channels or ("defaults",):
                self.draft.channels.extend(self._urls(channel, str(self.path)))

    def _urls(self, channel: str, where: str) -> tuple[str, ...]:
        try:
            return self.condarc.urls(channel, self.path.parent.absolute())
        except ValueError:  # what it is may hide a password, and is not shown
            remedy = (
                "write it as NAME or https://HOST/PATH; a / or @ in a password is written"
                " %2F or %40"
            )
            self.draft.refuse(where, "this is no channel's name, path or URL", remedy)
            return ()

    def _take_dependency(self, item: Entry) -> None:
        if item.text is not None:
            self._take_spec(item.text, self.where(item))
        elif item.entries is None:
            self.draft.refuse(self.where(item), "an item of dependencies is no package", _AS)
        for entry in item.entries or ():
            if entry.key == "pip":
                self._take_pip(entry)
            elif entry.text is not None:
                remedy = f"write it as {entry.key}={entry.text}"
                message = f"{entry.key!r} has a colon after it, as only pip should"
                self.draft.refuse(self.where(entry), message, remedy)
            else:
                message = f"{entry.key!r} is no installer that is known here"
                remedy = "put its packages into the list itself, or below `- pip:`"
                self.draft.refuse(self.where(entry), message, remedy)

    def _take_spec(self, text: str, where: str) -> None:
        try:
            spec = parse_spec(text, where)
        except ValueError as fault:
            self.draft.refuse(where, str(fault), _AS)
            return
        urls = [url for channel in spec.channels for url in self._urls(channel, where)]
        self.draft.conda.append(replace(spec, channels=tuple(urls)))

    def _take_pip(self, entry: Entry) -> None:
        for item in self._listed(entry):
            if item.text is None or not item.text.strip():
                message = "an item below pip is no requirement"
                self.draft.refuse(self.where(item), message, "write it as NAME==VERSION")
            else:
                # pip gets them as a file that lies beside this one.
                line = item.text.strip()
                take_line(line, self.where(item), self.draft, Context(self.path.parent))


def _name(entry: Entry | None) -> str | None:
    text = entry and entry.text
    return text if text and text.isprintable() else None
