"""Taking a capture: everything checked first, then the agent in the user's own interpreter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from imagesmith.capture import bundle
from imagesmith.capture.bundle import Answers, Capture, Samples
from imagesmith.capture.conda import read_conda
from imagesmith.capture.differences import batch_dependent, pickle_differs
from imagesmith.capture.environment import Environment, interpreter
from imagesmith.capture.samples import load
from imagesmith.capture.target import Target, parse
from imagesmith.capture.witness import Seen, tree
from imagesmith.findings import (
    Finding,
    ImagesmithError,
    Severity,
    error,
    stop_on_errors,
    warning,
)
from imagesmith.names import check_input_type, check_name, check_strings
from imagesmith.partial import scratch
from imagesmith.presence import use_folder
from imagesmith.runtime import batch
from imagesmith.store import canonical, key_of, sha256_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imagesmith.progress import Progress
    from imagesmith.store import Store

_T = TypeVar("_T")

_AGENT = Path(__file__).with_name("agent.py")
# Byte code is had from where it is kept, which Python does not do for a script; and the current
# folder is on the path of a command.
_START = """
import sys
sys.path[:] = filter(None, sys.path)
from importlib.machinery import SourceFileLoader
__file__ = sys.argv.pop(1)
exec(SourceFileLoader(__name__, __file__).get_code(__name__))
"""
_KIND = "captures"
_FORMAT = 4  # of what is remembered of a capture, and of the findings that are made here
_LOG = 100_000  # bytes


def capture(
    target: str,
    *,
    name: str,
    version: str | None,
    input_type: str,
    strings: str = "str",
    env: str = "auto",
    samples: Path | None,
    project: Path,
    store: Store,
    progress: Progress,
) -> Capture:
    """Capture the function that ``target`` names (path/file.py:function, module:object.method).

    Relative paths and modules are looked for from the folder ``project``. Where nothing changed
    since an earlier capture, that one is taken from the store and nothing of the user's is run.
    Raises ImagesmithError with every finding that can be seen before the user's code runs, or else
    with all that its run has shown; ``log`` is then what it printed.
    """
    order = _check(target, name, version, input_type, strings, env, samples, project.absolute())
    taken = _stored(order, store)
    if taken is None:
        with store.making(_KIND, order.key):
            taken = _stored(order, store) or _fresh(order, store, progress)
    for finding in taken.findings:
        progress.find(finding)
    again = ", unchanged since its last capture" if taken.stored else ""
    progress.say("capture", f"{target} with Python {taken.capture.python}{again}")
    return replace(taken.capture, name=name, version=version or taken.capture.version)


@dataclass(frozen=True)
class _Order:
    """What is to be captured, all of it checked."""

    target: Target
    input_type: str
    strings: str
    inputs: tuple[Any, ...] | None
    python: Path
    project: Path

    def request(self, out: Path) -> dict[str, Any]:
        """Give the agent's request (described in agent.py)."""
        return {
            "out": str(out),
            "project": str(self.project),
            "text": self.target.text,
            "root": str(self.target.root),
            "module": self.target.module,
            "attribute": self.target.attribute,
            "file": self.target.file and str(self.target.file),
            "input_type": self.input_type,
            "strings": self.strings,
            "samples": self.inputs,
            "batch": batch.__file__,
            "cloudpickle": _own_cloudpickle(),
        }

    @property
    def key(self) -> str:
        """What a capture is remembered under; how it is named makes no difference to it."""
        return key_of(_FORMAT, self.request(Path()), str(self.python), sha256_file(_AGENT))


@dataclass(frozen=True)
class _Taken:
    capture: Capture
    findings: tuple[Finding, ...]
    stored: bool


def _check(
    text: str,
    name: str,
    version: str | None,
    input_type: str,
    strings: str,
    env: str,
    samples_file: Path | None,
    project: Path,
) -> _Order:
    """Check everything that can be checked without running the user's code, and all at once."""
    kind, findings = check_input_type(input_type)
    findings += [*check_name(name, version), *check_strings(strings)]

    def attempt(make: Callable[[], _T]) -> _T | None:
        try:
            return make()
        except ImagesmithError as stop:
            findings.extend(stop.findings)
            return None

    target = attempt(partial(parse, text, project))
    python = attempt(partial(interpreter, env, os.environ))
    given = None
    if samples_file and kind is not None:
        given = attempt(partial(load, samples_file, kind.label))
    stop_on_errors(findings)
    assert kind is not None
    assert target is not None
    assert python is not None
    inputs = given.inputs if given else None
    return _Order(target, kind.label, strings, inputs, python, project)


def _stored(order: _Order, store: Store) -> _Taken | None:
    """Give the capture in the store if a new one would come out the same."""
    record = store.recall(_KIND, order.key)
    if record is None or Seen.from_json(record["seen"]).state(_environ()) != record["state"]:
        return None
    try:
        folder = store.root / "folders" / _KIND / record["folder"]
        use_folder(folder)
        found = bundle.kept(folder)
    except ImagesmithError:  # somebody cleared or changed the store: a new capture mends it
        return None
    findings = tuple(map(Finding.from_dict, record["findings"]))
    return _Taken(found, findings, stored=True)


def _fresh(order: _Order, store: Store, progress: Progress) -> _Taken:
    """Capture anew, and remember it by what it depends on."""
    before = tree(order.target.root)
    with scratch() as folder:
        captured, findings, seen = _look(order, folder, progress)
        kept = _keep(captured, store)
    state = seen and seen.state(_environ())
    # Else the capture itself, or somebody, changed a file.
    if seen and state and state["tree"] == before:
        store.remember(
            _KIND,
            order.key,
            {
                "seen": seen.as_json(),
                "state": state,
                "folder": kept.folder.name,
                "findings": [finding.as_dict() for finding in findings],
            },
        )
    return _Taken(kept, findings, stored=False)


def _look(
    order: _Order, scratch: Path, progress: Progress
) -> tuple[Capture, tuple[Finding, ...], Seen | None]:
    """Run the agent; then, side by side, ask the pickle, and see that a second one is the same."""
    out, target = scratch / "captured", order.target.text
    packages, channels, broken = read_conda(order.python.parent.parent, os.environ)
    owned = sorted({module for package in packages for module in package.modules})
    run = partial(_run_agent, order, owned)
    result = run(out, "capture")
    for line in result["log"].splitlines():
        progress.say("capture", line)
    with ThreadPoolExecutor() as side:
        unsteady = side.submit(_unsteady, order, run, out, scratch / "again")
        asked = run(scratch / "asked", "ask", out)
        findings = [
            *_findings(result),
            *_findings(asked),
            *broken,
            *batch_dependent(target, result["answers"]),
            *pickle_differs(target, result["answers"], asked["answers"]),
            *unsteady.result(),
        ]
    once_each = tuple(dict.fromkeys(findings))
    seen = Environment.from_json(result["environment"])
    environment = replace(seen, packages=packages, channels=channels)
    sealed = _seal(order, out, result, asked, environment)
    return sealed, once_each, _seen(order, result)


def _run_agent(
    order: _Order, owned: list[str], out: Path, task: str, captured: Path | None = None
) -> dict[str, Any]:
    """Run the agent; its result with its log, or ImagesmithError with the errors that it found."""
    out.mkdir()
    request = out.with_suffix(".json")
    asked = {"task": task, "captured": captured and str(captured), "owned": owned}
    request.write_bytes(canonical({**order.request(out), **asked}))
    printed = out.with_suffix(".log")
    # A file and no pipe: a process that the target leaves behind would hold a pipe open for ever.
    with printed.open("wb") as file:
        done = subprocess.run(
            [order.python, "-c", _START, _AGENT, request],
            cwd=order.project,
            env=_environ(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    log = _tail(printed)
    try:
        result: dict[str, Any] = json.loads((out / "result.json").read_bytes())
    except FileNotFoundError:
        raise ImagesmithError(_died(order, done.returncode), log=log) from None
    findings = _findings(result)
    if any(finding.severity is Severity.ERROR for finding in findings):
        raise ImagesmithError(*findings, log=log)
    return {**result, "log": log}


def _tail(printed: Path) -> str:
    """Give the end of what was printed; a target may print without end."""
    with printed.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LOG))
        text = file.read(_LOG).decode(errors="replace")
    return text if size <= _LOG else f"(the last {_LOG} of {size} bytes)\n{text}"


def _environ() -> dict[str, str]:
    # The hash seed orders sets of strings, and so the pickle; -OO takes asserts and docstrings out
    # of it; byte code written beside the user's files would change their folder.
    fixed = {"PYTHONHASHSEED": "0", "PYTHONOPTIMIZE": "", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, **fixed}


def _findings(result: Mapping[str, Any]) -> list[Finding]:
    return [Finding.from_dict(found) for found in result["findings"]]


def _unsteady(
    order: _Order, run: Callable[[Path, str, Path], object], first: Path, second: Path
) -> list[Finding]:
    """Find whether loading the target once more gives another function."""
    run(second, "pickle", first)
    if sha256_file(first / bundle.FUNCTION) == sha256_file(second / bundle.FUNCTION):
        return []
    return [
        warning(
            "capture.unsteady",
            order.target.text,
            "loading it twice gives two different functions: it fits or draws at import without"
            " a seed",
            "seed it (random_state=0), or load a saved model",
        )
    ]


def _needed(
    captured: Mapping[str, Any], asked: Mapping[str, Any], environment: Environment
) -> tuple[str, ...]:
    """Give the needed modules that distributions bring.

    Of what is loaded during a call that is what the others do not require anyway: those are found
    as their requirements, and so are not pinned to what belongs to the platform of the capture.
    """
    direct = {*captured["modules"], *asked["modules"]}
    names = {d.name for module in direct for d in environment.providers(module)}
    brought = {d.name for d in environment.closure(names, environment.markers)}
    called = (
        module
        for module in asked["called"]
        if not brought.issuperset(d.name for d in environment.providers(module))
    )
    return tuple(sorted({*direct, *called}))


def _seal(
    order: _Order,
    out: Path,
    result: Mapping[str, Any],
    asked: Mapping[str, Any],
    environment: Environment,
) -> Capture:
    modules = _needed(result, asked, environment)
    return bundle.seal(
        out,
        name="",
        version=None,
        target=order.target.text,
        input_type=order.input_type,
        strings=order.strings,
        cloudpickle=result["cloudpickle"],
        modules=modules,
        recorded=result["recorded"],
        environment=environment.without_tool(modules),
        samples=_answered(order.inputs, result["answers"]),
    )


def _answered(inputs: tuple[Any, ...] | None, answers: Mapping[str, Any] | None) -> Samples | None:
    if inputs is None:
        return None
    both = answers and Answers(tuple(answers["batch"]), tuple(answers["single"]))
    return Samples(inputs, both or None)


def _keep(taken: Capture, store: Store) -> Capture:
    """Keep a bundle in the store, under all that is in it."""
    key = key_of(bundle.documents(taken))
    keep = partial(store.folder, _KIND, key, partial(bundle.fill, taken))
    folder = keep()
    try:
        bundle.kept(folder)
    except ImagesmithError:  # one that was kept before, and has been changed since
        shutil.rmtree(folder)
        folder = keep()
    return replace(taken, folder=folder)


def _seen(order: _Order, result: Mapping[str, Any]) -> Seen | None:
    """Give what a capture depends on; None where the agent says that nobody knows."""
    looked_at = result["seen"]
    if looked_at is None:
        return None
    return Seen(
        python=str(order.python),
        prefix=result["prefix"],
        root=str(order.target.root),
        sites=tuple(looked_at["sites"]),
        files=tuple(looked_at["files"]),
        variables=(*looked_at["variables"], "PYTHONPATH"),
    )


def _own_cloudpickle() -> str:
    spec = find_spec("cloudpickle")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent)


def _died(order: _Order, status: int) -> Finding:
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    return error(
        "capture.died",
        order.target.text,
        f"{order.python} ended {how} before the capture was done",
        "see what it printed above; running the target's file by itself should show the same",
    )
