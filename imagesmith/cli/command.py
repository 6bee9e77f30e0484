"""What every command has: ``--json``, ``--log-format``, ``--debug``, and one way to end."""

from __future__ import annotations

import errno
import inspect
import json
import signal
import sys
import traceback
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagesmith.cli.console import Console, console
from imagesmith.findings import ExitCode, ImagesmithError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager


@dataclass(frozen=True)
class Result:
    """What a command gives: a text for people and pipes, and the same as JSON data.

    ``code`` is another than DONE where a part of what was wanted has failed, and was told.
    """

    text: str
    data: dict[str, Any] = field(default_factory=dict)
    code: ExitCode = ExitCode.DONE


_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class LogFormat(StrEnum):
    """How stderr is written."""

    TEXT = "text"
    JSON = "json"


_SHARED = {
    "as_json": Annotated[bool, typer.Option("--json", help="Print one JSON document.")],
    "log_format": Annotated[LogFormat, typer.Option("--log-format", help="How stderr is written.")],
    "debug": Annotated[bool, typer.Option("--debug", help="Show a traceback on a failure.")],
}
_DEFAULTS: dict[str, Any] = {"as_json": False, "log_format": LogFormat.TEXT, "debug": False}


def command(
    app: typer.Typer, name: str, *, holds: bool = True
) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Register a function ``(console, options…) -> Result`` as a command of the app.

    Nothing is cleared from the store before it has ended, unless it ``holds`` nothing there.

    A parameter whose type is a dataclass stands for options that several commands share: its
    fields.
    """

    def register(function: Callable[..., Result]) -> Callable[..., None]:
        @wraps(function)
        def run(*, as_json: bool, log_format: LogFormat, debug: bool, **options: Any) -> None:
            listener = console(log_format)
            # A stage that is interrupted cleans up behind itself; so it shall when terminated.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            with _in_use(holds):
                code, result = _outcome(function, listener, _grouped(groups, options), debug)
            _print(code, result, listener, as_json)
            raise typer.Exit(code)

        given = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        groups: dict[str, Any] = {p.name: p.annotation for p in given if is_dataclass(p.annotation)}
        own = [p for p in given if p.name not in groups]
        own += [p for group in groups.values() for p in _options(group)]
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


def _in_use(holds: bool) -> AbstractContextManager[None]:
    from imagesmith.presence import in_use
    from imagesmith.store import Store

    return in_use(Store.default().root) if holds else nullcontext()


def _options(group: type) -> list[inspect.Parameter]:
    """Give the fields of a dataclass as options."""
    return [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(group, eval_str=True).parameters.values()
    ]


def _grouped(groups: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Gather the options of each group into one argument."""
    gathered = dict(options)
    for name, group in groups.items():
        gathered[name] = group(**{field.name: gathered.pop(field.name) for field in fields(group)})
    return gathered


def _outcome(
    function: Callable[..., Result], listener: Console, options: dict[str, Any], debug: bool
) -> tuple[ExitCode, Result]:
    """Call a command's function; whatever happens in it becomes an exit status."""
    try:
        result = function(listener, **options)
        return result.code, result
    except (Exception, KeyboardInterrupt) as problem:
        if debug:
            traceback.print_exc()
        return told(problem, listener), Result("")


def told(problem: BaseException, listener: Console) -> ExitCode:
    """Tell why a command has stopped, and give its exit status."""
    if isinstance(problem, OSError):
        problem = _of_the_store(problem) or problem
    if isinstance(problem, ImagesmithError):
        listener.fail(problem)
        return problem.exit_code
    if isinstance(problem, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    sys.stderr.write(
        f"imagesmith has a fault: {type(problem).__name__}: {problem}\n"
        "    do:  run it again with --debug and report what it prints\n"
    )
    return ExitCode.FAULT


def _of_the_store(problem: OSError) -> ImagesmithError | None:
    """Tell of a disk that is full or cannot be written, which whatever is kept may meet."""
    from imagesmith.store import Store

    store = Store.default()
    is_below = str(problem.filename or "").startswith(str(store.root))
    return store.failure(problem) if is_below or problem.errno in _UNWRITABLE else None


def _print(code: ExitCode, result: Result, listener: Console, as_json: bool) -> None:
    if as_json:
        findings = [finding.as_dict() for finding in listener.findings]
        document = {"exit": int(code), **result.data, "findings": findings}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    elif result.text:
        sys.stdout.write(result.text + "\n")
