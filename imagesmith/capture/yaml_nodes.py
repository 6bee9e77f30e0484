"""YAML as nodes that know their line, so that a finding can name it.

Nothing is constructed: every scalar is the text that stands in the file (``3.10`` is no number),
and no tag makes an object.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_TAB = re.compile(r"^ *\t")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a YAML text, and in which line (from 1; None: nobody knows)."""

    line: int | None
    message: str
    remedy: str


class YamlError(ValueError):
    """A text is not YAML; ``faults`` say where."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults


@dataclass(frozen=True)
class Entry:
    """One value of a mapping or an item of a list: its key (None in a list), line and node."""

    key: str | None
    line: int
    node: Any

    @property
    def text(self) -> str | None:
        """The scalar that it is, None if it is a mapping, a list, or nothing."""
        is_scalar = _kind(self.node) == "scalar" and not self.node.tag.endswith(":null")
        return self.node.value if is_scalar else None

    @property
    def is_nothing(self) -> bool:
        """Whether nothing is given, as after ``channels:``."""
        return _kind(self.node) == "scalar" and self.text is None

    @property
    def items(self) -> tuple[Entry, ...] | None:
        """The items of a list, None if it is something else."""
        if _kind(self.node) != "sequence":
            return None
        return tuple(Entry(None, _line(item), item) for item in self.node.value)

    @property
    def entries(self) -> tuple[Entry, ...] | None:
        """The entries of a mapping, one key perhaps several times; None if it is something else."""
        if _kind(self.node) != "mapping":
            return None
        pairs = self.node.value
        return tuple(Entry(_key(key), _line(key), value) for key, value in pairs)


def read_yaml(text: str) -> Entry | None:
    """Read a text of one YAML document, None if it is empty; YamlError if it is not YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except (YAMLError, ValueError, TypeError, AttributeError, IndexError) as fault:
        raise YamlError(*(list(_tabs(text)) or [_fault(fault)])) from fault
    except RecursionError:
        raise YamlError(Fault(None, "it is nested too deeply", "write plain lists")) from None
    return None if node is None else Entry(None, _line(node), node)


def _kind(node: Any) -> str:
    return str(node.id)


def _key(node: Any) -> str:
    return str(node.value) if _kind(node) == "scalar" else "(a list or a mapping)"


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _tabs(text: str) -> Iterator[Fault]:
    for number, line in enumerate(text.split("\n"), 1):
        if _TAB.match(line) and line.strip():
            yield Fault(number, "the line begins with a tab", "indent with spaces")


def _fault(fault: Exception) -> Fault:
    mark = getattr(fault, "problem_mark", None)
    problem = getattr(fault, "problem", None) or getattr(fault, "reason", None)
    said = problem if isinstance(problem, str) else "it cannot be read"
    return Fault(
        mark.line + 1 if mark else None,
        f"this is not YAML: {said}",
        "mend the line, or write the file anew: conda env export > environment.yml",
    )
