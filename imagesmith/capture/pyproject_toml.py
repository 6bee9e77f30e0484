"""pyproject.toml: the [project] table (PEP 621), of which dependencies and Python count."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from imagesmith.capture.requirements_txt import pep508
from imagesmith.urls import redacted

if TYPE_CHECKING:
    from pathlib import Path

    from imagesmith.capture.specification import Draft


def read_pyproject_toml(path: Path, draft: Draft) -> None:
    """Take the dependencies of a project; what its extras and groups need is not taken."""
    text = draft.text_of(path, path)
    if text is None:
        return
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as fault:
        why = "it is nested too deeply" if isinstance(fault, RecursionError) else str(fault)
        draft.refuse(path, f"this is not TOML: {why}", "mend that place")
        return
    project = document.get("project")
    if not isinstance(project, dict):
        draft.refuse(path, "it has no [project] table", _instead(document))
        return
    _take_project(project, text, path, draft)


def _instead(document: dict[str, Any]) -> str:
    tool = document.get("tool")
    if isinstance(tool, dict) and "poetry" in tool:
        return "export what poetry has: poetry export -o requirements.txt"
    return "add one with `dependencies = [...]`, or name a requirements.txt"


def _take_project(project: dict[str, Any], text: str, path: Path, draft: Draft) -> None:
    name = project.get("name")
    draft.name = name if isinstance(name, str) and name.isprintable() else None
    _take_python(project.get("requires-python"), text, path, draft)
    dependencies = project.get("dependencies", [])
    dynamic = project.get("dynamic", [])
    if isinstance(dynamic, list) and "dependencies" in dynamic:
        remedy = "write them into [project], or name a requirements.txt"
        draft.refuse(path, "its dependencies are dynamic: only a build would tell them", remedy)
    if not isinstance(dependencies, list):
        draft.refuse(path, "dependencies is no list", 'write it as dependencies = ["NAME"]')
        return
    for entry in dependencies:
        _take_dependency(entry, text, path, draft)
    if project.get("optional-dependencies"):
        remedy = "move to dependencies what the function needs"
        draft.note(path, "optional-dependencies are not taken", remedy)


def _take_python(wanted: Any, text: str, path: Path, draft: Draft) -> None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if wanted is None:
        return
    try:
        draft.python = str(SpecifierSet(wanted))
    except (InvalidSpecifier, AttributeError, TypeError):
        where = _where(str(wanted), text, path)
        draft.refuse(where, f"requires-python {wanted!r} is no version", 'write it as ">=3.11"')


def _take_dependency(entry: Any, text: str, path: Path, draft: Draft) -> None:
    where = _where(str(entry), text, path)
    try:
        if not isinstance(entry, str) or not entry.isprintable():
            raise ValueError("it is no text, or holds what cannot be printed")
        draft.pip.append(pep508(entry, where))
    except ValueError as fault:
        message = f"{redacted(str(entry))!r} is no requirement: {redacted(str(fault))}"
        draft.refuse(where, message, 'write it as "NAME", "NAME==VERSION" or "NAME @ URL"')


def _where(entry: str, text: str, path: Path) -> str:
    """Give file and line of an entry, the file alone where it is spelled otherwise there."""
    before, found, _ = text.partition(entry)
    return f"{path}:{before.count(chr(10)) + 1}" if found else str(path)
