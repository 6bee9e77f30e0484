"""``build`` without a target: every model of the project in the working folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.cli.command import Result, told
from imagesmith.cli.options import workshop
from imagesmith.findings import ExitCode, ImagesmithError, error, exit_code
from imagesmith.project.build import build_all
from imagesmith.project.keys import KEYS
from imagesmith.project.model import Made
from imagesmith.project.read import read

if TYPE_CHECKING:
    from collections.abc import Sequence

    import typer

    from imagesmith.cli.console import Console
    from imagesmith.pipeline import Workshop
    from imagesmith.project.model import Model

_OFF = {"no_verify": "verify", "no_compare": "compare"}
# Of the command itself, not of what it builds.
_SHARED = {"target", "as_json", "log_format", "debug"}


def build_project(console: Console, context: typer.Context) -> Result:
    """Build all; what the command line says takes the place of what the file says of each."""
    models = read(Path(), _given(context))
    consoles = {model.title: console.of(model.title) for model in models}

    def shop_for(model: Model) -> Workshop:
        return workshop(consoles[model.title])

    def failed(model: Model, problem: Exception) -> None:
        told(problem, consoles[model.title])

    outcomes = build_all(models, shop_for, failed)
    for model in models:
        console.findings += consoles[model.title].findings
    pairs = zip(models, outcomes, strict=True)
    documents = [_document(model, found, consoles[model.title]) for model, found in pairs]
    references = [found.reference for found in outcomes if isinstance(found, Made)]
    return Result("\n".join(references), {"models": documents}, _code(outcomes))


def _given(context: typer.Context) -> dict[str, Any]:
    """Give what was typed, by the project's keys.

    Raises ImagesmithError (usage.project) for what can only be said of one model.
    """
    typed = {
        name: value
        for name, value in context.params.items()
        if name not in _SHARED and _is_typed(context, name)
    }
    given = {
        _OFF.get(name, name.replace("_", "-")): not value if name in _OFF else value
        for name, value in typed.items()
    }
    own = [f"--{key}" for key in given if KEYS[key].own]
    if own:
        raise ImagesmithError(
            error(
                "usage.project",
                " ".join(own),
                f"{', '.join(own)} can be said of one model only, and no target is named",
                "name a target, or write it into the project's file",
            )
        )
    return {key: str(value) if isinstance(value, Path) else value for key, value in given.items()}


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _document(model: Model, found: Made | Exception, console: Console) -> dict[str, Any]:
    made = found.as_dict() if isinstance(found, Made) else {}
    findings = [finding.as_dict() for finding in console.findings]
    return {"model": model.title, "exit": int(_code([found])), **made, "findings": findings}


def _code(outcomes: Sequence[Made | Exception]) -> ExitCode:
    """Choose the exit status: of all findings the first that applies, else a fault of ours."""
    problems = [found for found in outcomes if isinstance(found, Exception)]
    findings = [
        f for found in problems if isinstance(found, ImagesmithError) for f in found.findings
    ]
    if code := exit_code(findings):
        return code
    return ExitCode.FAULT if problems else ExitCode.DONE
