"""What every command has: ``--json``, ``--log-format``, ``--debug``, and one way to end."""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagesmith.cli.console import Console, console
from imagesmith.findings import ExitCode, ImagesmithError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Result:
    """What a command gives: a text for people and pipes, and the same as JSON data."""

    text: str
    data: dict[str, Any] = field(default_factory=dict)


_SHARED = {
    "as_json": Annotated[bool, typer.Option("--json", help="Print one JSON document.")],
    "log_format": Annotated[
        str, typer.Option("--log-format", metavar="text|json", help="How stderr is written.")
    ],
    "debug": Annotated[bool, typer.Option("--debug", help="Show a traceback on a failure.")],
}
_DEFAULTS: dict[str, Any] = {"as_json": False, "log_format": "text", "debug": False}


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Register a function ``(console, options…) -> Result`` as a command of the app."""

    def register(function: Callable[..., Result]) -> Callable[..., None]:
        @wraps(function)
        def run(**options: Any) -> None:
            shared = {key: options.pop(key) for key in _SHARED}
            end = _run(function, options, **shared)
            raise typer.Exit(end)

        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        extra = [
            inspect.Parameter(
                key, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS[key], annotation=hint
            )
            for key, hint in _SHARED.items()
        ]
        run.__signature__ = inspect.Signature([*own, *extra])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [*own, *extra]}
        return app.command(name)(run)

    return register


def _run(
    function: Callable[..., Result],
    options: dict[str, Any],
    *,
    as_json: bool,
    log_format: str,
    debug: bool,
) -> ExitCode:
    listener = console(log_format)
    try:
        result = function(listener, **options)
    except ImagesmithError as failure:
        listener.fail(failure)
        return _ended(failure.exit_code, listener, {}, as_json, debug)
    except KeyboardInterrupt:
        return _ended(ExitCode.INTERRUPTED, listener, {}, as_json, debug)
    except Exception as fault:
        if debug:
            raise
        sys.stderr.write(
            f"imagesmith has a fault: {type(fault).__name__}: {fault}\n"
            "    do:  run it again with --debug and report what it prints\n"
        )
        return ExitCode.FAULT
    if not as_json and result.text:
        sys.stdout.write(result.text + "\n")
    return _ended(ExitCode.DONE, listener, result.data, as_json, debug=False)


def _ended(
    code: ExitCode, listener: Console, data: dict[str, Any], as_json: bool, debug: bool
) -> ExitCode:
    if as_json:
        findings = [finding.as_dict() for finding in listener.findings]
        document = {"exit": int(code), **data, "findings": findings}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    if debug:
        import traceback

        traceback.print_exc()
    return code
