"""Filling a template, and the same in a child process that a user's template cannot keep busy.

The child (``main``) takes ``{"name", "source", "data"}`` as JSON on stdin, gives ``{"text"}`` or
``{"fault"}`` on stdout, and may use so much time and memory and no more.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from imagesmith.render.quoting import FILTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jinja2 import Environment, Template, nodes

OURS = "Dockerfile.j2"

_CHILD = "import sys; from imagesmith.render.fill import main; sys.exit(main())"
_CPU = 5  # seconds
_PATIENCE = 60.0  # seconds, on a machine that is busy otherwise
_MEMORY = 1 << 30
_LONGEST = 4 << 20  # characters of a Dockerfile
_ENDLESS = "it does not come to an end, or takes too much memory"


@dataclass(frozen=True)
class Fault:
    """Why a template cannot be filled; ``kind`` is what build.… finding it becomes."""

    kind: str
    message: str
    line: int | None = None
    match: str | None = None  # what may have been meant


class FaultError(Exception):
    """A template cannot be filled."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def own_source() -> str:
    """Give the source of imagesmith's own template."""
    return files("imagesmith.templates").joinpath(OURS).read_text(encoding="utf-8")


def fill_bounded(name: str, source: str, data: dict[str, Any]) -> str:
    """Fill a user's template in a child process; FaultError, also where it would never end."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD],
            input=json.dumps({"name": name, "source": source, "data": data}).encode(),
            capture_output=True,
            env=env,
            check=False,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise FaultError(Fault("template-endless", _ENDLESS)) from None
    if done.returncode < 0:  # by the signal that ends who has used up its time
        raise FaultError(Fault("template-endless", _ENDLESS))
    if done.returncode:
        raise RuntimeError(f"the child that fills templates failed: {done.stderr.decode()}")
    answer = json.loads(done.stdout)
    if "fault" in answer:
        raise FaultError(Fault(**answer["fault"]))
    return str(answer["text"])


def fill(name: str, source: str, data: dict[str, Any]) -> str:
    """Fill a template that may extend imagesmith's own; FaultError where that cannot be done.

    ``name`` is the one by which it would name itself.
    """
    from jinja2.sandbox import SandboxedEnvironment

    own = name if name != OURS else f"./{OURS}"  # Dockerfile.j2 always means imagesmith's
    env = _environment(SandboxedEnvironment, {OURS: own_source(), own: source})
    try:
        parsed = env.parse(source, own)
        _check_blocks(parsed, env)
        _check_circle(parsed, own)
        return _generated(env.get_template(own), data)
    except FaultError:
        raise
    except Exception as bad:  # a template may raise whatever Python can
        raise FaultError(_fault(bad, own, data, env)) from bad


def _environment(kind: type[Environment], sources: dict[str, str]) -> Environment:
    from jinja2 import FunctionLoader, StrictUndefined

    def load(name: str) -> tuple[str, str, None] | None:
        return (sources[name], name, None) if name in sources else None

    env = kind(
        loader=FunctionLoader(load),
        undefined=StrictUndefined,
        autoescape=False,  # no HTML: every value goes through a filter of quoting.py
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.filters.update(FILTERS)
    return env


def _check_blocks(parsed: nodes.Template, env: Environment) -> None:
    """Refuse a block that the extended template lacks: it would be dropped without a word."""
    from jinja2 import nodes

    if parsed.find(nodes.Extends) is None:
        return
    known = [block.name for block in env.parse(own_source()).find_all(nodes.Block)]
    for block in _outer_blocks(parsed):
        if block.name not in known:
            message = f"there is no block {block.name!r}; there are {', '.join(known)}"
            match = _match(block.name, known)
            raise FaultError(Fault("template-block", message, block.lineno, match))


def _outer_blocks(node: nodes.Node) -> Iterator[nodes.Block]:
    """Give the blocks that are not within another, which may define blocks of its own."""
    from jinja2 import nodes

    for child in node.iter_child_nodes():
        if isinstance(child, nodes.Block):
            yield child
        else:
            yield from _outer_blocks(child)


def _check_circle(parsed: nodes.Template, own: str) -> None:
    from jinja2 import nodes

    for node in parsed.find_all((nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)):
        named = getattr(node, "template", None)
        if isinstance(named, nodes.Const) and named.value == own:
            raise FaultError(Fault("template-endless", "it takes itself in", node.lineno))


def _generated(template: Template, data: dict[str, Any]) -> str:
    pieces, size = [], 0
    for piece in template.generate(data):
        pieces.append(piece)
        size += len(piece)
        if size > _LONGEST:
            raise FaultError(Fault("template-endless", _ENDLESS))
    return "".join(pieces)


def _syntax(bad: Any, env: Environment) -> Fault:
    message = str(bad.message)
    named = _last_quoted(message)
    if message.startswith("No filter named"):
        return Fault("template-name", message, bad.lineno, _match(named, env.filters))
    return Fault("template-syntax", message, bad.lineno)


def _fault(bad: Exception, own: str, data: dict[str, Any], env: Environment) -> Fault:
    """Say what a template's run ended with."""
    from jinja2 import TemplateNotFound, TemplateSyntaxError, UndefinedError

    message, line = str(bad) or type(bad).__name__, _line(bad, own)
    match bad:
        case UndefinedError():
            named = _last_quoted(message)
            return Fault("template-name", message, line, _match(named, _names(data)))
        case TemplateNotFound():
            message = f"it takes in {bad.name!r}, but may take in {OURS!r} only"
            return Fault("template-name", message, line, OURS)
        case TemplateSyntaxError():
            return _syntax(bad, env)
        case RecursionError() | MemoryError() | OverflowError():
            return Fault("template-endless", _ENDLESS, line)
    return Fault("template", message, line)


def _line(bad: Exception, own: str) -> int | None:
    """Give the last line of the template that the error came through."""
    found, trace = None, bad.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == own:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def _names(data: Any) -> set[str]:
    if not isinstance(data, dict):
        return set()
    return set(data).union(*map(_names, data.values()))


def _last_quoted(message: str) -> str:
    quoted = message.split("'")[1::2]
    return quoted[-1] if quoted else ""


def _match(name: str, known: Iterable[str]) -> str | None:
    return next(iter(get_close_matches(name, sorted(known), 1)), None)


def main() -> int:
    """Fill the template on stdin within the bounds; give the exit status."""
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU, _CPU))
    with suppress(ValueError, OSError):  # not every system bounds this
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    request = json.load(sys.stdin)
    try:
        answer: dict[str, Any] = {"text": fill(**request)}
    except FaultError as bad:
        answer = {"fault": asdict(bad.fault)}
    sys.stdout.write(json.dumps(answer))
    return 0
